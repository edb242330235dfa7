//! Power losses: what was not synced is lost, and what was answered as durable is there.

use std::fs;

use proofyard_core::error::with_causes;
use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, PortError};
use proofyard_embedded::lock::DataDir;
use proofyard_embedded::store::SqliteStore;
use proofyard_lossy_disk::{LossyDisk, Unsynced};
use proofyard_worker::artifacts::{ArtifactError, Artifacts};

use super::run_and_kill;
use super::workload::{Plan, last_batches};
use crate::support;

/// One lane stops at each of its answers in turn, so that nothing later can sync what should have been synced.
#[test]
fn each_durable_answer_outlives_a_power_loss_right_after_it() {
    let mut disk = LossyDisk::new();
    let mut last = 0;
    for answers in 1..=12 {
        let plan = Plan { lanes: 1, answers, lazy_each: 3 };
        let mut durable = last;
        let note = |_, n| durable = if plan.is_durable(n) { n } else { durable };
        last = lose_power_after(&mut disk, plan, answers as usize, Unsynced::Lost, note)[0];
        assert_eq!(last, durable, "after {answers} more answers");
    }
}

#[test]
fn durable_answers_outlive_a_power_loss_at_any_moment() {
    let mut disk = LossyDisk::new();
    let plan = Plan { lanes: 4, answers: u64::MAX, lazy_each: 3 };
    let mut last = vec![0; plan.lanes];
    for loss in 0..24_u64 {
        let (mut durable, mut answered) = (last.clone(), last.clone());
        let note = |lane: usize, n| {
            answered[lane] = n;
            durable[lane] = if plan.is_durable(n) { n } else { durable[lane] };
        };
        let answers = [0, 1, 5, 30, 120, 400][loss as usize % 6];
        let unsynced = match loss % 3 {
            0 => Unsynced::Lost,
            _ => Unsynced::Mixed((loss + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        };
        last = lose_power_after(&mut disk, plan, answers, unsynced, note);
        for (lane, found) in last.iter().enumerate() {
            let expected = durable[lane]..=answered[lane] + 1;
            assert!(
                expected.contains(found),
                "loss {loss}, lane {lane}: {found} is there, not of {expected:?}"
            );
        }
    }
    assert!(last.iter().sum::<u64>() > 1_000, "{last:?}");
}

/// Or the tests above would show nothing.
#[test]
fn what_was_not_synced_is_lost() {
    let mut disk = LossyDisk::new();
    let plan = Plan { lanes: 1, answers: 10, lazy_each: 1 };
    assert_eq!(lose_power_after(&mut disk, plan, 10, Unsynced::Lost, |_, _| {}), [0]);
    assert_eq!(lose_power_after(&mut disk, plan, 10, Unsynced::Mixed(u64::MAX), |_, _| {}), [10]);
}

/// Each lane's last batch that is left.
fn lose_power_after(
    disk: &mut LossyDisk,
    plan: Plan,
    answers: usize,
    unsynced: Unsynced,
    note: impl FnMut(usize, u64),
) -> Vec<u64> {
    let mut command = plan.command(&disk.directory());
    disk.preload(&mut command);
    run_and_kill(command, answers, note);
    disk.lose_power(unsynced);
    let found = last_batches(&disk.directory(), plan.lanes);
    disk.settle();
    found
}

#[test]
fn a_full_and_a_failing_disk_tell_and_lose_nothing() {
    let disk = LossyDisk::new();
    let mut command =
        support::other_process("crash::power_loss::on_a_full_and_a_failing_disk", &disk.directory());
    disk.preload(&mut command);
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{done:?}");
    fs::remove_file(disk.shadow().join("failing")).unwrap();
    let dir = DataDir::open(&disk.directory(), false).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    for sort in ["before", "after"] {
        assert!(store.get(&Key::new("p", sort)).unwrap().is_some(), "{sort}");
    }
    assert_eq!(put(&store, "restarted", 100).unwrap(), CommitOutcome::Committed);
}

#[test]
#[ignore = "run by a_full_and_a_failing_disk_tell_and_lose_nothing"]
fn on_a_full_and_a_failing_disk() {
    let Some(path) = support::directory() else { return };
    let shadow = std::env::var("LOSSY_SHADOW").unwrap();
    let switch = |name: &str| format!("{shadow}/{name}");
    let dir = DataDir::open(&path, true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    let artifacts = Artifacts::open(dir.path()).unwrap();
    put(&store, "before", 100).unwrap();

    fs::write(switch("full"), "").unwrap();
    for _ in 0..3 {
        let refused = put(&store, "refused", 100_000);
        assert!(
            matches!(&refused, Err(error @ PortError::Unavailable(_)) if says(error, "disk space")),
            "{refused:?}"
        );
        assert_eq!(store.get(&Key::new("p", "refused")).unwrap(), None);
        let refused = artifacts.put_bytes(b"proof").unwrap_err();
        assert!(matches!(&refused, ArtifactError::Io { doing: "written", .. }), "{refused:?}");
    }
    fs::remove_file(switch("full")).unwrap();
    put(&store, "after", 100_000).unwrap();
    let kept = artifacts.put_bytes(b"proof").unwrap();

    fs::write(switch("failing"), "").unwrap();
    assert!(artifacts.put_bytes(b"another").is_err());
    artifacts.verify(&kept).unwrap();
    let failed = put(&store, "failed", 100);
    assert!(matches!(&failed, Err(error @ PortError::Broken(_)) if says(error, "start again")), "{failed:?}");
    fs::remove_file(switch("failing")).unwrap();
    // A sync that succeeds now would prove nothing about what the failed one lost.
    assert!(matches!(put(&store, "never", 100), Err(PortError::Broken(_))));
    assert!(store.get(&Key::new("p", "after")).unwrap().is_some());
    fs::write(switch("failing"), "").unwrap();
}

#[test]
fn while_the_disk_syncs_one_commit_others_are_written_and_read() {
    let disk = LossyDisk::new();
    let mut command = support::other_process("crash::power_loss::on_a_disk_that_stalls", &disk.directory());
    disk.preload(&mut command);
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{done:?}");
}

#[test]
#[ignore = "run by while_the_disk_syncs_one_commit_others_are_written_and_read"]
fn on_a_disk_that_stalls() {
    let Some(path) = support::directory() else { return };
    let stalled = format!("{}/stalled", std::env::var("LOSSY_SHADOW").unwrap());
    let dir = DataDir::open(&path, true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    // The first commit of a log syncs the log's header.
    put(&store, "first", 100).unwrap();
    fs::write(&stalled, "").unwrap();
    std::thread::scope(|scope| {
        // Also after a failure, or the thread would wait for ever.
        let goes_on = GoesOn(&stalled);
        let waits = scope.spawn(|| put(&store, "durable", 100));
        while store.get(&Key::new("p", "durable")).unwrap().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(write(&store, "another", 100, false).unwrap(), CommitOutcome::Committed);
        assert!(store.get(&Key::new("p", "another")).unwrap().is_some());
        assert!(!waits.is_finished(), "it is not on disk yet");
        drop(goes_on);
        assert_eq!(waits.join().unwrap().unwrap(), CommitOutcome::Committed);
    });
    assert_eq!(store.syncs().done, 2);
    store.sync().unwrap();
    assert!(store.syncs().done <= 3, "one sync is enough for what was written meanwhile");
}

/// Ends the stall.
struct GoesOn<'a>(&'a str);

impl Drop for GoesOn<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

fn says(error: &PortError, part: &str) -> bool {
    with_causes(error).to_string().contains(part)
}

fn put(store: &SqliteStore, sort: &str, bytes: usize) -> Result<CommitOutcome, PortError> {
    write(store, sort, bytes, true)
}

fn write(store: &SqliteStore, sort: &str, bytes: usize, durable: bool) -> Result<CommitOutcome, PortError> {
    let action = Action::Put { value: vec![b'x'; bytes], due_ms: None };
    let op = Op { key: Key::new("p", sort), expect: Expect::Absent, action };
    store.commit(&Batch { version: 1, ops: vec![op], durable })
}
