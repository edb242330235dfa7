//! The circuits, attacked constraint by constraint; then keys, proofs and the program as it is used.

// Helpers outside of test functions may fail a test too.
#![allow(clippy::unwrap_used)]

mod aggregate;
mod compression;
mod constraints;
mod files;
mod leaf;
mod onchain;
mod program;
mod proofs;
mod range;

use std::path::Path;
use std::sync::OnceLock;

use proofyard_groth16::keys::{development_aggregate, development_leaf, development_range};
use proofyard_statement::{Block, TransactionHash};

const CHAIN_ID: u64 = u64::MAX - 7;

/// The folder of the development keys, kept from one run of the tests to the next: they are named by their content.
fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/keys"))
}

/// The name of the development leaf key, which is made if it is not there.
fn leaf_key() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| development_leaf(folder()).unwrap())
}

fn aggregate_key() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| development_aggregate(folder()).unwrap())
}

fn range_key() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| development_range(folder()).unwrap())
}

fn transaction(height: u64, index: usize) -> TransactionHash {
    let mut hash = [0xff; 32];
    hash[..8].copy_from_slice(&height.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    hash[16..24].copy_from_slice(&(index as u64 + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    hash
}

/// A block that starts from this state.
fn block(height: u64, transactions: usize, pre: [u8; 32]) -> Block {
    let transactions: Vec<_> = (0..transactions).map(|index| transaction(height, index)).collect();
    let count = transactions.len() as u32;
    let segments = vec![(0, count)];
    let mut block = Block { chain_id: CHAIN_ID, height, transactions, pre, post: [0; 32], segments };
    block.post = block.values().post;
    block
}
