//! The circuit of one block: chain id, height, the state before, the state after and the digest of the transactions,
//! all tied together by the chain's rule, for at most [`MAX_TRANSACTIONS`] transactions.
//!
//! How many transactions there are is written in unary: bit k says that there are more than k, and may only be set
//! where bit k - 1 is. So the steps in use come first, and only the last of them may take a single transaction. All
//! steps are computed; of the digests before, between and after them, the count selects the one that is the block's.
//! The digest binds the count itself, since a step of one transaction hashes another length than one of two.

use std::array;

use ark_bls12_377::Fr;
use ark_ff::AdditiveGroup;
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use proofyard_statement::digest::STEP_TRANSACTIONS;
use proofyard_statement::{Block, BlockValues, Error, TransactionHash};

use crate::bits::{Bit, Number, Word, enforce_zero};
use crate::compression::{DigestWords, keyed};
use crate::packing::{LEAF_PIECE_BYTES, LEAF_PIECES, public_inputs};

/// The most transactions of one block.
pub const MAX_TRANSACTIONS: usize = 8;

const DIGEST_WORDS: usize = 8;

type Numbers = [Number<Fr>; DIGEST_WORDS];

/// What the circuit is about and what it is shown.
#[derive(Debug, Clone)]
pub struct LeafCircuit {
    /// What is public.
    pub values: BlockValues,
    /// What is shown: the transactions' hashes, and which of them are there.
    pub transactions: [TransactionHash; MAX_TRANSACTIONS],
    pub present: [bool; MAX_TRANSACTIONS],
}

impl LeafCircuit {
    /// The circuit for a block; refuses a block that is too large, or does not lead to its own post-state.
    pub fn of(block: &Block) -> Result<Self, Error> {
        let count = block.transactions.len();
        if count > MAX_TRANSACTIONS {
            return Err(Error::Block(format!(
                "it has {count} transactions, and this prover's circuit takes at most {MAX_TRANSACTIONS}"
            )));
        }
        let values = block.checked_values()?;
        let of = |index: usize| block.transactions.get(index).copied().unwrap_or_default();
        Ok(Self { values, transactions: array::from_fn(of), present: array::from_fn(|index| index < count) })
    }

    /// The circuit for making keys: which values it holds makes no difference there.
    pub fn blank() -> Self {
        let values =
            BlockValues { chain_id: 0, height: 0, pre: [0; 32], post: [0; 32], transactions: [0; 32] };
        Self { values, transactions: Default::default(), present: [false; MAX_TRANSACTIONS] }
    }
}

impl ConstraintSynthesizer<Fr> for LeafCircuit {
    fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let public = public_inputs::<Fr>(&self.values.to_bytes(), LEAF_PIECE_BYTES);
        let public: Vec<Variable> = public
            .into_iter()
            .map(|input| system.new_input_variable(|| Ok(input)))
            .collect::<Result<_, _>>()?;

        let chain_id: [Word; 2] = allocate(&system, &self.values.chain_id.to_be_bytes())?;
        let height: [Word; 2] = allocate(&system, &self.values.height.to_be_bytes())?;
        let pre: DigestWords = allocate(&system, &self.values.pre)?;
        let transactions = self.digest(&system, &chain_id, &height)?;

        let mut message = array::from_fn(|_| Number::from(&Word::ZERO));
        message[..DIGEST_WORDS].clone_from_slice(&transactions);
        let post = keyed(&system, &pre, &message, Word::constant(32))?;

        let mut words: Vec<Number<Fr>> =
            [&chain_id[..], &height, &pre, &post].concat().iter().map(Number::from).collect();
        words.extend(transactions);
        let words_of_piece = words.len() / LEAF_PIECES;
        for (words, input) in words.chunks(words_of_piece).zip(public) {
            let mut difference = LinearCombination(vec![(-Fr::from(1_u64), input)]);
            let mut weight = Fr::from(1_u64);
            for word in words {
                difference.extend(word.terms.iter().map(|(factor, variable)| (weight * factor, *variable)));
                weight *= Fr::from(1_u64 << 32);
            }
            difference.compactify();
            enforce_zero(&system, difference)?;
        }
        Ok(())
    }
}

impl LeafCircuit {
    /// The digest of the transactions that are there.
    fn digest(
        &self,
        system: &ConstraintSystemRef<Fr>,
        chain_id: &[Word; 2],
        height: &[Word; 2],
    ) -> Result<Numbers, SynthesisError> {
        let mut present = Vec::with_capacity(MAX_TRANSACTIONS);
        for value in self.present {
            present.push(Bit::allocate(system, value)?);
        }
        for pair in present.windows(2) {
            // A later transaction only where the one before it is there.
            let (later, missing) = (as_terms(pair[1]), as_terms(pair[0].inverted()));
            system.enforce_r1cs_constraint(|| later, || missing, LinearCombination::zero)?;
        }

        let mut digest = [Word::ZERO; DIGEST_WORDS];
        digest[..2].copy_from_slice(chain_id);
        digest[2..4].copy_from_slice(height);
        let mut selected: Numbers = array::from_fn(|index| Number::from(&digest[index]));
        for (transactions, present) in
            self.transactions.chunks(STEP_TRANSACTIONS).zip(present.chunks(STEP_TRANSACTIONS))
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
}

/// Moves what is selected on from the digest before a step to that after it, where the step is in use. As the steps
/// in use come first, all that is added up is the one digest after the last of them.
fn select_next(
    system: &ConstraintSystemRef<Fr>,
    selected: &mut Number<Fr>,
    used: Bit,
    before: &Word,
    after: &Word,
) -> Result<(), SynthesisError> {
    let (before, after) = (Number::<Fr>::from(before), Number::<Fr>::from(after));
    let change = if used.value() { Fr::from(after.value) - Fr::from(before.value) } else { Fr::ZERO };
    let variable = system.new_witness_variable(|| Ok(change))?;
    let mut difference = before.terms;
    difference.negate_in_place();
    difference.extend(after.terms);
    difference.compactify();
    let factor = as_terms(used);
    system.enforce_r1cs_constraint(|| difference, || factor, || variable.into())?;
    selected.terms.push((Fr::from(1_u64), variable));
    if used.value() {
        selected.value = selected.value.wrapping_sub(before.value).wrapping_add(after.value);
    }
    Ok(())
}

fn as_terms(bit: Bit) -> LinearCombination<Fr> {
    crate::bits::weighted([bit])
}

/// Words of these bytes; there are four bytes for each.
fn allocate<const N: usize>(
    system: &ConstraintSystemRef<Fr>,
    bytes: &[u8],
) -> Result<[Word; N], SynthesisError> {
    let mut words = [Word::ZERO; N];
    let (values, _) = bytes.as_chunks();
    for (word, value) in words.iter_mut().zip(values) {
        *word = Word::allocate(system, u32::from_le_bytes(*value))?;
    }
    Ok(words)
}
