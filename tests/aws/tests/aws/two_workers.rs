//! Two workers with one task: a lease ran out, and its worker lives.

use proofyard_aws_tests::named;
use proofyard_aws_tests::toy::{ToyYard, Worker};
use proofyard_aws_tests::wait_for;
use proofyard_core::state::TaskId;
use rustix::process::Signal;

/// A worker whose process stands still (its prover goes on) until its lease has run out, and another one that has its
/// task meanwhile.
fn both(yard: &ToyYard, task: &TaskId) -> [Worker; 2] {
    let first = yard.worker("first", |_| {});
    wait_for("the first prover", || (yard.asked_to_prove(task) == 1).then_some(()));
    first.signal(Signal::STOP);
    wait_for("the end of its lease", || {
        yard.sweep();
        yard.task(task).is_listed().then_some(())
    });
    let second = yard.worker("second", |_| {});
    wait_for("the second claim", || (yard.task(task).attempts().len() == 1).then_some(()));
    [first, second]
}

fn assert_once(yard: &ToyYard, task: &TaskId, workers: &mut [Worker; 2]) {
    for worker in workers {
        worker.signal(Signal::TERM);
        assert!(worker.ended().success(), "{}", worker.log());
        assert!(!worker.log().contains("panic"), "{}", worker.log());
    }
    let done = yard.task(task);
    assert_eq!((done.is_accepted(), done.started(), done.failures()), (true, 2, 0));
    // The lease that ran out, and nothing else.
    assert_eq!((done.losses(), done.notes().len(), done.attempts().len()), (1, 1, 0), "{:?}", done.notes());
    assert_eq!(yard.asked_to_prove(task), 2);
    assert_eq!(yard.committed(), [1]);
    let log = yard.runtime.block_on(yard.driver.home.yard.out_log(&named("c"), 0)).unwrap();
    assert_eq!(log.len(), 1);
}

#[test]
fn a_late_result_is_told_that_there_is_one() {
    let yard = ToyYard::new(&["--work-ms", "1000"], "", "lease_ms = 1500");
    let task = yard.block(1);
    let mut workers = both(&yard, &task);
    wait_for("a result", || yard.task(&task).is_accepted().then_some(()));
    let accepted = yard.task(&task).into_accepted();
    workers[0].signal(Signal::CONT);
    wait_for("the late result", || workers[0].log().contains("AlreadyAccepted").then_some(()));
    assert_once(&yard, &task, &mut workers);
    assert_eq!(yard.task(&task).into_accepted(), accepted);
    assert_eq!(accepted.unwrap().attempt, 2);
}

#[test]
fn a_result_from_beyond_its_lease_counts_and_the_other_worker_is_freed() {
    let yard = ToyYard::new(&["--work-ms", "6000"], "", "lease_ms = 1500");
    let task = yard.block(1);
    let mut workers = both(&yard, &task);
    workers[0].signal(Signal::CONT);
    wait_for("a result", || yard.task(&task).is_accepted().then_some(()));
    assert_once(&yard, &task, &mut workers);
    assert_eq!(yard.task(&task).accepted().unwrap().attempt, 1);
}
