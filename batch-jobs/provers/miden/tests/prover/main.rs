//! Real proofs of small blocks: made, checked, tampered with.

// Helpers outside of test functions may fail a test too.
#![allow(clippy::unwrap_used)]

mod joins;
mod protocol;
mod segments;
mod states;

use std::sync::OnceLock;

use miden_core::Word;
use proofyard_miden::artifact::SegmentProof;
use proofyard_miden::block::Block;
use proofyard_miden::states::{Cut, complete};
use proofyard_miden::vm::SegmentVm;
use proofyard_miden::word::{TransactionHash, absorb, bytes_to_hex};
use serde_json::{Value, json};

const CHAIN_ID: u64 = u64::MAX - 7;

fn vm() -> &'static SegmentVm {
    static VM: OnceLock<SegmentVm> = OnceLock::new();
    VM.get_or_init(|| SegmentVm::new().unwrap())
}

/// A state that is not zero, so that no zero in the wrong place goes unseen.
fn genesis() -> Word {
    absorb(Word::empty(), &[7; 32])
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

/// The completed line of one block.
fn line(height: u64, transactions: usize, segment_transactions: u32) -> Value {
    let mut out = Vec::new();
    let bare = bare_line(height, transactions).to_string();
    complete(bare.as_bytes(), &mut out, Cut::Every(segment_transactions), genesis()).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn parse(line: &Value) -> Block {
    Block::parse(line.to_string().as_bytes()).unwrap()
}

fn block(height: u64, transactions: usize, segment_transactions: u32) -> Block {
    parse(&line(height, transactions, segment_transactions))
}

fn prove_all(block: &Block) -> Vec<SegmentProof> {
    (0..block.segments.len()).map(|index| vm().prove_segment(block, index).unwrap()).collect()
}
