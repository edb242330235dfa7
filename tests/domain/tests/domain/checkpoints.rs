//! What a prover has kept while it works, and the task's next attempt is given.

use proofyard_core::heartbeat::ObsoleteReason;
use proofyard_core::record::{CheckpointOutcome, FailureKind, MAX_CHECKPOINT_BYTES, RetrySelection};
use proofyard_core::state::{Task, TaskId};
use proofyard_core::transaction::read;
use proofyard_core::work::Assignment;

use crate::common::driver::{Does, Driver};
use crate::common::now;

/// A block is one task.
const ONE: &str = r#"
[chain]
name = "one"
start_height = 1
window = 8

[stage.whole]
strategy = "match"
from = "block"
prover = "toy"
pool = "cpu"
max_attempts = 9
backoff_ms = 1
hedge_ms = 1000

[prover.toy]
command = ["toy"]

[pool.cpu]
slots = 2
"#;

const FAILED: FailureKind = FailureKind::Transient;

fn driver() -> Driver {
    let driver = Driver::new(ONE);
    ["v", "w"].iter().for_each(|worker| driver.worker(worker, "cpu"));
    driver.block(1);
    driver
}

fn keep(driver: &Driver, attempt: &Assignment, text: &str) -> CheckpointOutcome {
    let kept = driver.yard.record_checkpoint(attempt.task.id(), &attempt.claim, text);
    now(kept).expect("a checkpoint that is not too long")
}

fn task(driver: &Driver, id: &TaskId) -> Task {
    now(read(&driver.yard.port, &id.task_key())).expect("a table").expect("the task")
}

fn next(driver: &mut Driver, worker: &str) -> Assignment {
    driver.pass(120_000);
    driver.sweep();
    driver.claim(worker).expect("the task again")
}

#[test]
fn however_an_attempt_ends_the_next_one_is_given_what_was_kept_last() {
    let mut driver = driver();
    let first = driver.claim("w").expect("a task");
    assert_eq!(first.task.checkpoint(), None);
    assert_eq!(keep(&driver, &first, "job 1"), CheckpointOutcome::Kept);
    assert_eq!(keep(&driver, &first, "job 2"), CheckpointOutcome::Kept);
    driver.perform(&first, Does::Fails(FAILED, "no"));
    let failed = next(&mut driver, "v");
    assert_eq!(failed.task.checkpoint(), Some("job 2"));
    driver.perform(&failed, Does::Fails(FailureKind::Crash, "killed"));
    let crashed = next(&mut driver, "w");
    assert_eq!(crashed.task.checkpoint(), Some("job 2"));
    assert_eq!(keep(&driver, &crashed, "job 3"), CheckpointOutcome::Kept);
    now(driver.yard.expire_worker(&"w".into(), true)).expect("expiring");
    let lost = next(&mut driver, "v");
    assert_eq!((lost.task.losses(), lost.task.checkpoint()), (1, Some("job 3")));
    now(driver.yard.record_release(&lost.worker, lost.slot, &lost.claim, lost.task.id())).expect("releasing");
    assert_eq!(next(&mut driver, "v").task.checkpoint(), Some("job 3"));
}

#[test]
fn an_attempt_that_is_over_has_nothing_kept_and_learns_why() {
    let mut driver = driver();
    let lost = driver.claim("w").expect("a task");
    now(driver.yard.expire_worker(&"w".into(), true)).expect("expiring");
    let second = next(&mut driver, "v");
    assert_eq!(keep(&driver, &second, "the second's"), CheckpointOutcome::Kept);
    let outcome = keep(&driver, &lost, "the lost one's");
    assert_eq!(outcome, CheckpointOutcome::Obsolete(ObsoleteReason::Lost));
    assert_eq!(task(&driver, lost.task.id()).checkpoint(), Some("the second's"));
    driver.perform(&second, Does::Proves("0a"));
    let accepted = task(&driver, lost.task.id());
    assert!(accepted.is_accepted() && accepted.checkpoint().is_none(), "{accepted:?}");
    let outcome = keep(&driver, &lost, "the lost one's");
    assert_eq!(outcome, CheckpointOutcome::Obsolete(ObsoleteReason::Unwanted));
    assert_eq!(task(&driver, lost.task.id()), accepted);
}

#[test]
fn a_second_copy_is_given_what_the_first_has_kept_and_the_later_of_both_counts() {
    let mut driver = driver();
    let first = driver.claim("w").expect("a task");
    keep(&driver, &first, "the first's");
    driver.pass(2_000);
    now(driver.yard.heartbeat(&"w".into(), 600_000)).expect("a heartbeat");
    driver.sweep();
    driver.pass(2_000);
    driver.sweep();
    let copy = driver.claim("v").expect("a second copy");
    assert_eq!(copy.task.checkpoint(), Some("the first's"));
    keep(&driver, &copy, "the copy's");
    keep(&driver, &first, "the first's again");
    assert_eq!(task(&driver, first.task.id()).checkpoint(), Some("the first's again"));
}

#[test]
fn a_retry_resumes_too() {
    let mut driver = Driver::new(&ONE.replace("max_attempts = 9", "max_attempts = 1"));
    driver.worker("w", "cpu");
    driver.block(1);
    let first = driver.claim("w").expect("a task");
    keep(&driver, &first, "job 1");
    driver.perform(&first, Does::Fails(FAILED, "no"));
    assert!(task(&driver, first.task.id()).is_parked());
    now(driver.yard.retry(&RetrySelection::One(first.task.id().clone()))).expect("a retry");
    assert_eq!(driver.claim("w").expect("the task").task.checkpoint(), Some("job 1"));
}

#[test]
fn a_checkpoint_that_is_too_long_is_refused() {
    let mut driver = driver();
    let first = driver.claim("w").expect("a task");
    keep(&driver, &first, &"x".repeat(MAX_CHECKPOINT_BYTES));
    let long = "y".repeat(MAX_CHECKPOINT_BYTES + 1);
    let refused = now(driver.yard.record_checkpoint(first.task.id(), &first.claim, &long));
    assert!(refused.is_err_and(|error| error.to_string().contains("4097 bytes")));
    assert!(task(&driver, first.task.id()).checkpoint().is_some_and(|kept| kept.starts_with('x')));
}

#[test]
fn status_and_explain_say_that_a_task_resumes() {
    let mut driver = driver();
    let first = driver.claim("w").expect("a task");
    keep(&driver, &first, "job-1 of the cluster");
    let status = now(driver.yard.status(&driver.chain, true)).expect("a status");
    let rows = serde_json::to_value(&status).expect("JSON").to_string();
    assert!(rows.contains(r#""checkpoint":"job-1 of the cluster""#), "{rows}");
    let explanation = now(driver.yard.explain(&driver.chain, 1)).expect("an explanation");
    let text = serde_json::to_string(&explanation).expect("JSON");
    assert!(text.contains(r#"the next attempt resumes from \"job-1 of the cluster\""#), "{text}");
}
