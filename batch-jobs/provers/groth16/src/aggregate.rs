//! The circuit of two blocks that follow each other: both leaf proofs hold under one leaf key, which is constant in
//! the circuit; they are of one chain, the second's height is the first's plus one, and it starts in the state that
//! the first ends in.
//!
//! What is public is the range that they make up. The transactions' digests of the blocks are left out: the states
//! bind them.

use ark_bls12_377::{Bls12_377, Fq, Fr};
use ark_ff::Field;
use ark_groth16::{Proof, VerifyingKey};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use proofyard_statement::{BlockValues, RangeValues};

use crate::bits::{Bit, big_endian, enforce_zero, weighted};
use crate::leaf_check::enforce_valid;
use crate::packing::{AGGREGATE_PIECE_BYTES, LEAF_PIECE_BYTES, allocate_inputs, public_inputs};

/// How many leaves one aggregate has.
pub const LEAVES: usize = 2;

/// What the circuit is about and what it is shown.
#[derive(Debug, Clone)]
pub struct AggregateCircuit {
    /// Part of the circuit: another key is another circuit.
    pub leaf_key: VerifyingKey<Bls12_377>,
    /// What is public.
    pub range: RangeValues,
    pub leaves: [Leaf; LEAVES],
}

/// A leaf's proof with what it proves.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub values: BlockValues,
    pub proof: Proof<Bls12_377>,
}

impl Leaf {
    /// The public inputs of the leaf's own circuit.
    pub fn public_inputs(&self) -> Vec<Fr> {
        public_inputs(&self.values.to_bytes(), LEAF_PIECE_BYTES)
    }
}

impl AggregateCircuit {
    /// The circuit for making keys: which proofs it holds makes no difference there.
    pub fn blank(leaf_key: VerifyingKey<Bls12_377>) -> Self {
        let values =
            BlockValues { chain_id: 0, height: 0, pre: [0; 32], post: [0; 32], transactions: [0; 32] };
        let leaf = Leaf { values: values.clone(), proof: Proof::default() };
        Self { leaf_key, range: values.into(), leaves: [leaf.clone(), leaf] }
    }
}

/// A leaf's public values as bits, in the order of their canonical bytes, the least significant of each byte first.
struct LeafBits(Vec<Bit>);

impl ConstraintSynthesizer<Fq> for AggregateCircuit {
    fn generate_constraints(self, system: ConstraintSystemRef<Fq>) -> Result<(), SynthesisError> {
        let public = public_inputs::<Fq>(&self.range.to_bytes(), AGGREGATE_PIECE_BYTES);
        let public = allocate_inputs(&system, public)?;

        let first = self.enforce_leaf(&system, &self.leaves[0])?;
        let second = self.enforce_leaf(&system, &self.leaves[1])?;

        enforce_equal(
            &system,
            weighted(big_endian(first.chain_id())),
            weighted(big_endian(second.chain_id())),
        )?;
        let mut next_height = weighted(big_endian(first.height()));
        next_height.push((Fq::ONE, Variable::One));
        next_height.compactify();
        enforce_equal(&system, next_height, weighted(big_endian(second.height())))?;
        enforce_equal(&system, as_one(first.post()), as_one(second.pre()))?;

        let range = [first.chain_id(), first.height(), second.height(), first.pre(), second.post()].concat();
        for (piece, input) in range.chunks(AGGREGATE_PIECE_BYTES * 8).zip(public) {
            enforce_equal(&system, as_one(piece), input.into())?;
        }
        Ok(())
    }
}

impl AggregateCircuit {
    /// Constrains a leaf's proof to be valid for these values.
    fn enforce_leaf(
        &self,
        system: &ConstraintSystemRef<Fq>,
        leaf: &Leaf,
    ) -> Result<LeafBits, SynthesisError> {
        let mut bits = Vec::with_capacity(BlockValues::BYTES * 8);
        for byte in leaf.values.to_bytes() {
            for index in 0..8 {
                bits.push(Bit::allocate(system, byte >> index & 1 == 1)?);
            }
        }
        let inputs: Vec<&[Bit]> = bits.chunks(LEAF_PIECE_BYTES * 8).collect();
        enforce_valid(system, &self.leaf_key, &inputs, &leaf.proof)?;
        Ok(LeafBits(bits))
    }
}

impl LeafBits {
    fn chain_id(&self) -> &[Bit] {
        self.bytes(0, 8)
    }

    fn height(&self) -> &[Bit] {
        self.bytes(8, 8)
    }

    fn pre(&self) -> &[Bit] {
        self.bytes(16, 32)
    }

    fn post(&self) -> &[Bit] {
        self.bytes(48, 32)
    }

    fn bytes(&self, from: usize, count: usize) -> &[Bit] {
        &self.0[from * 8..(from + count) * 8]
    }
}

/// At most 44 bytes as one element, which no other bytes are.
fn as_one(bits: &[Bit]) -> LinearCombination<Fq> {
    weighted(bits.iter().copied())
}

fn enforce_equal(
    system: &ConstraintSystemRef<Fq>,
    one: LinearCombination<Fq>,
    other: LinearCombination<Fq>,
) -> Result<(), SynthesisError> {
    let mut difference = other;
    difference.negate_in_place();
    difference.extend(one);
    difference.compactify();
    enforce_zero(system, difference)
}
