//! Workers of a small home in memory, with real provers: what they leave behind, and when they end by themselves. And the
//! folder of artifacts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod artifacts;
mod checkpoints;
mod energy;
mod home;
mod port;

use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::state::{KeyFamily, Task};
use proofyard_worker::{PoolWorker, WorkerPlan};

use self::home::{PATIENCE, TestHome};

/// Measurably more than nothing, also on a busy machine, and much less than `PATIENCE`.
const SHORT: Duration = Duration::from_millis(1_500);

/// Runs a worker as its process does, until it ends by itself; answers how long that took.
fn run(home: &TestHome, worker: &PoolWorker, meanwhile: impl FnOnce()) -> Duration {
    let started = Instant::now();
    worker.register(home).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| worker.keep_lease(home));
        let slots: Vec<_> =
            (0..worker.slots()).map(|slot| scope.spawn(move || worker.run_slot(home, slot))).collect();
        meanwhile();
        slots.into_iter().for_each(|slot| slot.join().unwrap());
        home.stop();
    });
    worker.unregister(home).unwrap();
    assert!(!home.has_worker(&worker.id()));
    assert_eq!(home.events("unregistered"), home.events("registers"));
    started.elapsed()
}

fn accepted(tasks: &[Task]) -> usize {
    tasks.iter().filter(|task| task.is_accepted()).count()
}

fn is_as_never_claimed(task: &Task) -> bool {
    let counts = (task.attempts().len(), task.failures(), task.losses());
    task.is_listed() && counts == (0, 0, 0)
}

#[test]
fn a_worker_claims_as_many_tasks_as_it_may_and_ends() {
    let home = TestHome::new(&[], 5);
    let worker = PoolWorker::new(WorkerPlan { max_tasks: Some(3), ..home.plan(2) });
    run(&home, &worker, || {
        let registered = home.worker(&worker.id());
        assert!(registered.id.as_str().starts_with("job-7-cpu-") && !registered.alone, "{registered:?}");
    });
    let tasks = home.tasks();
    assert_eq!(accepted(&tasks), 3);
    assert_eq!(home.events("recorded").len(), 3);
    assert_eq!(tasks.iter().filter(|task| task.started() == 0 && is_as_never_claimed(task)).count(), 2);
}

#[test]
fn a_task_is_proved_from_when_its_inputs_are_there() {
    let home = TestHome::new(&[], 1);
    let worker = PoolWorker::new(WorkerPlan { max_tasks: Some(1), ..home.plan(1) });
    run(&home, &worker, || {});
    let [task] = &home.tasks()[..] else { panic!("one task") };
    let result = task.clone().into_accepted().expect("a result");
    assert!(result.started_ms >= Some(home.store().fetched_ms()), "{result:?}");
}

#[test]
fn a_task_whose_claim_met_an_error_is_released_and_does_not_count_as_claimed() {
    let home = TestHome::new(&[], 1);
    home.port().fail_once(KeyFamily::Group);
    let worker = PoolWorker::new(WorkerPlan { max_tasks: Some(1), ..home.plan(1) });
    run(&home, &worker, || {});
    let [task] = &home.tasks()[..] else { panic!("one task") };
    assert_eq!((task.is_accepted(), task.started(), task.failures()), (true, 2, 0));
    let complaints = home.events("slot 0 of pool cpu");
    assert!(matches!(&complaints[..], [said] if said.contains("a test's fault")), "{complaints:?}");
}

#[test]
fn a_worker_that_is_idle_for_long_enough_ends() {
    let home = TestHome::new(&[], 3);
    let worker = PoolWorker::new(WorkerPlan { idle_out: Some(SHORT), ..home.plan(2) });
    let took = run(&home, &worker, || {
        home.wait_for("all tasks", |tasks| accepted(tasks) == 3);
        // Within the time: work that comes late is done, and the time begins again.
        home.block(4);
    });
    assert_eq!(accepted(&home.tasks()), 4);
    assert!((SHORT..PATIENCE).contains(&took), "{took:?}");
}

#[test]
fn a_slot_at_work_keeps_its_worker_from_being_idle() {
    let home = TestHome::new(&["--work-ms", "5000"], 1);
    let worker = PoolWorker::new(WorkerPlan { idle_out: Some(SHORT), ..home.plan(2) });
    run(&home, &worker, || {
        home.wait_for("a running task", |tasks| tasks[0].started() == 1);
        thread::sleep(SHORT * 3 / 2);
        home.block(2);
        home.wait_for("the idle slot's task", |tasks| tasks.len() == 2 && tasks[1].started() == 1);
        assert_eq!(accepted(&home.tasks()), 0, "both slots work");
    });
    assert_eq!(accepted(&home.tasks()), 2);
}

#[test]
fn a_draining_worker_ends_what_it_can_and_releases_the_rest_in_time() {
    let home = TestHome::new(&["--work-ms", "200", "--hang", "--only", "hash2"], 3);
    let worker = PoolWorker::new(home.plan(2));
    let given = Duration::from_secs(4);
    let took = run(&home, &worker, || {
        home.wait_for("two running tasks", |tasks| {
            tasks.iter().filter(|task| task.started() > 0).count() == 2
        });
        worker.drain(&home, Instant::now() + given);
    });
    let tasks = home.tasks();
    assert!(tasks[0].is_accepted());
    assert!(is_as_never_claimed(&tasks[1]) && tasks[1].started() == 1, "{:?}", tasks[1]);
    assert!(is_as_never_claimed(&tasks[2]) && tasks[2].started() == 0, "{:?}", tasks[2]);
    assert!((given..PATIENCE).contains(&took), "{took:?}");
}

#[test]
fn an_idle_worker_that_drains_ends_at_once() {
    let home = TestHome::new(&[], 0);
    let worker = PoolWorker::new(home.plan(2));
    let took = run(&home, &worker, || {
        thread::sleep(Duration::from_millis(50));
        worker.drain(&home, Instant::now() + PATIENCE);
    });
    assert!(took < PATIENCE, "{took:?}");
}

#[test]
fn a_home_that_stops_has_its_workers_attempts_released() {
    let home = TestHome::new(&["--hang"], 1);
    let worker = PoolWorker::new(home.plan(1));
    run(&home, &worker, || {
        home.wait_for("a running task", |tasks| tasks[0].started() == 1);
        home.stop();
    });
    assert!(is_as_never_claimed(&home.tasks()[0]), "{:?}", home.tasks());
}

#[test]
fn a_transient_error_of_a_remote_artifact_is_waited_out_and_a_lasting_one_is_a_failure() {
    let home = TestHome::new(&[], 1);
    home.store().fail_once(true);
    run(&home, &PoolWorker::new(WorkerPlan { max_tasks: Some(2), ..home.plan(1) }), || {});
    let [task] = &home.tasks()[..] else { panic!("one task") };
    assert_eq!((task.is_accepted(), task.started(), task.failures()), (true, 2, 0));
    let complaints = home.events("slot 0 of pool cpu");
    assert!(matches!(&complaints[..], [said] if said.ends_with("cannot be fetched: a test's fault")));

    let home = TestHome::new(&[], 1);
    home.store().fail_once(false);
    run(&home, &PoolWorker::new(WorkerPlan { max_tasks: Some(1), ..home.plan(1) }), || {});
    let [task] = &home.tasks()[..] else { panic!("one task") };
    assert_eq!((task.is_open(), task.failures()), (true, 1));
    assert!(task.notes()[0].message.ends_with("cannot be fetched: a test's fault"), "{task:?}");
}
