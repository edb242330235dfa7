use proofyard_core::explain::{Case, Explanation};
use proofyard_core::record::{FailureKind, RetrySelection};

use super::{AFTER, DEMO, REALTIME, fail_at};
use crate::common::driver::{Does, Driver, LEASE_MS, block, good};
use crate::common::{named, now};

pub fn explain(driver: &Driver, height: u64) -> Explanation {
    now(driver.yard.explain(&driver.chain, height)).expect("an explanation")
}

/// The case is right, and the text has all of these.
pub fn says(driver: &Driver, height: u64, case: Case, parts: &[&str]) {
    let explanation = explain(driver, height);
    let text = explanation.to_string();
    println!("{text}");
    assert_eq!(explanation.case, case, "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn below_the_start() {
    says(&Driver::new(DEMO), 0, Case::BelowStart, &["starts at height 1; block 0 is before it"]);
}

#[test]
fn no_block_known() {
    let driver = Driver::new(DEMO);
    says(&driver, 1, Case::Unknown, &["no block came yet"]);
    driver.blocks(1..=3);
    says(
        &driver,
        9,
        Case::Unknown,
        &["No block is known at height 9", "the tip is at height 3, a3", "arrival"],
    );
    driver.end();
    says(&driver, 4, Case::Unknown, &["has ended"]);
}

#[test]
fn known_but_not_on_the_chain() {
    let driver = Driver::new(DEMO);
    driver.blocks(1..=3);
    driver.send(&block(4, "b", "b"));
    says(
        &driver,
        4,
        Case::NotCanonical,
        &[
            "1 block known there, none on the chain",
            "b4 (parent b3) is stored",
            "its parent is not the tip",
            "reorg",
        ],
    );
    driver.send(&block(3, "b", "a"));
    now(driver.yard.record_reorg(&named("demo"), 3, &"b3".into())).expect("a reorg");
    driver.settle();
    now(driver.yard.record_reorg(&named("demo"), 3, &"a3".into())).expect("and back");
    driver.settle();
    says(&driver, 4, Case::NotCanonical, &["b4 (parent b3) left the chain in a reorg"]);
}

#[test]
fn beyond_the_window_the_frontier_is_explained() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=10);
    driver.pass(12_000);
    driver.claim("w1").expect("a task");
    says(
        &driver,
        9,
        Case::BeyondWindow,
        &[
            "beyond the window, which reaches from 1 to 8",
            "the block at the frontier is the one to look at",
            "Block 1 of chain demo is not committed: stage segment has 3 of 3 tasks left",
            "worker w1 runs attempt 1",
            "`proofyard window N`",
        ],
    );
}

#[test]
fn work_in_progress_names_who_has_it_and_since_when() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=2);
    driver.pass(60_000);
    let proved = driver.claim("w1").expect("a task");
    driver.perform(&proved, good(&proved));
    driver.claim("w1").expect("a task");
    driver.pass(12_000);
    says(
        &driver,
        1,
        Case::Working,
        &[
            "Block 1 of chain demo is not committed: stage segment has 2 of 3 tasks left (1 running, 1 waiting for a worker).",
            "acknowledged 1 min 12 s ago, opened 1 min 12 s ago",
            "stage segment: 1 of 3 tasks accepted",
            "worker w1 runs attempt 1 for 12 s (its lease holds for 8 min",
            "waits for a worker of pool cpu for 1 min 12 s, first in its line",
            "stage join: waits for segment",
            "a free worker of pool cpu",
        ],
    );
    says(&driver, 2, Case::Working, &["the frontier is at height 1, which must be committed first"]);
    driver.pass(LEASE_MS);
    says(&driver, 1, Case::Working, &["its lease ran out"]);
}

#[test]
fn failures_are_told_with_their_last_log_lines() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.blocks(1..=1);
    let task = driver.claim("w1").expect("a task");
    driver.perform(&task, Does::Fails(FailureKind::Transient, "out of memory"));
    driver.pass(100);
    says(
        &driver,
        1,
        Case::Working,
        &[
            "1 backing off",
            "tried again in",
            "1 failure of 3",
            "attempt 1 on w1, 100 ms ago: out of memory",
            "| loading keys",
        ],
    );
    fail_at(&mut driver, ["w1", "w2"], "segment", 1);
    says(
        &driver,
        1,
        Case::Parked,
        &[
            "3 tasks of stage segment are parked (two workers say that it can never work: \"the witness is wrong\")",
            "the witness is wrong",
            "`proofyard retry 1`",
        ],
    );
    now(driver.yard.retry(&RetrySelection::Height { chain: named("demo"), height: 1 })).expect("retried");
    says(&driver, 1, Case::Working, &["3 waiting for a worker"]);
}

#[test]
fn a_lost_worker_is_told() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=1);
    driver.claim("w1").expect("a task");
    driver.pass(LEASE_MS);
    driver.sweep();
    says(&driver, 1, Case::Working, &["its worker was lost", "1 lost worker"]);
}

#[test]
fn paused() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=1);
    let running = driver.claim("w1").expect("a task");
    now(driver.yard.pause(&named("demo"))).expect("paused");
    driver.blocks(2..=2);
    says(&driver, 1, Case::Working, &["1 running"]);
    driver.perform(&running, good(&running));
    says(&driver, 1, Case::Paused, &["the chain is paused", "`proofyard resume`"]);
    says(&driver, 2, Case::Paused, &["it was not opened before", "`proofyard resume`"]);
}

#[test]
fn halted_by_a_disagreement() {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    driver.block(21_000_000);
    for values in ["01", "02"] {
        let task = driver.claim("w1").expect("a member");
        driver.perform(&task, Does::Proves(values));
    }
    says(
        &driver,
        21_000_000,
        Case::Halted,
        &[
            "the chain is halted, the provers of stage agree disagree at height 21000000",
            "`proofyard resume`",
        ],
    );
}

#[test]
fn a_quorum_says_who_is_in_and_who_is_missing() {
    let mut driver = Driver::new(REALTIME);
    driver.worker("w1", "gpu");
    driver.block(21_000_000);
    says(&driver, 21_000_000, Case::Working, &["stage agree needs 2 of 3 to agree and has none; 3 to come"]);
    let first = driver.claim("w1").expect("a member");
    driver.perform(&first, Does::Proves("0a0b"));
    let member = first.task.id().stage.clone();
    says(
        &driver,
        21_000_000,
        Case::Working,
        &[
            &format!("has 1 ({member}); 2 to come"),
            "stage agree: 1 of 3 in, and 2 must agree",
            &format!("{member}: in, with public values 0a0b"),
            ": missing",
            "given up in",
        ],
    );
    // One member that parks does not hold the block up while the other two can still agree.
    for _ in 0..2 {
        driver.pass(1);
        let second = driver.claim("w1").expect("a member");
        driver.perform(&second, Does::Fails(FailureKind::Transient, "busy"));
    }
    says(&driver, 21_000_000, Case::Working, &["2 to come"]);
}

#[test]
fn a_missed_block() {
    let driver = Driver::new(REALTIME);
    driver.block(21_000_000);
    driver.pass(15_000);
    driver.sweep();
    says(
        &driver,
        21_000_000,
        Case::Missed,
        &["was missed", "it had 12 s from when it was on the chain and that took work, which ended 3 s ago"],
    );
}

#[test]
fn inputs_that_do_not_fit_block_a_stage() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=1);
    let mut segment = 0;
    while let Some(task) = driver.claim("w1") {
        segment += 1;
        driver.perform(&task, Does::ProvesOf(if segment == 1 { "v1" } else { "v2" }));
    }
    says(
        &driver,
        1,
        Case::Blocked,
        &["stage join cannot start: its inputs differ in `program`", "v1", "v2", "`proofyard redo 1`"],
    );
}

#[test]
fn parked_under_a_pipeline_that_was_edited_since() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.blocks(1..=2);
    fail_at(&mut driver, ["w1", "w2"], "join", 1);
    let ways = |driver: &Driver| explain(driver, 1).what_would_move_it.join("\n");
    assert!(!ways(&driver).contains("redo"), "{}", ways(&driver));
    let mended = format!("# mended\n{DEMO}");
    now(driver.yard.record_pipeline(&mended)).expect("the same pipeline in other words");
    assert!(
        ways(&driver).contains("`proofyard redo 1`, if it was mended in the pipeline file"),
        "{}",
        ways(&driver)
    );
}

#[test]
fn proved_and_waiting_for_a_lower_one() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.blocks(1..=2);
    fail_at(&mut driver, ["w1", "w2"], "join", 1);
    says(
        &driver,
        2,
        Case::BehindFrontier,
        &[
            "it is proved, and the frontier is at height 1",
            "Block 1 of chain demo is not committed: 1 task of stage join is parked",
            "`proofyard retry 1`",
        ],
    );
}

#[test]
fn committed() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=2);
    driver.work("w1", good);
    driver.pass(180_000);
    says(
        &driver,
        2,
        Case::Committed,
        &[
            "Block 2 of chain demo was committed 3 min ago.",
            "by the proof 5a5a5a5a5a5a5a5a… of stage join: 1000 bytes, made by miden-join on w1 in attempt 1",
            "entry 1 of the log of commits",
        ],
    );
    assert_eq!(explain(&driver, 2).what_would_move_it, Vec::<String>::new());
}

#[test]
fn committed_with_work_after_it() {
    let mut driver = Driver::new(AFTER);
    driver.worker("w1", "cpu");
    driver.blocks(1..=1);
    driver.work("w1", good);
    says(&driver, 1, Case::Committed, &["was committed"]);
}

#[test]
fn a_reorg_that_is_being_written() {
    let driver = Driver::new(DEMO);
    driver.blocks(1..=3);
    driver.send(&block(3, "b", "a"));
    now(driver.yard.record_reorg(&named("demo"), 3, &"b3".into())).expect("a reorg");
    says(&driver, 3, Case::Reorg, &["a reorg from height 3 is being written"]);
    says(&driver, 2, Case::Working, &[]);
    driver.settle();
    says(&driver, 3, Case::Working, &[]);
}

#[test]
fn it_can_be_read_by_programs() {
    let driver = Driver::new(DEMO);
    driver.blocks(1..=1);
    let json = serde_json::to_value(explain(&driver, 1)).expect("JSON");
    assert_eq!(json["case"], "working");
    assert_eq!(json["height"], 1);
    assert!(json["what_would_move_it"].is_array() && json["details"][0]["text"].is_string());
}
