//! BLAKE3's compression function as constraints, in the one form that the chain's rule uses: a keyed hash of one
//! block of at most 64 bytes.
//!
//! The message is only ever added, so its words need not be given as bits. Of about 15,000 constraints, half are
//! exclusive ors and half the bits of sums; the first round costs less, since some of its state is constant.

use std::array;

use ark_ff::PrimeField;
use ark_relations::gr1cs::{ConstraintSystemRef, SynthesisError};
use proofyard_statement::compression::{FLAGS, INITIAL, MIXINGS, PERMUTATION, ROUNDS};

use crate::bits::{Number, Word};

/// A digest, a key or a state, as BLAKE3 reads it: eight little-endian words.
pub type DigestWords = [Word; 8];

/// The keyed hash of a message of `length` bytes, 0 to 64; its words after these are zeros.
pub fn keyed<F: PrimeField>(
    system: &ConstraintSystemRef<F>,
    key: &DigestWords,
    message: &[Number<F>; 16],
    length: Word,
) -> Result<DigestWords, SynthesisError> {
    let mut state = [Word::ZERO; 16];
    state[..8].copy_from_slice(key);
    state[8..12].copy_from_slice(&INITIAL.map(Word::constant));
    // Words 12 and 13 are the counter, 0 for the first and only chunk.
    state[14] = length;
    state[15] = Word::constant(FLAGS);

    let mut order: [usize; 16] = array::from_fn(|index| index);
    for _ in 0..ROUNDS {
        for (words, pair) in MIXINGS.into_iter().zip(order.chunks_exact(2)) {
            mix(system, &mut state, words, &message[pair[0]], &message[pair[1]])?;
        }
        order = PERMUTATION.map(|from| order[from]);
    }
    let mut digest = [Word::ZERO; 8];
    for (index, word) in digest.iter_mut().enumerate() {
        *word = state[index + 8].xor(&state[index], system)?;
    }
    Ok(digest)
}

fn mix<F: PrimeField>(
    system: &ConstraintSystemRef<F>,
    state: &mut [Word; 16],
    [a, b, c, d]: [usize; 4],
    first: &Number<F>,
    second: &Number<F>,
) -> Result<(), SynthesisError> {
    for (message, rotations) in [(first, [16, 12]), (second, [8, 7])] {
        let (number_a, number_b) = (Number::from(&state[a]), Number::from(&state[b]));
        state[a] = Word::sum(system, &[&number_a, &number_b, message])?;
        state[d] = state[d].xor(&state[a], system)?.rotate_right(rotations[0]);
        state[c] = Word::sum(system, &[&(&state[c]).into(), &(&state[d]).into()])?;
        state[b] = state[b].xor(&state[c], system)?.rotate_right(rotations[1]);
    }
    Ok(())
}
