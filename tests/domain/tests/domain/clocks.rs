//! Workers whose hosts' clocks are off: no judgement rests on a comparison of two clocks.

use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::Error;
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::port::Port;
use proofyard_core::record::{FailureKind, FailureReport};
use proofyard_core::state::{ScopeId, Task, TaskId, Worker};
use proofyard_core::transaction::read;
use proofyard_core::{Wake as Step, Yard};

use crate::common::driver::Driver;
use crate::common::intercepted_port::InterceptedPort;
use crate::common::{named, now};
use crate::starving::{pipeline, prove, stage};

const HOUR_MS: i64 = 3_600_000;
const LEASE_MS: u64 = 30_000;
const TICK_MS: u64 = 15_000;

/// A worker of one slot on a host of its own.
struct Remote {
    yard: Yard<InterceptedPort>,
    id: &'static str,
}

impl Remote {
    fn start(driver: &Driver, id: &'static str, off_ms: i64) -> Self {
        let yard = Yard::new(InterceptedPort::with_clock_skew(&driver.yard.port, off_ms));
        let registration = WorkerRegistration {
            worker: id.into(),
            pool: "cpu".into(),
            slots: 1,
            alone: false,
            lease_ms: LEASE_MS,
            isolation: None,
        };
        now(yard.register_worker(&registration)).expect("registering");
        Self { yard, id }
    }

    fn claim(&self) -> Option<Task> {
        let claim = format!("{}-{}", self.id, self.yard.port.memory.now_ms());
        match now(self.yard.claim(&ClaimRequest { worker: self.id.into(), slot: 0, claim })) {
            Ok(ClaimOutcome::Claimed(task)) => Some(*task),
            _ => None,
        }
    }

    fn is_alive(&self) -> bool {
        now(self.yard.heartbeat(&self.id.into(), LEASE_MS)).is_ok()
    }

    fn fails(&self, task: &Task, kind: FailureKind) {
        let attempt =
            task.attempts().iter().find(|attempt| attempt.worker.as_str() == self.id).expect("its attempt");
        let report = FailureReport {
            worker: self.id.into(),
            slot: 0,
            claim: attempt.claim.clone(),
            task: task.id().clone(),
            kind,
            message: "no".into(),
            log: Vec::new(),
            metered: None,
        };
        now(self.yard.record_failure(&report)).expect("recorded");
    }
}

fn one_block(more: &str) -> Driver {
    let driver = Driver::new(&pipeline("window = 4", &stage("prove", "match", "\"block\"", more)));
    driver.block(10);
    driver
}

fn task(driver: &Driver) -> Task {
    let id = TaskId::new(&ScopeId::of_block(&named("c"), 10, &"a10".into(), 0), "prove", 0);
    now(read::<Task>(&driver.yard.port, &id.task_key())).expect("read").expect("the task")
}

fn is_dead(driver: &Driver, worker: &str) -> bool {
    let worker = now(read::<Worker>(&driver.yard.port, &Worker::key_of(&worker.into()))).expect("read");
    worker.is_none_or(|worker| worker.dead)
}

/// A worker 31 s behind was expired at once, again and again, until its task parked over lost workers, in 3 s.
#[test]
fn a_worker_lives_as_long_as_it_heartbeats_whatever_its_clock_says() {
    for off_ms in [-31_000, -3 * HOUR_MS, 31_000, 3 * HOUR_MS] {
        let driver = one_block("time_limit_ms = 86400000");
        let worker = Remote::start(&driver, "w", off_ms);
        let claimed = worker.claim().expect("the task");
        for _ in 0..60 {
            driver.pass(LEASE_MS / 3);
            driver.sweep();
            assert!(worker.is_alive(), "off by {off_ms} ms");
        }
        let task = task(&driver);
        assert_eq!((task.losses(), task.attempts()), (0, claimed.attempts()), "off by {off_ms} ms");
    }
}

/// The death of a worker three hours ahead was seen after three hours.
#[test]
fn a_worker_that_dies_is_expired_after_a_lease_whatever_its_clock_said() {
    for off_ms in [-3 * HOUR_MS, -31_000, 0, 31_000, 3 * HOUR_MS] {
        let driver = one_block("");
        let worker = Remote::start(&driver, "w", off_ms);
        worker.claim().expect("the task");
        driver.sweep();
        let mut passed_ms = 0;
        while !is_dead(&driver, "w") {
            passed_ms += 1_000;
            driver.pass(1_000);
            driver.sweep();
            assert!(passed_ms <= LEASE_MS + 1_000, "off by {off_ms} ms");
        }
        assert!(passed_ms >= LEASE_MS, "off by {off_ms} ms: expired after {passed_ms} ms");
        assert!(task(&driver).is_listed(), "it is for another worker now");
    }
}

/// The sweeper took the time that a claim was made at for its own, and ended the attempt at once.
#[test]
fn an_attempt_overruns_and_straggles_by_elapsed_time_alone() {
    for off_ms in [-3 * HOUR_MS, 0] {
        let driver = one_block("time_limit_ms = 600000\nhedge_ms = 60000");
        let worker = Remote::start(&driver, "w", off_ms);
        driver.sweep();
        worker.claim().expect("the task");
        let mut hedged_ms = None;
        for passed in 1..=20 {
            driver.pass(5_000);
            assert!(worker.is_alive());
            driver.sweep();
            if task(&driver).is_listed() && hedged_ms.is_none() {
                hedged_ms = Some(passed * 5_000);
            }
        }
        let hedged_ms = hedged_ms.expect("a second copy is listed");
        assert!((60_000..=60_000 + 10_000).contains(&hedged_ms), "off by {off_ms} ms: after {hedged_ms} ms");
        assert_eq!((task(&driver).losses(), task(&driver).attempts().len()), (0, 1));
    }
}

/// After a failure told by a worker three hours ahead its task waited for three hours.
#[test]
fn a_pause_after_a_failure_is_as_long_as_it_says() {
    for off_ms in [-3 * HOUR_MS, 0, 3 * HOUR_MS] {
        let driver = one_block("backoff_ms = 40000\nmax_attempts = 9");
        let worker = Remote::start(&driver, "w", off_ms);
        driver.sweep();
        let claimed = worker.claim().expect("the task");
        worker.fails(&claimed, FailureKind::Transient);
        let mut passed_ms = 0;
        while !task(&driver).is_listed() {
            passed_ms += 5_000;
            driver.pass(5_000);
            assert!(worker.is_alive());
            driver.sweep();
            assert!(passed_ms <= 40_000 + TICK_MS, "off by {off_ms} ms");
        }
        assert!(passed_ms >= 40_000, "off by {off_ms} ms: listed after {passed_ms} ms");
    }
}

/// A task that one worker had claimed and another, three hours ahead, failed had spent its budget of time at once.
#[test]
fn a_budget_of_time_adds_up_what_each_host_measured() {
    let driver = one_block("time_limit_ms = 60000\ntotal_ms = 600000\nbackoff_ms = 1000\nmax_attempts = 99");
    let workers = [Remote::start(&driver, "w1", 0), Remote::start(&driver, "w2", 3 * HOUR_MS)];
    let mut parked_ms = 0;
    let mut turn = 0;
    while task(&driver).parked().is_none() {
        for worker in &workers {
            assert!(worker.is_alive());
        }
        driver.sweep();
        if let Some(claimed) = workers[turn % 2].claim() {
            turn += 1;
            driver.pass(20_000);
            parked_ms += 20_000;
            workers.iter().for_each(|worker| assert!(worker.is_alive()));
            let worker = workers.iter().find(|worker| worker.id == claimed.attempts()[0].worker.as_str());
            worker.expect("who claimed it").fails(&claimed, FailureKind::Unavailable);
        }
        driver.pass(5_000);
        parked_ms += 5_000;
        assert!(parked_ms < 2_000_000, "it never parks");
        if task(&driver).avoid().is_some() {
            turn += 1;
        }
    }
    assert!(parked_ms >= 600_000, "parked after {parked_ms} ms: {:?}", task(&driver).parked());
}

/// Real-time workers take their blocks' next steps; one three hours ahead gave the frontier's block up.
#[test]
fn a_worker_whose_clock_is_ahead_gives_no_block_up() {
    let driver = Driver::new(&pipeline("window = 4\nlate = \"miss\"\ndeadline_ms = 60000", &prove()));
    driver.block(10);
    let ahead = Remote::start(&driver, "w", 3 * HOUR_MS);
    now(ahead.yard.advance(&Step::Chain { chain: named("c") })).expect("advancing");
    assert_eq!(now(driver.yard.frontier(&named("c"))).expect("a frontier").height, 10);
    driver.pass(60_000);
    driver.sweep();
    assert_eq!(now(driver.yard.frontier(&named("c"))).expect("a frontier").height, 11);
}

/// It never hears of its death by an error that says something else.
#[test]
fn a_dead_worker_is_told_so() {
    let driver = one_block("");
    let worker = Remote::start(&driver, "w", 0);
    for _ in 0..3 {
        driver.pass(LEASE_MS);
        driver.sweep();
    }
    assert!(matches!(now(worker.yard.heartbeat(&"w".into(), LEASE_MS)), Err(Error::WorkerDead { .. })));
}
