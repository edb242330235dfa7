//! An operator's words, and what may be checked again afterwards.

use crate::common::driver::{Driver, block, good};
use crate::common::now;
use proofyard_core::committed::Committed;
use proofyard_core::error::{Error, Refusal};
use proofyard_core::operation::Operation;

const DEMO: &str = include_str!("pipeline/demo.toml");

fn proved(blocks: std::ops::RangeInclusive<u64>) -> Driver {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(blocks);
    driver.end();
    driver.work("w1", good);
    driver
}

fn committed(driver: &Driver, heights: std::ops::RangeInclusive<u64>) -> Vec<(u64, u64)> {
    let committed = now(driver.yard.committed(&driver.chain, &heights)).expect("an out log");
    committed.iter().map(|Committed { from, sequence, .. }| (*from, *sequence)).collect()
}

#[test]
fn a_word_about_a_chain_that_cannot_be_called_so_is_about_none_that_is_known() {
    let driver = Driver::new(DEMO);
    for name in ["", "A:b", "other"] {
        let word = serde_json::json!({ "operation": "pause", "chain": name });
        let word: Operation = serde_json::from_value(word).expect("a word");
        let error = now(driver.yard.operate(&word)).expect_err("there is no such chain");
        assert!(
            matches!(&error, Error::Refused(Refusal::UnknownChain(unknown)) if unknown == name),
            "{error}"
        );
    }
}

#[test]
fn neither_a_redo_nor_a_reorg_opens_the_input_again_and_a_new_block_does() {
    let driver = proved(1..=6);
    now(driver.yard.record_redo(&driver.chain, 4)).expect("a redo");
    driver.settle();
    assert!(
        now(driver.yard.tip(&driver.chain)).expect("a tip").ended,
        "no more blocks come because of a redo"
    );
    let other = block(6, "b", "a");
    driver.send(&other);
    now(driver.yard.record_reorg(&driver.chain, 6, &other.hash)).expect("a reorg");
    driver.settle();
    assert!(now(driver.yard.tip(&driver.chain)).expect("a tip").ended, "all of it was known");
    driver.send(&block(7, "b", "b"));
    assert!(!now(driver.yard.tip(&driver.chain)).expect("a tip").ended, "the other branch goes on");
}

#[test]
fn a_pool_stays_in_the_pipeline_as_long_as_open_blocks_need_it() {
    let other = DEMO.replace("cpu", "gpu");
    let mut driver = Driver::new(DEMO);
    now(driver.yard.record_pipeline(&other)).expect("nothing is open");
    now(driver.yard.record_pipeline(DEMO)).expect("nothing is open");
    driver.blocks(1..=3);
    let error = now(driver.yard.record_pipeline(&other)).expect_err("blocks wait for the pool").to_string();
    assert!(error.contains("[pool.cpu] is gone") && error.contains("`proofyard redo 1`"), "{error}");
    now(driver.yard.record_redo(&driver.chain, 1)).expect("a redo");
    now(driver.yard.record_pipeline(&other)).expect("they are to be opened again");
    driver.settle();
    driver.worker("w1", "gpu");
    driver.work("w1", good);
    assert_eq!(committed(&driver, 0..=u64::MAX).len(), 3);
}

#[test]
fn what_is_committed_now_is_told_over_retracts() {
    let mut driver = proved(1..=6);
    let first: Vec<_> = (1..=6).map(|height| (height, height - 1)).collect();
    assert_eq!(committed(&driver, 0..=u64::MAX), first);
    assert_eq!(committed(&driver, 2..=3), [(2, 1), (3, 2)]);
    assert_eq!(committed(&driver, 7..=9), []);
    now(driver.yard.record_redo(&driver.chain, 4)).expect("a redo");
    driver.settle();
    assert_eq!(committed(&driver, 0..=u64::MAX), first[..3]);
    driver.work("w1", good);
    // Sequence 6 is the retract.
    assert_eq!(committed(&driver, 3..=6), [(3, 2), (4, 7), (5, 8), (6, 9)]);
}

#[test]
fn a_committed_proof_comes_with_what_it_was_made_from() {
    let driver = proved(1..=3);
    let entry = now(driver.yard.committed(&driver.chain, &(2..=2))).expect("an out log")[0];
    let proofs = now(driver.yard.committed_proofs(&driver.chain, &entry)).expect("its proofs");
    let [proof] = proofs.as_slice() else { panic!("one proof commits") };
    let stage = &proof.stage().name;
    assert_eq!((proof.task.height(), &proof.proof.stage), (2, stage));
    let inputs: Vec<_> = proof.inputs.iter().map(|input| (input.height, input.stage.as_deref())).collect();
    assert_eq!(inputs, [(2, Some("segment")); 3]);
}
