//! The hash and the step as constraints, then real proofs of a few blocks: made, checked, tampered with.

// Helpers outside of test functions may fail a test too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod keyed;
mod proofs;
mod protocol;
mod recorder;
mod steps;

use std::sync::OnceLock;

use proofyard_nova::keys::Keys;
use proofyard_nova::statement::Kind;
use proofyard_statement::digest::bytes_to_hex;
use proofyard_statement::{Block, Digest, ProofFile, TransactionHash};
use serde_json::{Value, json};

/// The verification key of this version of the circuit. Another one means that proofs made before are refused: it
/// belongs in the changelog, with new format names.
const KEY: &str = "200be295abf84324d3db12688689c614d024825ee3e499a4bc50fc4e23f028bc";

const CHAIN_ID: u64 = u64::MAX - 7;

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::make().unwrap())
}

/// A state that is not zero, so that no zero in the wrong place goes unseen.
const GENESIS: Digest = [0x5a; 32];

/// Bytes that look random and are the same each time.
fn random(seed: u64) -> [u8; 32] {
    *blake3::hash(&seed.to_be_bytes()).as_bytes()
}

fn transaction(height: u64, index: usize) -> TransactionHash {
    random(height << 20 | index as u64)
}

fn block(height: u64, transactions: usize, pre: Digest) -> Block {
    let transactions = (0..transactions).map(|index| transaction(height, index)).collect();
    let mut block = Block { chain_id: CHAIN_ID, height, transactions, pre, post: pre, segments: Vec::new() };
    block.post = block.values().post;
    block
}

/// Blocks that follow each other, with so many transactions.
fn chain(first_height: u64, transactions: &[usize]) -> Vec<Block> {
    let mut pre = GENESIS;
    let next = |(height, count): (u64, &usize)| {
        let block = block(height, *count, pre);
        pre = block.post;
        block
    };
    (first_height..).zip(transactions).map(next).collect()
}

/// A line of a blocks file.
fn line(block: &Block) -> Value {
    let transactions: Vec<String> = block.transactions.iter().map(|hash| bytes_to_hex(hash)).collect();
    json!({
        "chain_id": block.chain_id,
        "block": {
            "number": format!("{:#x}", block.height),
            "hash": "a hash",
            "parentHash": "another",
            "transactions": transactions,
        },
        "pre": bytes_to_hex(&block.pre),
        "post": bytes_to_hex(&block.post),
        "segments": [{"from": 0, "to": block.transactions.len()}],
    })
}

/// A block of three transactions, two steps and a close, and its proof.
fn proved_block() -> &'static (Block, ProofFile) {
    static PROVED: OnceLock<(Block, ProofFile)> = OnceLock::new();
    PROVED.get_or_init(|| {
        let block = block(0xff, 3, GENESIS);
        let file = keys().prove(Kind::Block, std::slice::from_ref(&block), &mut |_, _| {}).unwrap();
        (block, file)
    })
}

type ProvedRange = (Vec<Block>, ProofFile, Vec<(f64, String)>);

/// Three blocks, one of them without transactions, their proof, and what was reported meanwhile.
fn proved_range() -> &'static ProvedRange {
    static PROVED: OnceLock<ProvedRange> = OnceLock::new();
    PROVED.get_or_init(|| {
        let blocks = chain(0xfe, &[2, 0, 1]);
        let mut reported = Vec::new();
        let mut report = |done: f64, what: &str| reported.push((done, what.to_string()));
        let file = keys().prove(Kind::Range, &blocks, &mut report).unwrap();
        (blocks, file, reported)
    })
}
