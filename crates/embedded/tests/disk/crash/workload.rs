//! The other process: lanes that commit batch after batch and say so after each answer.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op};
use proofyard_core::state::ArtifactRef;
use proofyard_embedded::lock::DataDir;
use proofyard_embedded::store::SqliteStore;
use proofyard_worker::artifacts::Artifacts;

use crate::support;

/// Items of a batch, in partitions of their own.
const ITEMS: u64 = 5;
const PLAN: &str = "PROOFYARD_TEST_PLAN";

/// What the other process does.
#[derive(Clone, Copy)]
pub struct Plan {
    pub lanes: usize,
    /// Answers after which a lane stops and waits for its end.
    pub answers: u64,
    /// Every how many batches one is not durable; 1 is all of them.
    pub lazy_each: u64,
}

impl Plan {
    pub fn command(self, directory: &Path) -> Command {
        let mut command = support::other_process("crash::workload::commits_until_it_is_killed", directory);
        command.env(PLAN, format!("{} {} {}", self.lanes, self.answers, self.lazy_each));
        command
    }

    fn given() -> Self {
        let text = std::env::var(PLAN).unwrap();
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
        Self { lanes: numbers[0] as usize, answers: numbers[1], lazy_each: numbers[2] }
    }

    pub fn is_durable(self, n: u64) -> bool {
        !n.is_multiple_of(self.lazy_each)
    }
}

/// "lane number", or nothing of ours.
pub fn parse_answer(line: &str) -> Option<(usize, u64)> {
    let (lane, n) = line.strip_prefix("answered ")?.split_once(' ')?;
    Some((lane.parse().ok()?, n.parse().ok()?))
}

#[test]
#[ignore = "run in another process by the tests that kill it"]
fn commits_until_it_is_killed() {
    let Some(path) = support::directory() else { return };
    let plan = Plan::given();
    let dir = DataDir::open(&path, true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    let artifacts = Artifacts::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for lane in 0..plan.lanes {
            let (store, artifacts) = (&store, &artifacts);
            scope.spawn(move || run_lane(store, artifacts, lane, plan));
        }
    });
}

/// Batch n has version n and is committed on condition that batch n - 1 was.
fn run_lane(store: &SqliteStore, artifacts: &Artifacts, lane: usize, plan: Plan) {
    let start = last_batch(store, lane);
    for n in start + 1..=start.saturating_add(plan.answers) {
        let artifact = artifacts.put_bytes(format!("the artifact of {lane} {}", n / 20).as_bytes()).unwrap();
        let value = format!("{} {}", artifact.sha256, artifact.bytes).into_bytes();
        let expect = if n == 1 { Expect::Absent } else { Expect::Version(n - 1) };
        let ops = (0..ITEMS).map(|item| {
            let value = value.clone();
            Op { key: key(lane, item), expect, action: Action::Put { value, due_ms: Some(n) } }
        });
        let batch = Batch { version: n, ops: ops.collect(), durable: plan.is_durable(n) };
        assert_eq!(store.commit(&batch).unwrap(), CommitOutcome::Committed);
        // One write, so that a kill cannot leave half a line.
        std::io::stdout().write_all(format!("\nanswered {lane} {n}\n").as_bytes()).unwrap();
    }
    loop {
        std::thread::park();
    }
}

fn key(lane: usize, item: u64) -> Key {
    Key::new(format!("lane {lane}, item {item}"), "x")
}

/// Opens what a crash left; the number of each lane's last batch. Every item of it must be there, and its artifact.
pub fn last_batches(directory: &Path, lanes: usize) -> Vec<u64> {
    let dir = DataDir::open(directory, true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    let artifacts = Artifacts::open(dir.path()).unwrap();
    let found = (0..lanes).map(|lane| {
        if let Some(stored) = store.get(&key(lane, 0)).unwrap() {
            artifacts.verify(&named_in(&stored.value)).unwrap();
        }
        last_batch(&store, lane)
    });
    found.collect()
}

fn last_batch(store: &SqliteStore, lane: usize) -> u64 {
    let versions =
        (0..ITEMS).map(|item| store.get(&key(lane, item)).unwrap().map_or(0, |stored| stored.version));
    let versions: Vec<u64> = versions.collect();
    assert!(
        versions.iter().all(|version| *version == versions[0]),
        "half a batch in lane {lane}: {versions:?}"
    );
    versions[0]
}

fn named_in(value: &[u8]) -> ArtifactRef {
    let (sha256, bytes) = str::from_utf8(value).unwrap().split_once(' ').unwrap();
    ArtifactRef { sha256: sha256.to_owned(), bytes: bytes.parse().unwrap() }
}
