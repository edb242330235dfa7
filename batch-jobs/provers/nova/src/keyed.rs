//! `keyed`, the one hash of the statement, as constraints: one run of BLAKE3's compression function.
//!
//! A word is 32 booleans. Additions and exclusive ors are the library's own gadgets, whose every result bit is
//! constrained to be a bit, so nothing here has a wider value than 32 bits. The input words must be made of such bits
//! too: [`compress`] adds them up, and a wider one would let its carry say anything.

use ff::PrimeField;
use nova_snark::frontend::gadgets::multieq::MultiEq;
use nova_snark::frontend::gadgets::uint32::UInt32;
use nova_snark::frontend::{ConstraintSystem, SynthesisError};
use proofyard_statement::compression::{FLAGS, INITIAL, MIXINGS, PERMUTATION, ROUNDS};

/// The keyed hash of a message of `message_bytes` (64 at most) bytes, zeros after them.
pub fn compress<F, CS>(
    cs: CS,
    key: &[UInt32; 8],
    message: [UInt32; 16],
    message_bytes: UInt32,
) -> Result<[UInt32; 8], SynthesisError>
where
    F: PrimeField,
    CS: ConstraintSystem<F>,
{
    // Collects the additions' equations, several to a constraint.
    let mut cs = MultiEq::new(cs);
    let [k0, k1, k2, k3, k4, k5, k6, k7] = key.clone();
    let [i0, i1, i2, i3] = INITIAL.map(UInt32::constant);
    let counter = || UInt32::constant(0);
    let flags = UInt32::constant(FLAGS);
    let mut words =
        [k0, k1, k2, k3, k4, k5, k6, k7, i0, i1, i2, i3, counter(), counter(), message_bytes, flags];
    let mut message = message;
    for round in 0..ROUNDS {
        for (number, at) in MIXINGS.into_iter().enumerate() {
            let two = [&message[2 * number], &message[2 * number + 1]];
            mix(cs.namespace(|| format!("round {round} mixing {number}")), &mut words, at, two)?;
        }
        message = PERMUTATION.map(|from| message[from].clone());
    }
    let [w0, w1, w2, w3, w4, w5, w6, w7, rest @ ..] = words;
    let mut sums = [w0, w1, w2, w3, w4, w5, w6, w7];
    for (index, (sum, other)) in sums.iter_mut().zip(&rest).enumerate() {
        *sum = sum.xor(cs.namespace(|| format!("output {index}")), other)?;
    }
    Ok(sums)
}

/// BLAKE3's `g`.
fn mix<F, CS, M>(
    mut cs: M,
    words: &mut [UInt32; 16],
    [a, b, c, d]: [usize; 4],
    [first, second]: [&UInt32; 2],
) -> Result<(), SynthesisError>
where
    F: PrimeField,
    CS: ConstraintSystem<F>,
    M: ConstraintSystem<F, Root = MultiEq<F, CS>>,
{
    for (half, message, turns) in [("first", first, [16, 12]), ("second", second, [8, 7])] {
        let mut cs = cs.namespace(|| half);
        let sum = [words[a].clone(), words[b].clone(), message.clone()];
        words[a] = UInt32::addmany(cs.namespace(|| "a"), &sum)?;
        words[d] = words[d].xor(cs.namespace(|| "d"), &words[a])?.rotr(turns[0]);
        words[c] = UInt32::addmany(cs.namespace(|| "c"), &[words[c].clone(), words[d].clone()])?;
        words[b] = words[b].xor(cs.namespace(|| "b"), &words[c])?.rotr(turns[1]);
    }
    Ok(())
}
