//! What ends an attempt counts by its cause, and each cause has a budget of its own.

use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::port::Port;
use proofyard_core::record::{
    FailureKind, FailureReport, LOG_LINE_BYTES, LOG_LINES, MESSAGE_BYTES, RetrySelection,
};
use proofyard_core::state::{Task, Worker};
use proofyard_core::transaction::read;
use proofyard_core::work::Assignment;

use crate::common::driver::{Does, Driver, LEASE_MS, good};
use crate::common::{named, now};

/// One task a block.
const ONE: &str = r#"
[chain]
name = "one"
start_height = 1
window = 8

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[prover.p]
command = ["p"]

[pool.cpu]
"#;

const HOUR_MS: u64 = 3_600_000;

fn driver(limits: &str, workers: &[&str]) -> Driver {
    let driver = Driver::new(&ONE.replace("pool = \"cpu\"\n", &format!("pool = \"cpu\"\n{limits}\n")));
    workers.iter().for_each(|worker| driver.worker(worker, "cpu"));
    driver
}

fn task(driver: &Driver, assignment: &Assignment) -> Task {
    let found = now(read::<Task>(&driver.yard.port, &assignment.task.id().task_key()));
    found.expect("a table").expect("the task")
}

/// Lets time pass with all workers alive.
fn pass(driver: &Driver, workers: &[&str], ms: u64) {
    for _ in 0..ms.div_ceil(LEASE_MS / 2) {
        driver.pass((LEASE_MS / 2).min(ms));
        workers.iter().for_each(|worker| {
            now(driver.yard.heartbeat(&(*worker).into(), LEASE_MS)).expect("a heartbeat");
        });
    }
    driver.sweep();
}

#[test]
fn an_outage_behind_the_prover_uses_up_no_attempts() {
    let mut driver = driver("", &["w"]);
    driver.block(1);
    let mut waits = Vec::new();
    for _ in 0..20 {
        let assignment = driver.claim("w").expect("the task");
        driver.perform(&assignment, Does::Fails(FailureKind::Unavailable, "the network is down"));
        let now_ms = driver.yard.port.now_ms();
        waits.push(task(&driver, &assignment).due_ms().expect("a due time") - now_ms);
        assert!(driver.claim("w").is_none(), "it waits");
        pass(&driver, &["w"], 60_000);
    }
    assert_eq!(waits[..7], [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]);
    assert!(waits[7..].iter().all(|wait_ms| *wait_ms == 60_000), "{waits:?}");
    let assignment = driver.claim("w").expect("the task");
    let seen = task(&driver, &assignment);
    assert_eq!((seen.delays(), seen.failures(), seen.crashes(), seen.losses()), (20, 0, 0, 0));
    assert_eq!(seen.notes().len(), 1, "an outage is told once");
    let text = now(driver.yard.explain(&named("one"), 1)).expect("an explanation").to_string();
    assert!(text.contains("20 delays of an unavailable prover"), "{text}");
    driver.perform(&assignment, good(&assignment));
    assert!(task(&driver, &assignment).is_accepted());
}

#[test]
fn what_comes_by_itself_is_waited_for_at_an_even_pace_and_uses_up_nothing_but_time() {
    const WAITS: FailureKind = FailureKind::Waits { wait_ms: 2_000 };
    let mut driver = driver("max_attempts = 1\ntime_limit_ms = 1000\ntotal_ms = 100000", &["w"]);
    driver.block(1);
    for _ in 0..20 {
        let assignment = driver.claim("w").expect("the task");
        driver.perform(&assignment, Does::Fails(WAITS, "no block has it yet"));
        let seen = task(&driver, &assignment);
        assert_eq!(seen.due_ms().expect("a due time") - driver.yard.port.now_ms(), 2_000);
        assert_eq!((seen.delays(), seen.failures(), seen.crashes(), seen.losses()), (0, 0, 0, 0));
        assert_eq!(seen.notes().len(), 1, "it is told once");
        assert!(driver.claim("w").is_none(), "it waits");
        pass(&driver, &["w"], 2_000);
    }
    // An outage after it begins with short pauses.
    let assignment = driver.claim("w").expect("the task");
    driver.perform(&assignment, Does::Fails(FailureKind::Unavailable, "the node is down"));
    let seen = task(&driver, &assignment);
    assert_eq!(seen.due_ms().expect("a due time") - driver.yard.port.now_ms(), 1_000);
    pass(&driver, &["w"], 1_000);
    for _ in 0..100 {
        let Some(assignment) = driver.claim("w") else { break };
        driver.perform(&assignment, Does::Fails(WAITS, "no block has it yet"));
        pass(&driver, &["w"], 2_000);
    }
    let seen = task(&driver, &assignment);
    let why = "its total budget of 100000 ms is spent: \"no block has it yet\"";
    assert_eq!(seen.parked(), Some(why));
}

#[test]
fn an_outage_ends_with_the_total_budget_or_after_a_day() {
    for (limits, hours, why) in [
        ("time_limit_ms = 1000\ntotal_ms = 7200000", 2, "its total budget of 7200000 ms is spent: \"down\""),
        ("", 24, "its prover was unavailable for a day: \"down\""),
    ] {
        let mut driver = driver(limits, &["w"]);
        driver.block(1);
        let mut passed_ms = 0;
        loop {
            let assignment = driver.claim("w").expect("the task");
            driver.perform(&assignment, Does::Fails(FailureKind::Unavailable, "down"));
            if task(&driver, &assignment).is_parked() {
                assert_eq!(task(&driver, &assignment).parked(), Some(why));
                break;
            }
            pass(&driver, &["w"], 60_000);
            passed_ms += 60_000;
        }
        let tolerated_ms = 10 * 60_000;
        assert!((hours * HOUR_MS).abs_diff(passed_ms) < tolerated_ms, "{passed_ms}");
    }
}

#[test]
fn a_crash_is_tried_on_another_worker_first_and_has_a_budget_of_its_own() {
    let mut driver = driver("max_crashes = 2", &["w1", "w2"]);
    driver.block(1);
    let assignment = driver.claim("w1").expect("the task");
    driver.perform(&assignment, Does::Fails(FailureKind::Crash, "it was killed by signal 11"));
    pass(&driver, &["w1", "w2"], 5_000);
    assert!(driver.claim("w1").is_none(), "another worker has the first chance");
    let again = driver.claim("w2").expect("the task");
    let seen = task(&driver, &again);
    assert_eq!((seen.crashes(), seen.failures(), seen.losses(), seen.delays()), (1, 0, 0, 0));
    driver.perform(&again, Does::Fails(FailureKind::Crash, "it was killed by signal 11"));
    let seen = task(&driver, &again);
    let why = "its prover crashed 2 times: \"it was killed by signal 11\"";
    assert_eq!((seen.is_parked(), seen.parked()), (true, Some(why)));
    now(driver.yard.retry(&RetrySelection::AllOf { chain: named("one") })).expect("a retry");
    assert_eq!(task(&driver, &again).crashes(), 0);
}

#[test]
fn a_permanent_error_parks_once_a_second_worker_confirms_it() {
    let mut driver = driver("", &["bad", "good"]);
    driver.block(1);
    let fails = || Does::Fails(FailureKind::Permanent, "not provable");
    for _ in 0..2 {
        let assignment = driver.claim("bad").expect("the task");
        driver.perform(&assignment, fails());
        assert!(task(&driver, &assignment).is_open(), "one worker's word");
        pass(&driver, &["bad", "good"], 120_000);
    }
    let assignment = driver.claim("good").expect("the task");
    driver.perform(&assignment, fails());
    let why = "two workers say that it can never work: \"not provable\"";
    assert_eq!(task(&driver, &assignment).parked(), Some(why));
}

/// On a machine of its own a worker has nobody to confirm it.
#[test]
fn the_only_worker_confirms_a_permanent_error_itself() {
    let mut driver = driver("", &[]);
    let registration = WorkerRegistration {
        worker: "w".into(),
        pool: "cpu".into(),
        slots: 64,
        alone: true,
        lease_ms: LEASE_MS,
        isolation: None,
    };
    now(driver.yard.register_worker(&registration)).expect("registering");
    driver.block(1);
    let assignment = driver.claim("w").expect("the task");
    driver.perform(&assignment, Does::Fails(FailureKind::Permanent, "not provable"));
    assert!(task(&driver, &assignment).is_open());
    assert!(driver.claim("w").is_none(), "not at once");
    pass(&driver, &["w"], 1_000);
    let assignment = driver.claim("w").expect("the task");
    driver.perform(&assignment, Does::Fails(FailureKind::Permanent, "not provable"));
    let why = "the pool's only worker says twice that it can never work: \"not provable\"";
    assert_eq!(task(&driver, &assignment).parked(), Some(why));
}

/// The other worker is busy all the while, so the bad one is offered everything.
#[test]
fn one_worker_with_a_wrong_key_parks_nothing_for_minutes() {
    let workers = ["bad", "busy"];
    let mut driver = driver("", &workers);
    driver.blocks(1..=8);
    let busy = driver.claim("busy").expect("a long task");
    let (mut failed, mut quarantines) = (0, Vec::new());
    for _ in 0..170 {
        while let Some(assignment) = driver.claim("bad") {
            driver.perform(&assignment, Does::Fails(FailureKind::Permanent, "unknown key"));
            failed += 1;
        }
        let state: Worker =
            now(read(&driver.yard.port, &Worker::key_of(&"bad".into()))).unwrap().expect("the worker");
        if let Some(until_ms) =
            state.quarantined_until_ms.filter(|until_ms| quarantines.last() != Some(until_ms))
        {
            quarantines.push(until_ms);
        }
        driver.pass(1_000);
        workers.iter().for_each(|worker| {
            _ = now(driver.yard.heartbeat(&(*worker).into(), LEASE_MS)).expect("a heartbeat")
        });
        driver.sweep();
    }
    assert!(now(driver.yard.status(&named("one"), false)).expect("a status").parked.is_empty());
    assert_eq!(failed, 5 + 1, "five, and one each time that it comes back");
    assert_eq!(quarantines.len(), 2, "for one minute, and for two");
    driver.perform(&busy, good(&busy));
    assert_eq!(driver.work("busy", good), 7);
}

/// What its other slots had begun before a worker was quarantined is no further word against it.
#[test]
fn a_quarantine_is_not_prolonged_by_what_ran_before_it() {
    let mut driver = driver("", &["w", "other"]);
    driver.blocks(1..=8);
    let all: Vec<_> = (0..8).map(|_| driver.claim("w").expect("a task")).collect();
    for assignment in &all {
        driver.perform(assignment, Does::Fails(FailureKind::Transient, "no GPU"));
    }
    let state: Worker =
        now(read(&driver.yard.port, &Worker::key_of(&"w".into()))).unwrap().expect("the worker");
    let for_ms = state.quarantined_until_ms.expect("a quarantine") - driver.yard.port.now_ms();
    assert!(for_ms <= 60_000, "{for_ms}");
    let request = ClaimRequest { worker: "w".into(), slot: 9, claim: "c".into() };
    assert!(matches!(now(driver.yard.claim(&request)), Ok(ClaimOutcome::Quarantined { .. })));
}

#[test]
fn a_damaged_input_parks_at_once_and_is_nobodys() {
    let mut driver = driver("", &["w"]);
    driver.block(1);
    let assignment = driver.claim("w").expect("the task");
    driver.perform(&assignment, Does::Fails(FailureKind::BadInput, "artifact 5a is missing"));
    let seen = task(&driver, &assignment);
    let why = "an input is missing or damaged: \"artifact 5a is missing\"";
    assert_eq!((seen.is_parked(), seen.parked()), (true, Some(why)));
    assert_eq!((seen.failures(), seen.crashes(), seen.losses(), seen.delays()), (0, 0, 0, 0));
    let state: Worker =
        now(read(&driver.yard.port, &Worker::key_of(&"w".into()))).unwrap().expect("the worker");
    assert_eq!(state.failures_in_row, 0);
}

/// An item of DynamoDB has 400 KB at most, and costs by its size.
#[test]
fn what_is_kept_of_failures_stays_small() {
    let mut driver = driver("max_attempts = 100\nbackoff_ms = 0", &["w"]);
    driver.block(1);
    for _ in 0..2 * Task::MAX_NOTES {
        let assignment = driver.claim("w").expect("the task");
        let Assignment { worker, slot, claim, task, .. } = &assignment;
        let report = FailureReport {
            worker: worker.clone(),
            slot: *slot,
            claim: claim.clone(),
            task: task.id().clone(),
            kind: FailureKind::Transient,
            message: "é\"".repeat(100_000),
            log: vec!["\"ö".repeat(10_000); 1_000],
            metered: None,
        };
        now(driver.yard.record_failure(&report)).expect("recorded");
        pass(&driver, &["w"], 2 * HOUR_MS);
    }
    let assignment = driver.claim("w").expect("the task");
    let seen = task(&driver, &assignment);
    assert_eq!(seen.notes().len(), Task::MAX_NOTES);
    for note in seen.notes() {
        assert_eq!(note.log.len(), LOG_LINES);
        assert!(note.log.iter().all(|line| line.len() <= LOG_LINE_BYTES && line.ends_with('…')));
        assert!(note.message.len() <= MESSAGE_BYTES && note.message.ends_with('…'));
    }
    let bytes = serde_json::to_vec(&seen).expect("an item").len();
    assert!(bytes < 120_000, "{bytes}");
}

/// The last attempt may fail while an earlier one, that straggles, still runs; then that one is lost.
#[test]
fn a_budget_that_was_used_up_beside_a_copy_parks_the_task_when_the_copy_ends() {
    let mut driver = driver("max_attempts = 1\nhedge_ms = 1000", &["slow", "w"]);
    driver.block(1);
    let straggler = driver.claim("slow").expect("the task");
    driver.pass(1_001);
    driver.sweep();
    let copy = driver.claim("w").expect("a copy of it");
    assert_eq!(copy.task.id(), straggler.task.id());
    driver.perform(&copy, Does::Fails(FailureKind::Transient, "out of memory"));
    assert!(task(&driver, &copy).is_open(), "the straggler may still bring its proof");
    pass(&driver, &["w"], 2 * LEASE_MS);
    let seen = task(&driver, &copy);
    let parked = seen.parked();
    assert_eq!((seen.is_parked(), parked), (true, Some("all 1 attempts failed")));
}
