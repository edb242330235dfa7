//! The chain's rule as constraints, over whichever field: the digest of a block's transactions, at most
//! [`MAX_TRANSACTIONS`], and the state after it.
//!
//! How many transactions there are is written in unary: bit k says that there are more than k, and may only be set
//! where bit k - 1 is. So the steps in use come first, and only the last of them may take a single transaction. All
//! steps are computed; of the digests before, between and after them, the count selects the one that is the block's.
//! The digest binds the count itself, since a step of one transaction hashes another length than one of two.

use std::array;

use ark_ff::PrimeField;
use ark_relations::gr1cs::{ConstraintSystemRef, LinearCombination, SynthesisError};
use proofyard_statement::digest::STEP_TRANSACTIONS;
use proofyard_statement::{Block, Error, TransactionHash};

use crate::bits::{Bit, Number, Word, weighted};
use crate::compression::{DigestWords, keyed};

/// The most transactions of one block.
pub const MAX_TRANSACTIONS: usize = 8;

pub const DIGEST_WORDS: usize = 8;

/// A digest that was selected among several: its words are no bits of their own.
pub type Numbers<F> = [Number<F>; DIGEST_WORDS];

/// A block's place: the words of chain id and height, as their big-endian bytes are read.
pub struct Place<'a> {
    pub chain_id: &'a [Word; 2],
    pub height: &'a [Word; 2],
}

/// What a circuit is shown of a block: its transactions, and which of them are there. Refuses a block that is too large.
pub fn shown(
    block: &Block,
) -> Result<([TransactionHash; MAX_TRANSACTIONS], [bool; MAX_TRANSACTIONS]), Error> {
    let count = block.transactions.len();
    if count > MAX_TRANSACTIONS {
        return Err(Error::Block(format!(
            "it has {count} transactions, and this prover's circuit takes at most {MAX_TRANSACTIONS}"
        )));
    }
    let of = |index: usize| block.transactions.get(index).copied().unwrap_or_default();
    Ok((array::from_fn(of), array::from_fn(|index| index < count)))
}

/// The digest of the transactions that are there.
pub fn digest<F: PrimeField>(
    system: &ConstraintSystemRef<F>,
    place: &Place<'_>,
    transactions: &[TransactionHash; MAX_TRANSACTIONS],
    present: &[bool; MAX_TRANSACTIONS],
) -> Result<Numbers<F>, SynthesisError> {
    let present = unary(system, present)?;
    let mut digest = [Word::ZERO; DIGEST_WORDS];
    digest[..2].copy_from_slice(place.chain_id);
    digest[2..4].copy_from_slice(place.height);
    let mut selected: Numbers<F> = array::from_fn(|index| Number::from(&digest[index]));
    for (transactions, present) in
        transactions.chunks(STEP_TRANSACTIONS).zip(present.chunks(STEP_TRANSACTIONS))
    {
        let words: [Word; 16] = allocate(system, transactions.as_flattened())?;
        let message = words.each_ref().map(Number::from);
        let (any, both) = (present[0], present[1]);
        for absent in &message[DIGEST_WORDS..] {
            // The words of a second transaction that is not there are zeros.
            let (word, missing) = (absent.terms.clone(), as_terms(both.inverted()));
            system.enforce_r1cs_constraint(|| word, || missing, LinearCombination::zero)?;
        }
        let mut length = Word::ZERO;
        length.0[5] = both.inverted();
        length.0[6] = both;
        let next = keyed(system, &digest, &message, length)?;
        for (index, selected) in selected.iter_mut().enumerate() {
            select_next(system, selected, any, &digest[index], &next[index])?;
        }
        digest = next;
    }
    Ok(selected)
}

/// The state after a block whose transactions have this digest.
pub fn close<F: PrimeField>(
    system: &ConstraintSystemRef<F>,
    pre: &DigestWords,
    transactions: &Numbers<F>,
) -> Result<DigestWords, SynthesisError> {
    let mut message = array::from_fn(|_| Number::from(&Word::ZERO));
    message[..DIGEST_WORDS].clone_from_slice(transactions);
    keyed(system, pre, &message, Word::constant(32))
}

/// A count as bits that are set from the first on, without a gap.
pub fn unary<F: PrimeField>(
    system: &ConstraintSystemRef<F>,
    values: &[bool],
) -> Result<Vec<Bit>, SynthesisError> {
    let mut bits = Vec::with_capacity(values.len());
    for value in values {
        bits.push(Bit::allocate(system, *value)?);
    }
    for pair in bits.windows(2) {
        // A later one only where the one before it is there.
        let (later, missing) = (as_terms(pair[1]), as_terms(pair[0].inverted()));
        system.enforce_r1cs_constraint(|| later, || missing, LinearCombination::zero)?;
    }
    Ok(bits)
}

/// Moves what is selected on from the digest before a step to that after it, where the step is in use. As the steps
/// in use come first, all that is added up is the one digest after the last of them.
fn select_next<F: PrimeField>(
    system: &ConstraintSystemRef<F>,
    selected: &mut Number<F>,
    used: Bit,
    before: &Word,
    after: &Word,
) -> Result<(), SynthesisError> {
    let (before, after) = (Number::<F>::from(before), Number::<F>::from(after));
    let change = if used.value() { F::from(after.value) - F::from(before.value) } else { F::ZERO };
    let variable = system.new_witness_variable(|| Ok(change))?;
    let mut difference = before.terms;
    difference.negate_in_place();
    difference.extend(after.terms);
    difference.compactify();
    let factor = as_terms(used);
    system.enforce_r1cs_constraint(|| difference, || factor, || variable.into())?;
    selected.terms.push((F::ONE, variable));
    if used.value() {
        selected.value = selected.value.wrapping_sub(before.value).wrapping_add(after.value);
    }
    Ok(())
}

pub fn as_terms<F: PrimeField>(bit: Bit) -> LinearCombination<F> {
    weighted([bit])
}

/// Words of these bytes; there are four bytes for each.
pub fn allocate<F: PrimeField, const N: usize>(
    system: &ConstraintSystemRef<F>,
    bytes: &[u8],
) -> Result<[Word; N], SynthesisError> {
    let mut words = [Word::ZERO; N];
    let (values, _) = bytes.as_chunks();
    for (word, value) in words.iter_mut().zip(values) {
        *word = Word::allocate(system, u32::from_le_bytes(*value))?;
    }
    Ok(words)
}
