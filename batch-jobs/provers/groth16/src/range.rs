//! The circuit of a range: at most [`MAX_BLOCKS`] blocks, each of which the chain's rule takes on from the state that the
//! one before it left, at the next height. It needs no other proof.
//!
//! It is over BN254, whose pairing the EVM has. No curve with a pairing is known whose coordinates are BN254's scalars, so
//! checking a proof in here would cost many times what proving the same once more does; which is done.
//!
//! How many blocks there are is written in unary, as the transactions of a block are. What would be claimed of the first
//! block, of the first two, and so on is computed; the count selects what is. A height after the last block means nothing.

use std::array;

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use proofyard_statement::{Block, Error, RangeValues, TransactionHash};

use crate::bits::{Bit, Word, big_endian, enforce_zero, value_of, weighted};
use crate::compression::DigestWords;
use crate::packing::{RANGE_PIECE_BYTES, allocate_inputs, big_endian_inputs};
use crate::rule::{MAX_TRANSACTIONS, Place, allocate, as_terms, close, digest, shown, unary};

/// The most blocks of one range.
pub const MAX_BLOCKS: usize = 2;

/// What the circuit is about and what it is shown.
#[derive(Debug, Clone)]
pub struct RangeCircuit {
    /// What is public.
    pub values: RangeValues,
    /// What is shown: the blocks, and which of those after the first are there.
    pub blocks: [ShownBlock; MAX_BLOCKS],
    pub more: [bool; MAX_BLOCKS - 1],
}

#[derive(Debug, Clone, Default)]
pub struct ShownBlock {
    pub height: u64,
    pub transactions: [TransactionHash; MAX_TRANSACTIONS],
    pub present: [bool; MAX_TRANSACTIONS],
}

impl RangeCircuit {
    /// The circuit for these blocks; refuses too many, those that do not follow each other, and any that is too large or
    /// does not lead to its own post-state.
    pub fn of(blocks: &[Block]) -> Result<Self, Error> {
        let count = blocks.len();
        if count > MAX_BLOCKS {
            return Err(Error::Inputs(format!(
                "{count} blocks, and this prover's circuit takes at most {MAX_BLOCKS}"
            )));
        }
        let mut parts = Vec::with_capacity(count);
        let mut all: [ShownBlock; MAX_BLOCKS] = Default::default();
        for (index, (block, place)) in blocks.iter().zip(&mut all).enumerate() {
            let read = || {
                let (transactions, present) = shown(block)?;
                Ok((block.checked_values()?, ShownBlock { height: block.height, transactions, present }))
            };
            let (values, shown) = read().map_err(|e: Error| e.of(format_args!("block {index}")))?;
            parts.push(RangeValues::from(values));
            *place = shown;
        }
        Ok(Self {
            values: RangeValues::join(&parts)?,
            blocks: all,
            more: array::from_fn(|index| index + 1 < count),
        })
    }

    /// The circuit for making keys: which values it holds makes no difference there.
    pub fn blank() -> Self {
        let values = RangeValues { chain_id: 0, from: 0, to: 0, pre: [0; 32], post: [0; 32] };
        Self { values, blocks: Default::default(), more: [false; MAX_BLOCKS - 1] }
    }
}

impl ConstraintSynthesizer<Fr> for RangeCircuit {
    fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let public = big_endian_inputs::<Fr>(&self.values.to_bytes(), RANGE_PIECE_BYTES);
        let public = allocate_inputs(&system, public)?;

        let chain_id: [Word; 2] = allocate(&system, &self.values.chain_id.to_be_bytes())?;
        let pre: DigestWords = allocate(&system, &self.values.pre)?;
        let heights = self.heights(&system)?;
        let more = unary(&system, &self.more)?;
        for (pair, there) in heights.windows(2).zip(&more) {
            enforce_next(&system, &pair[0], &pair[1], *there)?;
        }

        let mut state = pre;
        let mut claims = Vec::with_capacity(MAX_BLOCKS);
        for (block, height) in self.blocks.iter().zip(&heights) {
            let place = Place { chain_id: &chain_id, height };
            let transactions = digest(&system, &place, &block.transactions, &block.present)?;
            state = close(&system, &state, &transactions)?;
            claims.push(bits_of(&[&chain_id, &heights[0], height, &pre, &state]));
        }

        for (piece, input) in public.into_iter().enumerate() {
            let pieces = claims.iter().filter_map(|bits| bits.chunks(RANGE_PIECE_BYTES * 8).nth(piece));
            let mut claimed = select(&system, pieces, &more)?;
            claimed.push((-Fr::ONE, input));
            claimed.compactify();
            enforce_zero(&system, claimed)?;
        }
        Ok(())
    }
}

impl RangeCircuit {
    fn heights(&self, system: &ConstraintSystemRef<Fr>) -> Result<[[Word; 2]; MAX_BLOCKS], SynthesisError> {
        let mut heights = [[Word::ZERO; 2]; MAX_BLOCKS];
        for (height, block) in heights.iter_mut().zip(&self.blocks) {
            *height = allocate(system, &block.height.to_be_bytes())?;
        }
        Ok(heights)
    }
}

/// Where a block is there, its height is the one before it plus 1: as integers, so that none follows the last of all.
fn enforce_next(
    system: &ConstraintSystemRef<Fr>,
    before: &[Word; 2],
    height: &[Word; 2],
    there: Bit,
) -> Result<(), SynthesisError> {
    let integer = |height: &[Word; 2]| weighted::<Fr>(big_endian(&bits_of(&[height])));
    let mut step = integer(before);
    step.negate_in_place();
    step.extend(integer(height));
    step.push((-Fr::ONE, Variable::One));
    step.compactify();
    let there = as_terms(there);
    system.enforce_r1cs_constraint(|| step, || there, LinearCombination::zero)
}

/// One of several pieces of public values, by a count in unary: the first, moved on to the next as often as it says.
fn select<'a>(
    system: &ConstraintSystemRef<Fr>,
    pieces: impl Iterator<Item = &'a [Bit]>,
    more: &[Bit],
) -> Result<LinearCombination<Fr>, SynthesisError> {
    let pieces: Vec<Vec<Bit>> = pieces.map(|piece| big_endian(piece).collect()).collect();
    let Some(first) = pieces.first() else { return Err(SynthesisError::Unsatisfiable) };
    let mut selected = weighted(first.iter().copied());
    for (pair, there) in pieces.windows(2).zip(more) {
        let [before, after] = pair else { continue };
        let mut step = weighted(before.iter().copied());
        step.negate_in_place();
        step.extend(weighted::<Fr>(after.iter().copied()));
        step.compactify();
        let change = if there.value() { value_of::<Fr>(after) - value_of::<Fr>(before) } else { Fr::ZERO };
        let variable = system.new_witness_variable(|| Ok(change))?;
        let factor = as_terms(*there);
        system.enforce_r1cs_constraint(|| step, || factor, || variable.into())?;
        selected.push((Fr::ONE, variable));
    }
    Ok(selected)
}

/// The bits of these words in the order of their bytes, the least significant of each byte first.
fn bits_of(words: &[&[Word]]) -> Vec<Bit> {
    words.iter().flat_map(|words| words.iter()).flat_map(|word| word.0).collect()
}
