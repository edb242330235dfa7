//! The compression function's constraints against the published implementation.

use std::array;

use ark_bls12_377::Fr;
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, SynthesisError};
use proofyard_groth16::bits::{Number, Word};
use proofyard_groth16::compression::{DigestWords, keyed};

use crate::constraints::Constraints;

/// Any bytes: BLAKE3's own output, so that nothing is random.
fn bytes<const N: usize>(seed: u32) -> [u8; N] {
    let mut bytes = [0; N];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Hashes a message with all of key and message as witness.
struct Hashing<'a> {
    key: [u8; 32],
    message: &'a [u8],
    found: &'a mut [u8; 32],
}

impl ConstraintSynthesizer<Fr> for Hashing<'_> {
    fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let word = |bytes: &[u8]| Word::allocate(&system, u32::from_le_bytes(bytes.try_into().unwrap()));
        let key: Vec<Word> = self.key.chunks(4).map(word).collect::<Result<_, _>>()?;
        let message: Vec<Word> = self.message.chunks(4).map(word).collect::<Result<_, _>>()?;
        let key: DigestWords = key.try_into().unwrap();
        let message: [Number<Fr>; 16] =
            array::from_fn(|index| message.get(index).unwrap_or(&Word::ZERO).into());
        let before = system.num_constraints();
        let length = Word::constant(self.message.len() as u32);
        let digest = keyed(&system, &key, &message, length)?;
        assert_eq!(system.num_constraints() - before, 15_024);
        for (found, word) in self.found.chunks_mut(4).zip(digest) {
            found.copy_from_slice(&word.value().to_le_bytes());
        }
        Ok(())
    }
}

#[test]
fn it_is_the_published_keyed_hash() {
    for seed in 0..8 {
        let (key, message) = (bytes::<32>(seed), bytes::<64>(1000 + seed));
        for message in [&message[..], &message[..32]] {
            let mut found = [0; 32];
            let constraints = Constraints::of(Hashing { key, message, found: &mut found }).unwrap();
            assert_eq!(found, *blake3::keyed_hash(&key, message).as_bytes());
            assert_eq!(constraints.broken(), 0);
            if seed == 0 {
                // So the one digest is all that the constraints leave, a bit at a time.
                assert_eq!(constraints.unbound(), [0_usize; 0]);
            }
        }
    }
    for (key, message) in [([0; 32], [0; 64]), ([0xff; 32], [0xff; 64])] {
        let mut found = [0; 32];
        let constraints = Constraints::of(Hashing { key, message: &message, found: &mut found }).unwrap();
        assert_eq!(found, *blake3::keyed_hash(&key, &message).as_bytes(), "carries of all sizes");
        assert_eq!(constraints.broken(), 0);
    }
}

#[test]
fn sums_carry() {
    struct Sums;
    impl ConstraintSynthesizer<Fr> for Sums {
        fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
            let numbers = [0, 1, u32::MAX, 0x8000_0000, 0x7fff_ffff];
            for [one, two, three] in
                [[0, 1, 2], [2, 2, 2], [3, 3, 3], [4, 1, 0], [2, 1, 0], [2, 2, 1]].map(|of: [usize; 3]| {
                    of.map(|index| (numbers[index], Number::from(&Word::constant(numbers[index]))))
                })
            {
                let sum = Word::sum::<Fr>(&system, &[&one.1, &two.1])?;
                assert_eq!(sum.value(), one.0.wrapping_add(two.0));
                let sum = Word::sum::<Fr>(&system, &[&one.1, &two.1, &three.1])?;
                assert_eq!(sum.value(), one.0.wrapping_add(two.0).wrapping_add(three.0));
            }
            Ok(())
        }
    }
    let constraints = Constraints::of(Sums).unwrap();
    assert_eq!((constraints.broken(), constraints.unbound()), (0, vec![]));
}
