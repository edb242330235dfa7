//! The circuit of one block: chain id, height, the state before, the state after and the digest of the transactions,
//! all tied together by the chain's rule, as [`rule`](crate::rule) has it.

use ark_bls12_377::Fr;
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError};
use proofyard_statement::{Block, BlockValues, Error, TransactionHash};

use crate::bits::{Number, Word, enforce_zero};
use crate::compression::DigestWords;
use crate::packing::{LEAF_PIECE_BYTES, LEAF_PIECES, allocate_inputs, public_inputs};
pub use crate::rule::MAX_TRANSACTIONS;
use crate::rule::{Place, allocate, close, digest, shown};

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
        let (transactions, present) = shown(block)?;
        Ok(Self { values: block.checked_values()?, transactions, present })
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
        let public = allocate_inputs(&system, public)?;

        let chain_id: [Word; 2] = allocate(&system, &self.values.chain_id.to_be_bytes())?;
        let height: [Word; 2] = allocate(&system, &self.values.height.to_be_bytes())?;
        let pre: DigestWords = allocate(&system, &self.values.pre)?;
        let place = Place { chain_id: &chain_id, height: &height };
        let transactions = digest(&system, &place, &self.transactions, &self.present)?;
        let post = close(&system, &pre, &transactions)?;

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
