use proofyard_core::record::{FailureKind, Hold};
use proofyard_core::sinks::Trouble;
use proofyard_core::status::{ChainStatus, SinkPlace, TaskState};

use super::{AFTER, DEMO, fail_at};
use crate::common::driver::{Does, Driver, block, good};
use crate::common::{named, now};

fn status(driver: &Driver) -> ChainStatus {
    now(driver.yard.status(&driver.chain, true)).expect("a status")
}

#[test]
fn an_unknown_chain_is_refused_by_name() {
    let driver = Driver::new(DEMO);
    let error = now(driver.yard.status(&named("other"), false)).expect_err("no such chain");
    assert!(error.to_string().contains("chain other is not known"), "{error}");
}

#[test]
fn chains_are_those_with_a_pipeline() {
    let driver = Driver::new(DEMO);
    now(driver.yard.record_pipeline(AFTER)).expect("a second chain");
    now(driver.yard.record_pipeline(DEMO)).expect("the first one again");
    assert_eq!(now(driver.yard.chains()).expect("chains"), ["after", "demo"]);
}

#[test]
fn before_the_first_block_there_is_no_lag() {
    let status = status(&Driver::new(DEMO));
    assert_eq!((status.tip, status.frontier, status.opened), (None, 1, 1));
    assert_eq!((status.lag_blocks, status.lag_ms, status.heights_passed), (0, 0, 0));
    assert_eq!(status.tasks, Some(vec![]));
}

#[test]
fn counts_follow_tasks_through_their_states() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=10);
    driver.pass(5_000);
    let running = driver.claim("w1").expect("a task");
    let failing = driver.claim("w1").expect("a task");
    driver.perform(&failing, Does::Fails(FailureKind::Transient, "out of memory"));
    let proved = driver.claim("w1").expect("a task");
    driver.perform(&proved, good(&proved));

    let status = status(&driver);
    assert_eq!(status.tip.as_ref().map(|tip| tip.height), Some(10));
    assert_eq!((status.frontier, status.window, status.opened), (1, 8, 9));
    assert_eq!(status.lag_blocks, 10);
    assert!(status.lag_ms >= 5_000);
    let segment = &status.stages[0];
    assert_eq!((segment.stage.as_str(), segment.pool.as_str(), segment.commits), ("segment", "cpu", false));
    let counts = segment.tasks;
    assert_eq!((counts.running, counts.backing_off, counts.accepted, counts.parked), (1, 1, 1, 0));
    assert_eq!(counts.waiting, 8 * 3 - 3);
    assert!(status.stages[1].commits);

    let rows = status.tasks.expect("rows");
    assert_eq!(rows.len(), 23);
    assert!(rows.is_sorted_by(|a, b| a.rank <= b.rank));
    let row = rows.iter().find(|row| row.state == TaskState::Running).expect("the running task");
    assert_eq!((row.worker.as_deref(), row.attempt), (Some("w1"), 1));
    assert_eq!(row.task, running.task.id().to_string());
    let row = rows.iter().find(|row| row.state == TaskState::BackingOff).expect("the failed task");
    assert_eq!(row.failures, 1);
    let note = row.note.as_ref().expect("its note");
    assert_eq!((note.message.as_str(), note.log.len()), ("out of memory", 2));
}

#[test]
fn parked_tasks_are_listed_with_their_reason() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.worker("w2", "cpu");
    driver.blocks(1..=2);
    fail_at(&mut driver, ["w1", "w2"], "join", 1);
    let status = status(&driver);
    let [parked] = status.parked.as_slice() else { panic!("{:?}", status.parked) };
    assert_eq!(
        (parked.height, parked.reason.as_str()),
        (1, "two workers say that it can never work: \"the witness is wrong\"")
    );
    assert_eq!(parked.note.as_ref().expect("a note").message, "the witness is wrong");
    assert_eq!(status.stages[1].tasks.parked, 1);
    assert_eq!(status.frontier, 1, "block 2 waits for block 1");
}

#[test]
fn committed_blocks_reach_sinks_and_leave_nothing_open() {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    driver.blocks(1..=3);
    driver.work("w1", good);
    let before = status(&driver);
    assert_eq!((before.frontier, before.heights_passed, before.lag_blocks, before.lag_ms), (4, 3, 0, 0));
    assert_eq!(before.tasks, Some(vec![]));
    let [sink] = before.sinks.as_slice() else { panic!("{:?}", before.sinks) };
    assert_eq!((sink.sink.as_str(), sink.stage.as_str(), sink.behind), ("file", "join", 3));
    let at = |next_sequence| SinkPlace::Log { log: "commits".into(), next_sequence };
    assert_eq!(sink.place, at(0));

    let entry = now(driver.yard.sink_next(&named("demo"), "file")).expect("an answer").expect("an entry");
    now(driver.yard.sink_failed("file", &entry, &Trouble::saying("disk full"))).expect("recorded");
    let sinks = status(&driver).sinks;
    assert_eq!((sinks[0].failures, sinks[0].last_error.as_deref()), (1, Some("disk full")));
    now(driver.yard.sink_done("file", &entry)).expect("recorded");
    let sinks = status(&driver).sinks;
    assert_eq!((&sinks[0].place, sinks[0].behind, sinks[0].failures), (&at(1), 2, 0));
}

#[test]
fn work_after_the_commit_is_counted_below_the_frontier() {
    let mut driver = Driver::new(AFTER);
    driver.worker("w1", "cpu");
    driver.blocks(1..=4);
    driver.work("w1", good);
    let status = status(&driver);
    assert_eq!(status.frontier, 5);
    let pair = status.stages.iter().find(|stage| stage.stage == "pair").expect("the stage");
    assert_eq!(pair.tasks.waiting, 2);
}

#[test]
fn an_operators_words_show() {
    let driver = Driver::new(DEMO);
    now(driver.yard.pause(&named("demo"))).expect("paused");
    assert!(status(&driver).paused);
    now(driver.yard.halt(&named("demo"), "a look at the node")).expect("halted");
    assert_eq!(status(&driver).halted.expect("the halt").reason, "a look at the node");
    let refused = now(driver.yard.resume(&named("demo"))).expect_err("which of them?").to_string();
    assert!(refused.contains("`proofyard resume --pause` or `proofyard resume --halt`"), "{refused}");
    let resumed = now(driver.yard.resume_from(&named("demo"), Hold::Halt, None)).expect("resumed");
    assert_eq!((resumed.halts, resumed.still_paused), (vec!["a look at the node".to_owned()], true));
    assert!(status(&driver).paused && status(&driver).halted.is_none());
    assert!(now(driver.yard.resume(&named("demo"))).expect("resumed").pause);
    assert!(!status(&driver).paused);
}

#[test]
fn more_open_work_than_is_looked_at_is_said_to_be_cut_short() {
    let driver = Driver::new(DEMO);
    for height in 1..=3 {
        driver.send(&proofyard_core::state::Block { segments: 4_096, ..block(height, "a", "a") });
    }
    let status = status(&driver);
    assert!(status.truncated);
    assert_eq!(status.tasks.expect("rows").len(), 10_000);
    assert_eq!(status.stages[0].tasks.waiting, 10_000);
}
