//! What a prover has kept while it works: in the state before it hears so, and given to the next attempt.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::state::Task;
use proofyard_worker::{PoolWorker, WorkerPlan};
use tempfile::TempDir;

use crate::home::{PATIENCE, TestHome, now};
use crate::{accepted, is_as_never_claimed, run};

/// The toy's log.
struct Log {
    _folder: TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Log {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        Log { _folder: folder, path }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The words of each line but the task.
    fn lines(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.path).unwrap_or_default();
        let without_task = |line: &str| match line.split_once(' ') {
            Some(("cancel", _)) | None => line.to_owned(),
            Some((verb, rest)) => format!("{verb} {}", rest.split_once(' ').map_or("", |(_, rest)| rest)),
        };
        log.lines().map(without_task).collect()
    }

    fn wait_for(&self, line: &str) {
        wait_until(line, || self.lines().iter().any(|written| written == line));
    }
}

fn wait_until(what: &str, is_there: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn checkpoints(tasks: &[Task]) -> Vec<Option<&str>> {
    tasks.iter().map(Task::checkpoint).collect()
}

fn of_one_task(home: &TestHome) -> PoolWorker {
    PoolWorker::new(WorkerPlan { max_tasks: Some(1), ..home.plan(1) })
}

#[test]
fn the_next_attempt_resumes_and_nothing_is_kept_of_an_accepted_task() {
    let log = Log::new();
    let state = log.path.with_file_name("state");
    let hangs_once = ["--hang", "--times", "1", "--state", state.to_str().unwrap()];
    let toy = [&["--checkpoint", "job", "--log", log.text()], &hangs_once[..]].concat();
    let mut home = TestHome::new(&toy, 1);
    run(&home, &PoolWorker::new(home.plan(1)), || {
        home.wait_for("a checkpoint", |tasks| tasks[0].checkpoint() == Some("job-1"));
        // Else it is stopped before it has counted that it hangs, and the next attempt hangs too.
        wait_until("it hangs", || fs::read_to_string(&state).is_ok_and(|times| !times.is_empty()));
        home.stop();
    });
    assert_eq!(checkpoints(&home.tasks()), [Some("job-1")]);
    home.start_again();
    run(&home, &of_one_task(&home), || {});
    let tasks = home.tasks();
    assert_eq!((accepted(&tasks), checkpoints(&tasks)), (1, vec![None]));
    let resumed = log.lines().into_iter().filter(|line| line.starts_with("resume")).collect::<Vec<_>>();
    assert_eq!(resumed, ["resume 2 job-1"]);
}

#[test]
fn a_checkpoint_waits_until_the_storage_answers_again() {
    let log = Log::new();
    let home = TestHome::new(&["--checkpoint", "job", "--log", log.text()], 1);
    home.port().fail_durable(3);
    run(&home, &of_one_task(&home), || {});
    assert_eq!(accepted(&home.tasks()), 1);
    assert_eq!(log.lines(), ["prove 1", "checkpoint 1 job-1"]);
    assert_eq!(home.events("slot 0 of pool cpu").len(), 3);
}

#[test]
fn a_prover_hears_why_its_work_is_not_wanted() {
    let log = Log::new();
    let home = TestHome::new(&["--work-ms", "60000", "--cancel", "well", "--log", log.text()], 1);
    run(&home, &PoolWorker::new(home.plan(1)), || {
        let works = |attempt: u32| {
            home.wait_for("an attempt", |tasks| tasks[0].attempts().iter().any(|one| one.number == attempt));
            log.wait_for(&format!("prove {attempt}"));
        };
        works(1);
        let task = home.tasks().remove(0);
        let held = &task.attempts()[0];
        now(home.yard().record_release(&held.worker, 9, &held.claim, task.id())).unwrap();
        log.wait_for("cancel lost");
        works(2);
        now(home.yard().record_redo(&"test".parse().unwrap(), 1)).unwrap();
        home.take_all_steps();
        log.wait_for("cancel unwanted");
        home.stop();
    });
}

#[test]
fn a_prover_hears_that_its_worker_stops() {
    let log = Log::new();
    let home = TestHome::new(&["--work-ms", "60000", "--cancel", "well", "--log", log.text()], 1);
    run(&home, &PoolWorker::new(home.plan(1)), || {
        log.wait_for("prove 1");
        home.stop();
    });
    assert_eq!(log.lines(), ["prove 1", "cancel stopping"]);
    assert!(is_as_never_claimed(&home.tasks()[0]), "{:?}", home.tasks());
}

/// A lost attempt that has something kept is cancelled at that, before a heartbeat tells.
#[test]
fn an_attempt_that_is_over_has_nothing_kept() {
    let log = Log::new();
    let home = TestHome::new(&["--checkpoint", "job", "--work-ms", "60000", "--log", log.text()], 1);
    home.port().fail_durable(1_000_000);
    run(&home, &PoolWorker::new(home.plan(1)), || {
        log.wait_for("prove 1");
        let complains = || home.events("slot 0 of pool cpu").len() > 1;
        wait_until("the storage's trouble", complains);
        let task = home.tasks().remove(0);
        let held = &task.attempts()[0];
        now(home.yard().record_release(&held.worker, 9, &held.claim, task.id())).unwrap();
        home.port().fail_durable(0);
        home.wait_for("the next attempt", |tasks| tasks[0].started() == 2);
        home.wait_for("its checkpoint", |tasks| tasks[0].checkpoint().is_some());
        home.stop();
    });
    assert_eq!(checkpoints(&home.tasks()), [Some("job-2")]);
}
