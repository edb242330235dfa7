//! Public values as public inputs: the canonical bytes, cut into pieces that fit into a field element.
//!
//! A piece is read as a little-endian number, so that the little-endian words that BLAKE3 works on stand in it side by
//! side. Pieces are shorter than the field, so that different bytes are always different inputs.

use ark_ff::PrimeField;

/// Bytes of a block's values in one public input of a leaf: four make up all 112.
pub const LEAF_PIECE_BYTES: usize = 28;

/// Public inputs of a leaf.
pub const LEAF_PIECES: usize = 4;

/// Bytes of a range's values in one public input of an aggregate: two make up all 88.
pub const AGGREGATE_PIECE_BYTES: usize = 44;

/// The public inputs that these canonical bytes are.
pub fn public_inputs<F: PrimeField>(bytes: &[u8], piece_bytes: usize) -> Vec<F> {
    bytes.chunks(piece_bytes).map(F::from_le_bytes_mod_order).collect()
}
