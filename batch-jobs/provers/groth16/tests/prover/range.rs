//! The circuit of a range: what satisfies it, and what each of its constraints is there to prevent.

use proofyard_groth16::evm::to_bytes;
use proofyard_groth16::packing::{RANGE_PIECE_BYTES, RANGE_PIECES, big_endian_inputs};
use proofyard_groth16::range::{MAX_BLOCKS, RangeCircuit};
use proofyard_statement::digest::{absorb, close, start};
use proofyard_statement::{Block, RangeValues};

use crate::constraints::Constraints;
use crate::{CHAIN_ID, block, transaction};

const PRE: [u8; 32] = [0xa7; 32];
const HEIGHT: u64 = 0x0102_0304_0506_07ff;

/// Blocks of so many transactions each, from this height on.
fn blocks(height: u64, transactions: &[usize]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (index, count) in transactions.iter().enumerate() {
        let pre = blocks.last().map_or(PRE, |before| before.post);
        blocks.push(block(height + index as u64, *count, pre));
    }
    blocks
}

fn circuit(transactions: &[usize]) -> RangeCircuit {
    RangeCircuit::of(&blocks(HEIGHT, transactions)).unwrap()
}

fn broken(circuit: RangeCircuit) -> usize {
    Constraints::of(circuit).unwrap().broken()
}

#[test]
fn one_block_and_two_satisfy_it() {
    let blank = Constraints::of(RangeCircuit::blank()).unwrap().count();
    assert!(blank < 1 << 18, "{blank} constraints would double the proof's domain");
    for transactions in [&[0][..], &[8], &[3, 8], &[0, 1]] {
        let constraints = Constraints::of(circuit(transactions)).unwrap();
        assert_eq!(constraints.broken(), 0, "{transactions:?}");
        assert_eq!(constraints.count(), blank, "one circuit for all");
        assert_eq!(constraints.unbound(), [0_usize; 0], "no variable is free: {transactions:?}");
    }
}

#[test]
fn the_last_of_all_heights_can_be_proved_alone() {
    let last = RangeCircuit::of(&blocks(u64::MAX, &[1])).unwrap();
    assert_eq!(broken(last.clone()), 0);
    // No block follows it: 2^64 is not 0.
    let mut wrapped = last;
    wrapped.more[0] = true;
    wrapped.values.to = 0;
    wrapped.values.post =
        close(wrapped.values.post, absorb(start(CHAIN_ID, 0), &wrapped.blocks[1].transactions[..0]));
    assert_eq!(broken(wrapped), 1);
}

#[test]
fn each_public_value_is_bound() {
    type Change = fn(&mut RangeValues);
    let changes: [(&str, Change); 7] = [
        ("chain id", |values| values.chain_id ^= 1 << 63),
        ("first height", |values| values.from ^= 1),
        ("last height", |values| values.to ^= 1),
        ("last height's first bit", |values| values.to ^= 1 << 63),
        ("pre-state", |values| values.pre[31] ^= 0x80),
        ("post-state", |values| values.post[0] ^= 1),
        ("post-state's last bit", |values| values.post[31] ^= 1),
    ];
    for transactions in [&[3][..], &[3, 2]] {
        for (what, change) in changes {
            let mut changed = circuit(transactions);
            change(&mut changed.values);
            assert!(broken(changed) > 0, "{what} of {transactions:?}");
        }
    }
}

#[test]
fn no_more_and_no_fewer_blocks_are_claimed() {
    let (one, two) = (circuit(&[3]), circuit(&[3, 2]));
    // The claim of one with the blocks of the other.
    assert!(broken(RangeCircuit { values: one.values.clone(), ..two.clone() }) > 0);
    assert!(broken(RangeCircuit { values: two.values.clone(), ..one.clone() }) > 0);
    // A block that is not there changes nothing, whatever it would be.
    let mut other = two.clone();
    other.more[0] = false;
    other.values = one.values;
    assert_eq!(broken(other.clone()), 0);
    other.blocks[1].height = 0;
    assert_eq!(broken(other), 0);
}

/// The second block's place is part of its digest, so that this alone keeps the heights in a row.
#[test]
fn heights_follow_each_other() {
    for height in [HEIGHT, HEIGHT + 2, 1 << 63, (HEIGHT + 1).swap_bytes()] {
        let [first, second] = blocks(HEIGHT, &[3, 2]).try_into().unwrap();
        let second = Block { height, ..second };
        let second = Block { post: second.values().post, ..second };
        let mut attack = circuit(&[3, 2]);
        attack.blocks[1].height = height;
        attack.values = RangeValues { to: height, post: second.post, ..first.values().into() };
        assert_eq!(broken(attack), 1, "{height:#x}");
    }
}

#[test]
fn states_follow_each_other() {
    // What the second block makes of another state than the first's.
    let [_, second] = blocks(HEIGHT, &[3, 2]).try_into().unwrap();
    let elsewhere = Block { pre: PRE, ..second };
    let mut attack = circuit(&[3, 2]);
    attack.values.post = elsewhere.values().post;
    assert!(broken(attack) > 0);
    let mut other = circuit(&[3, 2]);
    other.blocks[0].transactions[1] = transaction(HEIGHT, 7);
    assert!(broken(other) > 0, "another transaction of the first block");
    let mut fewer = circuit(&[3, 2]);
    fewer.blocks[1].present[1] = false;
    assert!(broken(fewer) > 0, "one transaction less of the second block");
}

#[test]
fn what_it_does_not_take_is_refused() {
    let why = |blocks: &[Block]| RangeCircuit::of(blocks).unwrap_err().to_string();
    assert!(why(&blocks(HEIGHT, &[1; MAX_BLOCKS + 1])).contains("3 blocks"));
    assert!(why(&blocks(HEIGHT, &[1, 9])).contains("block 1: it has 9 transactions"));
    let mut wrong = blocks(HEIGHT, &[1, 2]);
    wrong[1].post[0] ^= 1;
    assert!(why(&wrong).contains("block 1: its transactions take its pre-state to another state"));
    let swapped: Vec<Block> = blocks(HEIGHT, &[1, 2]).into_iter().rev().collect();
    assert!(why(&swapped).contains("starts at height"));
    assert!(why(&[]).contains("there are none"));
}

/// As a contract computes them: different bytes are always different inputs.
#[test]
fn public_inputs_are_pieces_of_the_bytes() {
    let values = circuit(&[3]).values.to_bytes();
    let inputs = big_endian_inputs::<ark_bn254::Fr>(&values, RANGE_PIECE_BYTES);
    assert_eq!(inputs.len(), RANGE_PIECES);
    for (input, piece) in inputs.iter().zip([&values[..31], &values[31..62], &values[62..]]) {
        let found = to_bytes(*input);
        assert_eq!(found[32 - piece.len()..], *piece);
        assert!(found[..32 - piece.len()].iter().all(|byte| *byte == 0));
    }
}
