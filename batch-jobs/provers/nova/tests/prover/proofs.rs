//! Whole proofs. Each takes ten seconds to compress, so they are few and shared.

use proofyard_nova::prover::MAX_PROOF_BYTES;
use proofyard_nova::statement::{Kind, MAX_STEPS, Statement, count_steps};
use proofyard_statement::{Block, BlockValues, Error, ProofFile, RangeValues};

use crate::{GENESIS, KEY, block, chain, keys, proved_block, proved_range, random};

#[test]
fn the_key_is_this_versions() {
    assert_eq!(hex::encode(keys().id()), KEY);
}

#[test]
fn blocks_are_proved_and_read_back() {
    let (three, file) = proved_block();
    let statement = keys().check(file, Kind::Block).unwrap();
    assert_eq!(statement, Statement::Block(three.checked_values().unwrap()));
    assert_eq!(statement.to_bytes().len(), BlockValues::BYTES);
    let bytes = file.to_bytes().unwrap();
    let read = ProofFile::from_bytes(&bytes, Kind::Block.format(), MAX_PROOF_BYTES).unwrap();
    assert_eq!(&read, file);

    let empty = block(0, 0, GENESIS);
    let file = keys().prove(Kind::Block, std::slice::from_ref(&empty), &mut |_, _| {}).unwrap();
    assert_eq!(keys().check(&file, Kind::Block).unwrap(), Statement::Block(empty.values()));
    // A close and nothing else.
    assert_eq!(file.proof[..8], 1_u64.to_be_bytes());
}

#[test]
fn a_range_is_proved_block_after_block() {
    let (blocks, file, reported) = proved_range();
    let statement = keys().check(file, Kind::Range).unwrap();
    let parts: Vec<RangeValues> = blocks.iter().map(|block| block.values().into()).collect();
    assert_eq!(statement, Statement::Range(RangeValues::join(&parts).unwrap()));
    assert_eq!(statement.to_bytes().len(), RangeValues::BYTES);
    // A pair and a close, a close, a lone one and a close.
    assert_eq!(file.proof[..8], 5_u64.to_be_bytes());
    let said: Vec<&str> = reported.iter().map(|(_, what)| what.as_str()).collect();
    let expected =
        ["block 1 of 3", "block 1 of 3", "block 2 of 3", "block 3 of 3", "block 3 of 3", "compressing"];
    assert_eq!(said, expected);
    assert!(reported.is_sorted_by(|one, next| one.0 < next.0 && next.0 < 1.0), "{reported:?}");
}

fn rejected(file: &ProofFile, kind: Kind) -> String {
    let error = keys().check(file, kind).unwrap_err();
    assert!(matches!(error, Error::Rejected(_) | Error::ProofFile(_)), "{error:?}");
    error.to_string()
}

/// The same proof with other public values, and where the values are the last ones, with these inside the proof too.
#[test]
fn each_public_value_is_bound() {
    let (_, file) = proved_block();
    let values = BlockValues::from_bytes(&file.public_values).unwrap();
    let other = random(7);
    for forged in [
        BlockValues { chain_id: values.chain_id - 1, ..values.clone() },
        BlockValues { height: values.height + 1, ..values.clone() },
        BlockValues { pre: other, ..values.clone() },
        BlockValues { post: other, ..values.clone() },
        BlockValues { transactions: other, ..values.clone() },
    ] {
        refuse_forged(file, Statement::Block(forged));
    }
    let (_, file, _) = proved_range();
    let values = RangeValues::from_bytes(&file.public_values).unwrap();
    for forged in [
        RangeValues { chain_id: values.chain_id - 1, ..values.clone() },
        RangeValues { from: values.from - 1, ..values.clone() },
        RangeValues { from: values.from + 1, ..values.clone() },
        RangeValues { to: values.to + 1, ..values.clone() },
        RangeValues { to: values.to - 1, ..values.clone() },
        RangeValues { to: u64::MAX, ..values.clone() },
        RangeValues { pre: other, ..values.clone() },
        RangeValues { post: other, ..values.clone() },
    ] {
        refuse_forged(file, Statement::Range(forged));
    }
}

fn refuse_forged(file: &ProofFile, forged: Statement) {
    let mut file = ProofFile { public_values: forged.to_bytes(), ..file.clone() };
    rejected(&file, forged.kind());
    let Some((_, end)) = forged.boundaries() else { return };
    // The compressed proof ends with the values that it claims to lead to.
    let elements = end.to_elements();
    let place = file.proof.len() - 32 * elements.len();
    let bytes: Vec<u8> = elements.iter().flat_map(|element| element.to_bytes()).collect();
    file.proof[place..].copy_from_slice(&bytes);
    let why = rejected(&file, forged.kind());
    assert!(why.contains("Invalid output hash"), "{forged:?}: {why}");
}

#[test]
fn a_proof_is_of_its_own_number_of_steps() {
    let (_, file, _) = proved_range();
    for steps in [4_u64, 6, 5 + (1 << 20), 0, 5 | 1 << 32, u64::MAX] {
        let mut file = file.clone();
        file.proof[..8].copy_from_slice(&steps.to_be_bytes());
        rejected(&file, Kind::Range);
    }
}

#[test]
fn a_block_is_no_range_and_a_range_no_block() {
    let block = &proved_block().1;
    let range = &proved_range().1;
    assert!(rejected(block, Kind::Range).contains("its format is \"proofyard-nova-block-1\""));
    assert!(rejected(range, Kind::Block).contains("its format is \"proofyard-nova-range-1\""));

    // Renamed, with values of the other kind: that of a block is, as a range of one, even true.
    let values = BlockValues::from_bytes(&block.public_values).unwrap();
    let renamed = |file: &ProofFile, statement: Statement| ProofFile {
        format: statement.kind().format(),
        public_values: statement.to_bytes(),
        ..file.clone()
    };
    let as_range = renamed(block, Statement::Range(values.clone().into()));
    rejected(&as_range, Kind::Range);
    let RangeValues { chain_id, from, pre, post, .. } =
        RangeValues::from_bytes(&range.public_values).unwrap();
    let forged = BlockValues { chain_id, height: from, pre, post, transactions: values.transactions };
    rejected(&renamed(range, Statement::Block(forged)), Kind::Block);
}

#[test]
fn what_is_tampered_with_is_refused_without_a_panic() {
    let (_, file) = proved_block();
    let length = file.proof.len();
    for place in (0..24).map(|part| 8 + part * (length - 9) / 23) {
        let mut file = file.clone();
        file.proof[place] ^= 1 << (place % 8);
        rejected(&file, Kind::Block);
    }
    for end in [0, 7, 8, length / 2, length - 1] {
        let proof = file.proof[..end].to_vec();
        rejected(&ProofFile { proof, ..file.clone() }, Kind::Block);
    }
    let longer = [&file.proof[..], b"x"].concat();
    assert!(rejected(&ProofFile { proof: longer, ..file.clone() }, Kind::Block).contains("canonical"));
    for seed in 0..8 {
        let random: Vec<u8> = (0..length as u64 / 32).flat_map(|part| random(seed << 32 | part)).collect();
        let proof = [&file.proof[..8], &random].concat();
        rejected(&ProofFile { proof, ..file.clone() }, Kind::Block);
    }
    // Lengths that ask for more than there is.
    for byte in [0x00, 0x01, 0x7f, 0xff] {
        let proof = [&file.proof[..8], &vec![byte; length - 8]].concat();
        rejected(&ProofFile { proof, ..file.clone() }, Kind::Block);
    }
    let other_key = ProofFile { verification_key: vec![1; 32], ..file.clone() };
    assert!(rejected(&other_key, Kind::Block).contains("made with the key 0101"));
}

/// What cannot be proved is said before anything is folded.
#[test]
fn wrong_blocks_are_refused_before_folding() {
    let mut blocks = chain(5, &[1, 2, 3]);
    let refused = |kind: Kind, blocks: &[Block]| {
        let mut folded = |_: f64, what: &str| panic!("it began: {what}");
        keys().prove(kind, blocks, &mut folded).unwrap_err().to_string()
    };
    assert!(refused(Kind::Block, &blocks).contains("3 blocks, expected one"));
    assert!(refused(Kind::Range, &[]).contains("there are none"));
    let gap = [blocks[0].clone(), blocks[2].clone()];
    assert!(refused(Kind::Range, &gap).contains("starts at height 7"));
    let mut last = block(u64::MAX, 1, GENESIS);
    assert!(refused(Kind::Block, &[last.clone()]).contains("at the last height of all"));
    last.height = 3;
    assert!(refused(Kind::Block, &[last]).contains("another state than its post-state"));
    blocks[1].post = random(1);
    let why = refused(Kind::Range, &blocks);
    assert!(why.contains("number 2 of 3, height 6") && why.contains("post-state"), "{why}");
    let large = Block { transactions: vec![[0; 32]; 2 * MAX_STEPS], ..blocks.swap_remove(0) };
    assert!(count_steps(&[large]).unwrap_err().to_string().contains("more than 1048576 steps"));
}
