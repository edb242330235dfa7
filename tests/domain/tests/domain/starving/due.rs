//! The index of due times holds only what is open.

use std::collections::BTreeSet;
use std::rc::Rc;

use proofyard_core::Yard;
use proofyard_core::record::FailureKind;
use proofyard_core::sinks::Trouble;
use proofyard_core::state::{Task, TaskId};
use proofyard_core::transaction::read;

use super::{driver, due, forget_wakes, pipeline, prove, scope, segments, stage, sweep_for};
use crate::common::driver::{Does, Driver, block, good};
use crate::common::intercepted_port::{Call, InterceptedPort};
use crate::common::{named, now};

const DAY_MS: u64 = 86_400_000;

fn task(driver: &Driver, scope: &str, name: &str) -> Task {
    now(read::<Task>(&driver.yard.port, &TaskId::new(&scope.parse().unwrap(), name, 0).task_key()))
        .unwrap()
        .unwrap()
}

#[test]
fn nothing_is_due_once_all_is_settled() {
    let batch = stage("batch", "sequential", "\"join\"", "size = 4");
    let sink = "[sink.main]\nstage = \"batch\"\nfile = \"x\"\n";
    let mut driver = driver(&pipeline("window = 4\ncommit = \"join\"", &(segments() + &batch + sink)));
    for height in 10..20 {
        driver.block(height);
        driver.work("w", good);
    }
    driver.end();
    driver.work("w", good);
    while let Some(entry) = now(driver.yard.sink_next(&named("c"), "main")).unwrap() {
        now(driver.yard.sink_done("main", &entry)).unwrap();
    }
    sweep_for(&driver, 600_000, 15_000);
    assert_eq!(due(&driver), []);
}

/// It was looked at each tick for ever.
#[test]
fn a_scope_that_settles_while_it_is_looked_at_is_not_due_again() {
    let mut driver = driver(&pipeline("window = 4", &prove()));
    driver.block(10);
    let assignment = driver.claim("w").unwrap();
    driver.pass(20_000);
    let driver = Rc::new(driver);
    let others = Rc::clone(&driver);
    let settles = move || {
        others.record(&assignment, Does::Proves("0a"));
        others.settle();
    };
    let after_the_look = |call: &Call<'_>| matches!(call, Call::Reschedule(key) if key.sort == "scope");
    let yard = Yard::new(InterceptedPort::acting_before(&driver.yard.port, after_the_look, settles));
    now(yard.sweep()).unwrap();
    assert!(yard.port.has_intercepted(), "it was looked at");
    drop(yard);
    driver.settle();
    assert!(scope(&driver, "c:b:10:a10:0").is_settled());
    sweep_for(&driver, 60_000, 15_000);
    assert_eq!(due(&driver), []);
}

/// Block 11 of the branch `a` is parked; then the branch `b` comes, and `a` again.
#[test]
fn a_parked_task_of_an_orphan_is_due_only_when_its_block_returns() {
    let mut driver = driver(&pipeline("window = 4", &prove()));
    driver.block(10);
    driver.work("w", good);
    driver.block(11);
    let fails = |_: &_| Does::Fails(FailureKind::BadInput, "no such thing");
    for _ in 0..20 {
        driver.work("w", fails);
        sweep_for(&driver, 3_600_000, 1_800_000);
    }
    let parked = |driver: &Driver| now(driver.yard.parked(&named("c"))).unwrap().len();
    assert!(task(&driver, "c:b:11:a11:0", "prove").is_parked());
    assert_eq!(parked(&driver), 1);
    driver.send(&block(11, "b", "a"));
    now(driver.yard.record_reorg(&named("c"), 11, &"b11".into())).unwrap();
    driver.settle();
    driver.work("w", good);
    sweep_for(&driver, DAY_MS, 1_800_000);
    assert_eq!(due(&driver), []);
    assert_eq!(parked(&driver), 0);
    now(driver.yard.record_reorg(&named("c"), 11, &"a11".into())).unwrap();
    driver.settle();
    assert_eq!(parked(&driver), 1, "it waits for an operator again");
    sweep_for(&driver, 7_200_000, 1_800_000);
    assert_eq!(parked(&driver), 1);
}

#[test]
fn a_sink_that_is_gone_is_not_due() {
    let sink = |name: &str| format!("[sink.{name}]\nstage = \"prove\"\nfile = \"x\"\n");
    let text = |sinks: &str| pipeline("window = 4", &(prove() + sinks));
    let mut driver = driver(&text(&sink("main")));
    driver.block(10);
    driver.work("w", good);
    let entry = now(driver.yard.sink_next(&named("c"), "main")).unwrap().unwrap();
    now(driver.yard.sink_failed("main", &entry, &Trouble::saying("no connection"))).unwrap();
    let refused = now(driver.yard.record_pipeline(&text(""))).unwrap_err().to_string();
    assert!(refused.contains("`--give-up-sink main`"), "{refused}");
    now(driver.yard.change_pipeline(&text(""), &BTreeSet::from(["main".to_owned()]))).unwrap();
    driver.settle();
    sweep_for(&driver, DAY_MS, 1_800_000);
    assert_eq!(due(&driver), []);
    // It comes back, and is told what came meanwhile, but not what was given up.
    driver.block(11);
    driver.work("w", good);
    now(driver.yard.record_pipeline(&text(&sink("main")))).unwrap();
    forget_wakes(&driver);
    let next = now(driver.yard.sink_next(&named("c"), "main")).unwrap().map(|entry| entry.sequence);
    assert_eq!(next, Some(1));
}

/// A straggler's second copy is listed, its block leaves the chain, the listing is cleared, and the block returns: what the
/// first worker does is still limited in time.
#[test]
fn an_attempt_that_runs_is_ended_in_time_though_its_block_left_and_returned() {
    let limits = "time_limit_ms = 60000\nhedge_ms = 30000";
    let mut driver = driver(&pipeline("window = 4", &stage("prove", "match", "\"block\"", limits)));
    driver.worker("other", "cpu");
    driver.block(10);
    let first = driver.claim("w").unwrap();
    driver.pass(30_000);
    driver.sweep();
    assert!(task(&driver, "c:b:10:a10:0", "prove").is_listed(), "a second copy may start");
    driver.send(&block(10, "b", "a"));
    now(driver.yard.record_reorg(&named("c"), 10, &"b10".into())).unwrap();
    driver.settle();
    assert_eq!(driver.claim("other").unwrap().task.id().scope.to_string(), "c:b:10:b10:0");
    assert!(driver.claim("other").is_none());
    assert!(!task(&driver, "c:b:10:a10:0", "prove").is_listed());
    now(driver.yard.record_reorg(&named("c"), 10, &"a10".into())).unwrap();
    driver.settle();
    let found = task(&driver, "c:b:10:a10:0", "prove");
    assert_eq!(found.attempts().len(), 1);
    assert!(found.due_ms().is_some(), "{found:?}");
    // The first worker lives, and never ends.
    for _ in 0..40 {
        driver.pass(15_000);
        for worker in ["w", "other"] {
            now(driver.yard.heartbeat(&worker.into(), DAY_MS)).unwrap();
        }
        driver.sweep();
    }
    let found = task(&driver, "c:b:10:a10:0", "prove");
    assert!(found.attempts().iter().all(|attempt| attempt.claim != first.claim), "{found:?}");
}

/// The sweeper looks at a straggler while its block is off the chain, and puts its next look off to the time limit; the
/// second copy that its block wants again once it returned came only then.
#[test]
fn a_straggler_gets_its_second_copy_though_its_block_left_and_returned() {
    let limits = "time_limit_ms = 600000\nhedge_ms = 30000";
    let mut driver = driver(&pipeline("window = 4", &stage("prove", "match", "\"block\"", limits)));
    driver.block(10);
    driver.claim("w").unwrap();
    let pass = |ms| {
        driver.pass(ms);
        now(driver.yard.heartbeat(&"w".into(), DAY_MS)).unwrap();
        driver.sweep();
    };
    pass(15_000);
    driver.send(&block(10, "b", "a"));
    now(driver.yard.record_reorg(&named("c"), 10, &"b10".into())).unwrap();
    driver.settle();
    pass(30_000);
    assert!(!task(&driver, "c:b:10:a10:0", "prove").is_listed(), "its block is off the chain");
    now(driver.yard.record_reorg(&named("c"), 10, &"a10".into())).unwrap();
    driver.settle();
    pass(15_000);
    assert!(task(&driver, "c:b:10:a10:0", "prove").is_listed(), "a second copy may start");
}
