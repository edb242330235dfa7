//! The hash as constraints, against the BLAKE3 library.

use nova_snark::frontend::gadgets::uint32::UInt32;
use nova_snark::frontend::{AllocatedBit, Boolean, ConstraintSystem};
use proofyard_nova::keyed::compress;
use proofyard_nova::step::Scalar;

use crate::random;
use crate::recorder::Recorder;

/// The words of these bytes, of bits that are witnesses as a prover's are.
fn words(cs: &mut Recorder, name: &str, bytes: &[u8]) -> Vec<UInt32> {
    let word = |(number, bytes): (usize, &[u8])| {
        let value = u32::from_le_bytes(bytes.try_into().unwrap());
        let bit = |index: usize| {
            let cs = cs.namespace(|| format!("{name} {number} {index}"));
            let bit = AllocatedBit::alloc::<Scalar, _>(cs, Some(value >> index & 1 == 1)).unwrap();
            Boolean::from(bit)
        };
        let bits: Vec<Boolean> = (0..32).rev().map(bit).collect();
        UInt32::from_bits_be(&bits)
    };
    bytes.chunks(4).enumerate().map(word).collect()
}

fn hash(cs: &mut Recorder, key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut padded = [0; 64];
    padded[..message.len()].copy_from_slice(message);
    let key = words(cs, "key", key).try_into().unwrap();
    let padded = words(cs, "message", &padded).try_into().unwrap();
    let bytes = UInt32::constant(message.len() as u32);
    let hashed = compress(cs.namespace(|| "compress"), &key, padded, bytes).unwrap();
    let value = |word: UInt32| {
        let bit = |bits: u32, bit: &Boolean| bits << 1 | u32::from(bit.get_value().unwrap());
        word.into_bits_be().iter().fold(0, bit)
    };
    let bytes = hashed.map(|word| value(word).to_le_bytes());
    bytes.as_flattened().try_into().unwrap()
}

#[test]
fn it_is_the_keyed_hash_for_both_lengths() {
    for seed in 0..6 {
        let (key, first, second) = (random(3 * seed), random(3 * seed + 1), random(3 * seed + 2));
        let two = [first, second].concat();
        for message in [&first[..], &two[..]] {
            let mut cs = Recorder::default();
            let hashed = hash(&mut cs, &key, message);
            assert_eq!(hashed, *blake3::keyed_hash(&key, message).as_bytes(), "seed {seed}");
            assert_eq!(cs.broken(), [""; 0]);
        }
    }
    // Where all carries are, and where none is.
    for byte in [0x00, 0xff] {
        let mut cs = Recorder::default();
        let hashed = hash(&mut cs, &[byte; 32], &[byte; 64]);
        assert_eq!(hashed, *blake3::keyed_hash(&[byte; 32], &[byte; 64]).as_bytes());
        assert_eq!(cs.broken(), [""; 0]);
    }
}

/// No bit on the way from the message to the hash can be another one.
#[test]
fn no_variable_is_free() {
    let mut cs = Recorder::default();
    hash(&mut cs, &random(1), &[random(2), random(3)].concat());
    assert_eq!(cs.free(), [""; 0]);
}
