//! BLAKE3's compression function as constraints, in the one form that the chain's rule uses: a keyed hash of one
//! block of at most 64 bytes.
//!
//! The message is only ever added, so its words need not be given as bits. Of about 15,000 constraints, half are
//! exclusive ors and half the bits of sums; the first round costs less, since some of its state is constant.

use std::array;

use ark_ff::PrimeField;
use ark_relations::gr1cs::{ConstraintSystemRef, SynthesisError};

use crate::bits::{Number, Word};

/// A digest, a key or a state, as BLAKE3 reads it: eight little-endian words.
pub type DigestWords = [Word; 8];

const ROUNDS: usize = 7;

const INITIAL: [u32; 4] = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A];

const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const ROOT: u32 = 8;
const KEYED_HASH: u32 = 16;

/// How the message's words are put in another order from one round to the next.
const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

/// Which words of the state are mixed together, columns first, then diagonals.
const MIXED: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

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
    state[15] = Word::constant(CHUNK_START | CHUNK_END | ROOT | KEYED_HASH);

    let mut order: [usize; 16] = array::from_fn(|index| index);
    for _ in 0..ROUNDS {
        for (words, pair) in MIXED.into_iter().zip(order.chunks_exact(2)) {
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
