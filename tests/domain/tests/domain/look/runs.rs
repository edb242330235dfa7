//! Whole runs, as their outcome is read: every promise about order and reuse that a user sees.

use proofyard_core::port::Wake;
use proofyard_core::state::{Block, OutKind};
use proofyard_core::status::Finished;

use super::{CUTS, DEMO, REALTIME, ROLLUP};
use crate::common::driver::{Driver, block, good};
use crate::common::{named, now};

/// The out log as a sink gets it: heights, and whether they were retracted.
fn handed_on(driver: &Driver, sink: &str) -> Vec<(u64, u64, bool)> {
    let mut log = Vec::new();
    while let Some(entry) = now(driver.yard.sink_next(&driver.chain, sink)).expect("an entry or none") {
        log.push(match entry.kind {
            OutKind::Proof { from, to, .. } => (from, to, false),
            OutKind::Retract { from, to } => (from, to, true),
        });
        now(driver.yard.sink_done(sink, &entry)).expect("recorded");
    }
    log
}

fn assert_finished(driver: &Driver) {
    let finished = now(driver.yard.is_finished(&driver.chain)).expect("an answer");
    assert_eq!(finished, Finished::Yes, "{:#?}", now(driver.yard.status(&driver.chain, true)));
}

#[test]
fn a_rollup_commits_blocks_in_order_and_wraps_each_batch() {
    let mut driver = Driver::new(ROLLUP);
    driver.worker("w1", "cpu");
    driver.worker("w2", "gpu");
    for height in 0..=9 {
        let batch = (height / 4).to_string();
        let fields = [("batch".to_owned(), batch), ("gasUsed".to_owned(), "1000".to_owned())].into();
        driver.send(&Block { fields, ..block(height, "a", "a") });
    }
    driver.end();
    while driver.work("w1", good) + driver.work("w2", good) > 0 {}
    let blocks: Vec<_> = (0..=9).map(|height| (height, height, false)).collect();
    assert_eq!(handed_on(&driver, "blocks"), blocks);
    assert_eq!(handed_on(&driver, "l1"), [(0, 3, false), (4, 7, false), (8, 9, false)]);
    assert_finished(&driver);
}

#[test]
fn a_reorg_and_back_retracts_and_proves_nothing_twice() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=4);
    assert_eq!(driver.work("w1", good), 16);
    driver.send(&block(3, "b", "a"));
    driver.send(&block(4, "b", "b"));
    driver.send(&block(5, "b", "b"));
    now(driver.yard.record_reorg(&named("demo"), 5, &"b5".into())).expect("a reorg");
    driver.settle();
    assert_eq!(driver.work("w1", good), 12, "three new blocks");
    now(driver.yard.record_reorg(&named("demo"), 4, &"a4".into())).expect("and back");
    driver.settle();
    assert_eq!(driver.work("w1", good), 0, "all of it is proved");
    driver.end();
    let one = |height| (height, height, false);
    let gone = |from, to| (from, to, true);
    let there = [one(1), one(2), one(3), one(4), gone(3, 4), one(3), one(4), one(5)];
    let and_back = [gone(3, 5), one(3), one(4)];
    assert_eq!(handed_on(&driver, "file"), [there.as_slice(), &and_back].concat());
    assert_finished(&driver);
}

#[test]
fn a_reorg_voids_the_cut_that_holds_an_orphan() {
    let mut driver = Driver::new(CUTS);
    driver.worker("w1", "cpu");
    driver.blocks(1..=6);
    driver.work("w1", good);
    driver.send(&block(5, "b", "a"));
    driver.send(&block(6, "b", "b"));
    now(driver.yard.record_reorg(&named("cuts"), 6, &"b6".into())).expect("a reorg");
    driver.settle();
    assert_eq!(now(driver.yard.status(&named("cuts"), false)).expect("a status").frontier, 4);
    assert_eq!(driver.work("w1", good), 3, "two blocks and their cut; block 4 keeps its proof");
    driver.end();
    assert_finished(&driver);
}

#[test]
fn a_redo_proves_again_from_there() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=3);
    driver.work("w1", good);
    now(driver.yard.record_redo(&named("demo"), 2)).expect("a redo");
    driver.settle();
    assert_eq!(driver.work("w1", good), 8);
    driver.end();
    assert_eq!(
        handed_on(&driver, "file"),
        [(1, 1, false), (2, 2, false), (3, 3, false), (2, 3, true), (2, 2, false), (3, 3, false)]
    );
    assert_finished(&driver);
}

#[test]
fn a_quorum_commits_at_need_and_cancels_the_rest() {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    driver.blocks(21_000_000..=21_000_004);
    assert_eq!(driver.work("w1", good), 10, "two of three for each block");
    driver.end();
    assert_finished(&driver);
}

#[test]
fn lost_wakes_cost_only_time() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    for height in 1..=3 {
        now(driver.yard.record_block(&named("demo"), &block(height, "a", "a"))).expect("recorded");
    }
    now(driver.yard.record_end(&named("demo"))).expect("recorded");
    while driver.yard.port.next_wake().is_some() {}
    for _ in 0..8 {
        while let Some(task) = driver.claim("w1") {
            driver.record(&task, good(&task));
            while driver.yard.port.next_wake().is_some() {}
        }
        driver.pass(16_000);
        now(driver.yard.sweep()).expect("sweeping");
        while driver.yard.port.next_wake().is_some() {}
    }
    assert_eq!(handed_on(&driver, "file").len(), 3);
    assert_finished(&driver);
}

#[test]
fn the_end_of_a_pause_wakes_the_workers_that_found_nothing() {
    let driver = Driver::new(DEMO);
    driver.blocks(1..=2);
    now(driver.yard.pause(&named("demo"))).expect("paused");
    driver.settle();
    now(driver.yard.resume(&named("demo"))).expect("resumed");
    let wakes: Vec<_> = std::iter::from_fn(|| driver.yard.port.next_wake()).collect();
    assert!(wakes.contains(&Wake::Pool { pool: "cpu".into() }), "{wakes:?}");
}
