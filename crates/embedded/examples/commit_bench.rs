//! What a commit costs, beside a bare sync of the same disk in the same run.
//!
//! `cargo run --release -p proofyard-embedded --example commit_bench -- [DIRECTORY]`

#![allow(clippy::unwrap_used, reason = "a benchmark stops where it cannot measure")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op};
use proofyard_embedded::lock::DataDir;
use proofyard_embedded::store::SqliteStore;

const RUN: Duration = Duration::from_secs(3);
/// As a result has: a task, a marker and a slot.
const ITEMS: u64 = 3;
const VALUE_BYTES: usize = 400;

fn main() {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let path = parent.join(format!("commit-bench-{}", std::process::id()));
    let dir = DataDir::open(&path, true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    println!("a commit checks and puts {ITEMS} items of {VALUE_BYTES} bytes; {} s each", RUN.as_secs());
    println!("{:<34} {:>10} {:>10} {:>10}", "", "per second", "P50 ms", "P99 ms");
    report("4 KiB appended and fdatasync", bare_syncs(&path));
    for durable in [true, false] {
        for threads in [1, 8, 32] {
            let kind = if durable { "durable" } else { "not durable" };
            report(&format!("{kind} commit, {threads} at once"), commits(&store, threads, durable));
        }
    }
    report("get", reads(&store));
    // The disk may have changed its pace meanwhile.
    report("4 KiB appended and fdatasync", bare_syncs(&path));
    drop((store, dir));
    std::fs::remove_dir_all(&path).unwrap();
}

fn bare_syncs(directory: &Path) -> Vec<Duration> {
    let path = directory.join("appended");
    let mut file = File::create(&path).unwrap();
    let took = repeat(&AtomicBool::new(false), |_| {
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
    });
    std::fs::remove_file(&path).unwrap();
    took
}

fn commits(store: &SqliteStore, threads: u64, durable: bool) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..threads)
            .map(|lane| {
                let stop = &stop;
                let partition = format!("{durable} {threads} {lane}");
                scope.spawn(move || repeat(stop, |n| commit(store, &partition, n, durable)))
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    })
}

/// New items for a while, then the same ones over and over, as tasks are made once and changed often.
fn commit(store: &SqliteStore, partition: &str, n: u64, durable: bool) {
    let (row, round) = (n % 1_000, n / 1_000);
    let expect = if round == 0 { Expect::Absent } else { Expect::Version(round) };
    let ops = (0..ITEMS).map(|item| {
        let value = vec![b'x'; VALUE_BYTES];
        let key = Key::new(partition, format!("{item} {row:08}"));
        Op { key, expect, action: Action::Put { value, due_ms: (item == 0).then_some(n) } }
    });
    let batch = Batch { version: round + 1, ops: ops.collect(), durable };
    assert_eq!(store.commit(&batch).unwrap(), CommitOutcome::Committed);
}

fn reads(store: &SqliteStore) -> Vec<Duration> {
    repeat(&AtomicBool::new(false), |n| {
        let key = Key::new("true 1 0", format!("0 {:08}", n % 100));
        assert!(store.get(&key).unwrap().is_some());
    })
}

fn repeat(stop: &AtomicBool, mut work: impl FnMut(u64)) -> Vec<Duration> {
    let start = Instant::now();
    let mut took = Vec::new();
    for n in 0.. {
        let begun = Instant::now();
        work(n);
        took.push(begun.elapsed());
        if start.elapsed() > RUN {
            stop.store(true, Ordering::Relaxed);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    took
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    println!("{what:<34} {:>10.0} {:>10.3} {:>10.3}", took.len() as f64 / RUN.as_secs_f64(), at(50), at(99));
}
