use std::cell::Cell;

use proofyard_core::committed::Passed;
use proofyard_core::explain::Case;
use proofyard_core::record::{FailureKind, RetrySelection};
use proofyard_core::state::Frontier;
use proofyard_core::status::Finished;

use super::explain::says;
use super::{AFTER, CUTS, DEMO, REALTIME, fail_at};
use crate::common::driver::{Does, Driver, block, good};
use crate::common::{named, now};

fn finished(driver: &Driver) -> Finished {
    now(driver.yard.is_finished(&driver.chain)).expect("an answer")
}

fn hand_on(driver: &Driver, sink: &str) {
    while let Some(entry) = now(driver.yard.sink_next(&driver.chain, sink)).expect("an entry or none") {
        now(driver.yard.sink_done(sink, &entry)).expect("recorded");
    }
}

#[test]
fn yes_only_once_all_is_committed_and_handed_on() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=20);
    assert_eq!(finished(&driver), Finished::No);
    driver.work("w1", good);
    assert_eq!(finished(&driver), Finished::No, "more blocks may come");
    driver.end();
    assert_eq!(finished(&driver), Finished::No, "the sink has nothing yet");
    hand_on(&driver, "file");
    assert_eq!(finished(&driver), Finished::Yes);
}

/// Two stages join outputs that do not fit together: nothing is left to do for either.
#[test]
fn stuck_when_several_stages_of_a_block_cannot_start() {
    let stage = |name: &str, from: &str| {
        format!(
            "[stage.{name}]\nstrategy = \"match\"\nfrom = {from}\non = [\"program\"]\nprover = \"miden-join\"\npool = \"cpu\"\n\n"
        )
    };
    let more = [stage("other", "\"segment\""), stage("whole", "[\"join\", \"other\"]")].concat();
    let two = DEMO.replace("[prover.miden-segment]", &format!("{more}[prover.miden-segment]"));
    let mut driver = Driver::new(&two);
    driver.worker("w1", "cpu");
    driver.blocks(1..=1);
    driver.end();
    driver.work("w1", |task| Does::ProvesOf(if task.task.id().index == 0 { "v1" } else { "v2" }));
    for stage in ["join", "other"] {
        says(
            &driver,
            1,
            Case::Blocked,
            &[&format!("stage {stage}: cannot start, its inputs differ in `program`")],
        );
    }
    assert!(matches!(finished(&driver), Finished::Stuck { .. }), "{:?}", finished(&driver));
}

#[test]
fn an_input_without_blocks_is_finished() {
    let driver = Driver::new(DEMO);
    driver.end();
    assert_eq!(finished(&driver), Finished::Yes);
}

#[test]
fn stuck_when_parked_work_is_all_that_is_left_and_not_before() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.blocks(1..=12);
    driver.end();
    fail_at(&mut driver, ["w1", "w2"], "segment", 1);
    let Finished::Stuck { parked, reason } = finished(&driver) else { panic!("it is stuck") };
    assert_eq!((parked.len(), reason.as_str()), (3, "3 tasks are parked"));
    now(driver.yard.retry(&RetrySelection::AllOf { chain: named("demo") })).expect("retried");
    assert_eq!(finished(&driver), Finished::No);
    driver.work("w1", good);
    hand_on(&driver, "file");
    assert_eq!(finished(&driver), Finished::Yes);
}

#[test]
fn not_stuck_while_the_input_may_bring_more_that_can_open() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.blocks(1..=2);
    fail_at(&mut driver, ["w1", "w2"], "join", 1);
    assert_eq!(finished(&driver), Finished::No);
    driver.blocks(3..=12);
    driver.work("w1", good);
    assert!(matches!(finished(&driver), Finished::Stuck { .. }), "the window is full");
}

#[test]
fn a_paused_chain_with_work_left_is_not_finished() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=2);
    driver.end();
    now(driver.yard.pause(&named("demo"))).expect("paused");
    assert_eq!(driver.work("w1", good), 0);
    assert_eq!(finished(&driver), Finished::No);
}

#[test]
fn a_halted_chain_is_stuck_once_nothing_runs() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=2);
    driver.end();
    let running = driver.claim("w1").expect("a task");
    now(driver.yard.halt(&named("demo"), "wrong node")).expect("halted");
    assert_eq!(finished(&driver), Finished::No, "a result may still come");
    driver.perform(&running, good(&running));
    let Finished::Stuck { parked, reason } = finished(&driver) else { panic!("it is stuck") };
    assert_eq!((parked.len(), reason.as_str()), (0, "wrong node"));
}

#[test]
fn cuts_after_the_commit_must_be_emitted_too() {
    let mut driver = Driver::new(AFTER);
    driver.worker("w1", "cpu");
    driver.worker("w2", "slow");
    driver.blocks(1..=5);
    driver.end();
    driver.work("w1", good);
    assert_eq!(finished(&driver), Finished::No);
    driver.work("w2", good);
    hand_on(&driver, "pairs");
    assert_eq!(finished(&driver), Finished::Yes, "the last cut is short");
}

#[test]
fn parked_work_after_the_commit_is_stuck_too() {
    let mut driver = Driver::new(AFTER);
    for worker in ["w1", "w2"] {
        driver.worker(worker, "slow");
    }
    driver.worker("w3", "cpu");
    driver.blocks(1..=4);
    driver.end();
    driver.work("w3", good);
    fail_at(&mut driver, ["w1", "w2"], "pair", 1);
    let Finished::Stuck { parked, .. } = finished(&driver) else { panic!("it is stuck") };
    assert_eq!(parked[0].task, "after:c:pair:1-2:0/pair/0");
}

#[test]
fn commits_by_cuts_finish_with_a_short_last_cut() {
    let mut driver = Driver::new(CUTS);
    driver.worker("w1", "cpu");
    driver.blocks(1..=5);
    driver.work("w1", good);
    assert_eq!(finished(&driver), Finished::No);
    driver.end();
    driver.work("w1", good);
    assert_eq!(finished(&driver), Finished::Yes);
}

#[test]
fn missed_blocks_do_not_keep_it_open() {
    let driver = Driver::new(REALTIME);
    driver.blocks(21_000_000..=21_000_001);
    driver.end();
    assert_eq!(finished(&driver), Finished::No, "their deadline comes");
    driver.pass(12_000);
    driver.sweep();
    assert_eq!(finished(&driver), Finished::Yes);
}

fn passed(driver: &Driver) -> (u64, u64) {
    let Passed { committed, missed } = now(driver.yard.heights_passed(&driver.chain)).expect("a count");
    (committed, missed)
}

#[test]
fn what_was_missed_is_counted_and_a_reorg_takes_it_back() {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    assert_eq!(passed(&driver), (0, 0));
    driver.blocks(21_000_000..=21_000_001);
    driver.work("w1", good);
    driver.blocks(21_000_002..=21_000_004);
    driver.pass(12_000);
    driver.sweep();
    assert_eq!(passed(&driver), (2, 3));

    driver.send(&block(21_000_004, "b", "a"));
    now(driver.yard.record_reorg(&named("realtime"), 21_000_004, &block(21_000_004, "b", "a").hash))
        .expect("a reorg");
    driver.settle();
    assert_eq!(passed(&driver), (2, 2));
    driver.work("w1", good);
    assert_eq!(passed(&driver), (3, 2));
    now(driver.yard.record_redo(&named("realtime"), 21_000_001)).expect("a redo");
    driver.settle();
    assert_eq!(passed(&driver), (1, 0));
    driver.pass(12_000);
    driver.sweep();
    assert_eq!(passed(&driver), (1, 4));

    // A yard of before misses were counted.
    let key = Frontier::key_of(&named("realtime"));
    let stored = String::from_utf8(driver.yard.port.value(&key)).expect("text");
    let older = stored.replace(",\"missed\":4", "");
    assert_ne!(stored, older);
    driver.yard.port.overwrite(&key, older.into_bytes());
    assert_eq!(passed(&driver), (1, 4));
}

#[test]
fn a_quorum_that_can_never_agree_is_stuck() {
    let mut driver = Driver::new(&REALTIME.replace("late = \"miss\"\ndeadline_ms = 12000\n", ""));
    driver.worker("w1", "gpu");
    driver.block(21_000_000);
    driver.end();
    // Whichever of the stages comes first.
    let asked = Cell::new(0);
    driver.work("w1", |_| Does::Proves(["01", "02", "03"][asked.replace(asked.get() + 1)]));
    let Finished::Stuck { reason, .. } = finished(&driver) else { panic!("it is stuck") };
    assert!(reason.contains("disagree"), "{reason}");
    now(driver.yard.resume(&named("realtime"))).expect("resumed");
    driver.settle();
    driver.work("w1", |_| Does::Proves("03"));
    // A third opinion is news, which an operator must see as well.
    now(driver.yard.resume(&named("realtime"))).expect("resumed");
    driver.settle();
    let Finished::Stuck { reason, .. } = finished(&driver) else { panic!("it is stuck") };
    assert_eq!(reason, "no 2 provers of stage agree agree at height 21000000");
}

#[test]
fn a_failed_task_that_backs_off_is_not_stuck() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=1);
    driver.end();
    driver.work("w1", |_| Does::Fails(FailureKind::Transient, "busy"));
    assert_eq!(finished(&driver), Finished::No);
}
