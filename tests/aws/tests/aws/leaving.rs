//! A worker that must go: the machine is taken back, or its job is stopped.

use std::process::Command;

use proofyard_aws_tests::metadata::Metadata;
use proofyard_aws_tests::toy::{ToyYard, Worker};
use proofyard_aws_tests::wait_for;
use proofyard_core::state::TaskId;
use rustix::process::Signal;

const A_MOMENT: &str = "100";
const LONG_ENOUGH: &str = "60000";

/// Two blocks, and a worker of one slot that has the first one's task.
fn at_work(yard: &ToyYard, change: impl FnOnce(&mut Command)) -> (Worker, [TaskId; 2]) {
    let tasks = [1, 2].map(|height| yard.block(height));
    let worker = yard.worker("worker", change);
    wait_for("the first claim", || (yard.task(&tasks[0]).attempts().len() == 1).then_some(()));
    (worker, tasks)
}

/// As AWS Batch starts it, on a machine with this metadata service.
fn as_a_job<'a>(metadata: &'a Metadata, grace_ms: &'a str) -> impl FnOnce(&mut Command) + 'a {
    move |command| {
        command.env("AWS_BATCH_JOB_ID", "job").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint);
        command.args(["--spot-grace-ms", grace_ms, "--term-grace-ms", LONG_ENOUGH]);
    }
}

/// Nothing is counted against anybody, others may take it at once, and no more was claimed.
fn assert_released(yard: &ToyYard, worker: &mut Worker, tasks: &[TaskId; 2]) {
    assert!(worker.ended().success(), "{}", worker.log());
    let first = yard.task(&tasks[0]);
    assert_eq!((first.is_open(), first.is_listed(), first.started()), (true, true, 1));
    assert_eq!((first.failures(), first.losses(), first.attempts().len(), first.notes().len()), (0, 0, 0, 0));
    assert_eq!(yard.task(&tasks[1]).started(), 0, "{}", worker.log());
}

fn assert_recorded(yard: &ToyYard, worker: &mut Worker, tasks: &[TaskId; 2]) {
    assert!(worker.ended().success(), "{}", worker.log());
    let first = yard.task(&tasks[0]);
    assert_eq!((first.is_accepted(), first.started()), (true, 1), "{}", worker.log());
    assert_eq!(yard.task(&tasks[1]).started(), 0, "{}", worker.log());
    assert_eq!(yard.committed(), [1]);
}

#[test]
fn after_a_spot_notice_a_proof_that_takes_too_long_is_released() {
    let (yard, metadata) = (ToyYard::new(&["--hang"], "", ""), Metadata::start());
    let (mut worker, tasks) = at_work(&yard, as_a_job(&metadata, A_MOMENT));
    wait_for("a look for a notice", || (metadata.quiet_looks() > 0).then_some(()));
    assert_eq!(yard.task(&tasks[0]).attempts().len(), 1);
    metadata.give_notice();
    assert_released(&yard, &mut worker, &tasks);
    assert!(worker.log().contains("this machine is taken back"), "{}", worker.log());
}

#[test]
fn after_a_spot_notice_a_proof_that_is_done_in_time_counts() {
    // Longer than the worker takes to see the notice.
    let (yard, metadata) = (ToyYard::new(&["--work-ms", "9000"], "", ""), Metadata::start());
    metadata.give_notice();
    let (mut worker, tasks) = at_work(&yard, as_a_job(&metadata, LONG_ENOUGH));
    assert_recorded(&yard, &mut worker, &tasks);
    assert!(worker.log().contains("this machine is taken back"), "{}", worker.log());
}

#[test]
fn after_sigterm_a_proof_that_takes_too_long_is_released() {
    let yard = ToyYard::new(&["--hang"], "", "");
    let (mut worker, tasks) = at_work(&yard, |command| {
        command.args(["--term-grace-ms", A_MOMENT]);
    });
    worker.signal(Signal::TERM);
    assert_released(&yard, &mut worker, &tasks);
}

#[test]
fn after_sigterm_a_proof_that_is_done_in_time_counts() {
    let yard = ToyYard::new(&["--work-ms", "3000"], "", "");
    let (mut worker, tasks) = at_work(&yard, |command| {
        command.args(["--term-grace-ms", LONG_ENOUGH]);
    });
    worker.signal(Signal::TERM);
    assert_recorded(&yard, &mut worker, &tasks);
}
