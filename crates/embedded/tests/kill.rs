//! SIGKILL at any moment: what was answered is there at the next start, and every batch is there as a whole or not
//! at all.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op};
use proofyard_core::state::ArtifactRef;
use proofyard_embedded::artifacts::Artifacts;
use proofyard_embedded::lock::DataDir;
use proofyard_embedded::store::SqliteStore;

const KILLS: u32 = 20;
const LANES: u64 = 4;
/// Items of a batch, in partitions of their own.
const ITEMS: u64 = 5;

#[test]
fn what_was_answered_is_there_after_each_of_twenty_kills() {
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged = [0; LANES as usize];
    for kill in 0..KILLS {
        // From before the first answer to well after checkpoints.
        let answers = [0, 1, 7, 40, 200, 700, 1_500][kill as usize % 7];
        run_and_kill(temp.path(), answers, &mut acknowledged);
        let dir = DataDir::open(temp.path(), true).unwrap();
        let store = SqliteStore::open(&dir).unwrap();
        let artifacts = Artifacts::open(&dir).unwrap();
        for lane in 0..LANES {
            let found = whole_batch(&store, lane);
            let last = acknowledged[lane as usize];
            assert!(found == last || found == last + 1, "lane {lane}: {found} is there, {last} was answered");
            acknowledged[lane as usize] = found;
            if let Some(stored) = store.get(&key(lane, 0)).unwrap() {
                artifacts.verify(&named_in(&stored.value)).unwrap();
            }
        }
    }
    assert!(acknowledged.iter().sum::<u64>() > 1_000, "{acknowledged:?}");
}

/// Lets the other process work until it has given so many answers, kills it, and reads all the answers it gave.
fn run_and_kill(directory: &Path, answers: usize, acknowledged: &mut [u64]) {
    let mut child = support::other_process("commits_until_it_is_killed", directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut note = |line: String| {
        let answer =
            line.split_once(' ').and_then(|(lane, n)| Some((lane.parse::<usize>().ok()?, n.parse().ok()?)));
        if let Some((lane, n)) = answer {
            acknowledged[lane] = n;
        }
        usize::from(answer.is_some())
    };
    let mut seen = 0;
    while seen < answers {
        seen += note(lines.next().expect("it works until it is killed").unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lines.for_each(|line| _ = note(line.unwrap()));
}

#[test]
#[ignore = "run and killed by what_was_answered_is_there_after_each_of_twenty_kills"]
fn commits_until_it_is_killed() {
    let Some(path) = support::directory() else { return };
    let dir = DataDir::open(&path, true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    let artifacts = Artifacts::open(&dir).unwrap();
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (store, artifacts) = (&store, &artifacts);
            scope.spawn(move || commit_for_ever(store, artifacts, lane));
        }
    });
}

/// Batch n has version n and is committed on condition that batch n - 1 was.
fn commit_for_ever(store: &SqliteStore, artifacts: &Artifacts, lane: u64) {
    let mut n = whole_batch(store, lane);
    loop {
        n += 1;
        let artifact = artifacts.put_bytes(format!("the artifact of {lane} {}", n / 50).as_bytes()).unwrap();
        let value = format!("{} {}", artifact.sha256, artifact.bytes).into_bytes();
        let expect = if n == 1 { Expect::Absent } else { Expect::Version(n - 1) };
        let ops = (0..ITEMS).map(|item| {
            let value = value.clone();
            Op { key: key(lane, item), expect, action: Action::Put { value, due_ms: Some(n) } }
        });
        let batch = Batch { version: n, ops: ops.collect(), durable: !n.is_multiple_of(3) };
        assert_eq!(store.commit(&batch).unwrap(), CommitOutcome::Committed);
        // One write, so that a kill cannot leave half a line.
        std::io::stdout().write_all(format!("{lane} {n}\n").as_bytes()).unwrap();
    }
}

fn key(lane: u64, item: u64) -> Key {
    Key::new(format!("lane {lane}, item {item}"), "x")
}

fn named_in(value: &[u8]) -> ArtifactRef {
    let (sha256, bytes) = str::from_utf8(value).unwrap().split_once(' ').unwrap();
    ArtifactRef { sha256: sha256.to_owned(), bytes: bytes.parse().unwrap() }
}

/// The number of the lane's last batch, of which every item must be there.
fn whole_batch(store: &SqliteStore, lane: u64) -> u64 {
    let versions: Vec<u64> = (0..ITEMS)
        .map(|item| store.get(&key(lane, item)).unwrap().map_or(0, |stored| stored.version))
        .collect();
    assert!(
        versions.iter().all(|version| *version == versions[0]),
        "half a batch in lane {lane}: {versions:?}"
    );
    versions[0]
}
