//! Real proofs of small blocks: made, checked, tampered with, and proved to have been checked.

// Helpers outside of test functions may fail a test too.
#![allow(clippy::panic, clippy::unwrap_used)]

mod blocks;
mod joins;
mod protocol;
mod recursion;
mod segments;

use std::sync::OnceLock;

use proofyard_miden::ProofHash;
use proofyard_miden::programs::SegmentProgram;
use proofyard_statement::complete::{Cut, complete};
use proofyard_statement::digest::{bytes_to_hex, close};
use proofyard_statement::{Block, Digest, ProofFile, TransactionHash};
use serde_json::{Value, json};

const CHAIN_ID: u64 = u64::MAX - 7;

fn segments() -> &'static SegmentProgram {
    static PROGRAM: OnceLock<SegmentProgram> = OnceLock::new();
    PROGRAM.get_or_init(|| SegmentProgram::new().unwrap())
}

/// A state that is not zero, so that no zero in the wrong place goes unseen.
fn genesis() -> Digest {
    close([0; 32], [7; 32])
}

fn transaction(height: u64, index: usize) -> TransactionHash {
    let mut hash = [0xff; 32];
    hash[..8].copy_from_slice(&height.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    hash[16..24].copy_from_slice(&(index as u64 + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    hash
}

/// A block as a node and a recorder write it, without states. Every second transaction is a hash only.
fn bare_line(height: u64, transactions: usize) -> Value {
    let transactions: Vec<Value> = (0..transactions)
        .map(|index| {
            let hash = bytes_to_hex(&transaction(height, index));
            if index % 2 == 0 { json!({"hash": hash, "nonce": "0x1"}) } else { json!(hash) }
        })
        .collect();
    json!({
        "chain_id": CHAIN_ID,
        "block": {
            "number": format!("{height:#x}"),
            "hash": format!("block {height}"),
            "parentHash": format!("block {}", height - 1),
            "transactions": transactions,
        },
    })
}

/// Blocks in a row, with these numbers of transactions.
fn chain(from: u64, transactions: &[usize], segment_transactions: u32) -> Vec<Block> {
    let lines =
        (from..).zip(transactions).map(|(height, number)| format!("{}\n", bare_line(height, *number)));
    let mut out = Vec::new();
    let bare: String = lines.collect();
    complete(bare.as_bytes(), &mut out, Cut::Every(segment_transactions), genesis()).unwrap();
    out.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Block::parse(line).unwrap())
        .collect()
}

fn block(height: u64, transactions: usize, segment_transactions: u32) -> Block {
    chain(height, &[transactions], segment_transactions).remove(0)
}

fn prove_all(block: &Block, hash: ProofHash) -> Vec<ProofFile> {
    (0..block.segments.len()).map(|index| segments().prove(block, index, hash).unwrap()).collect()
}

fn changed(mut digest: Digest) -> Digest {
    digest[31] ^= 1;
    digest
}
