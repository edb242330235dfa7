//! Public values as public inputs: the canonical bytes, cut into pieces that fit into a field element.
//!
//! A piece is read as a little-endian number, so that the little-endian words that BLAKE3 works on stand in it side by
//! side; or, for a contract, as a big-endian one, as the EVM reads its calldata. Pieces are shorter than the field, so that
//! different bytes are always different inputs.

use ark_ff::PrimeField;
use ark_relations::gr1cs::{ConstraintSystemRef, SynthesisError, Variable};

/// Bytes of a block's values in one public input of a leaf: four make up all 112.
pub const LEAF_PIECE_BYTES: usize = 28;

/// Public inputs of a leaf.
pub const LEAF_PIECES: usize = 4;

/// Bytes of a range's values in one public input of an aggregate: two make up all 88.
pub const AGGREGATE_PIECE_BYTES: usize = 44;

/// Bytes of a range's values in one public input of a range's proof: two such, and one of 26, make up all 88.
pub const RANGE_PIECE_BYTES: usize = 31;

/// Public inputs of a range's proof.
pub const RANGE_PIECES: usize = 3;

/// The public inputs that these canonical bytes are.
pub fn public_inputs<F: PrimeField>(bytes: &[u8], piece_bytes: usize) -> Vec<F> {
    bytes.chunks(piece_bytes).map(F::from_le_bytes_mod_order).collect()
}

/// The same, for a contract.
pub fn big_endian_inputs<F: PrimeField>(bytes: &[u8], piece_bytes: usize) -> Vec<F> {
    bytes.chunks(piece_bytes).map(F::from_be_bytes_mod_order).collect()
}

/// Public inputs as a circuit has them.
pub fn allocate_inputs<F: PrimeField>(
    system: &ConstraintSystemRef<F>,
    inputs: Vec<F>,
) -> Result<Vec<Variable>, SynthesisError> {
    inputs.into_iter().map(|input| system.new_input_variable(|| Ok(input))).collect()
}
