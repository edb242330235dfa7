//! The port's conformance suite on SQLite.

use std::path::Path;
use std::sync::Arc;

use proofyard_conformance::{assert_count, counter_key, increment, run_all};
use proofyard_core::port::Port;
use proofyard_embedded::lock::DataDir;
use proofyard_embedded::store::SqliteStore;
use proofyard_embedded::{LocalPort, block_on};

fn open(dir: &Path) -> (DataDir, LocalPort) {
    let dir = DataDir::open(dir, true).unwrap();
    let store = SqliteStore::open(&dir).unwrap();
    (dir, LocalPort::new(Arc::new(store), |_| {}))
}

#[test]
fn sqlite_does_what_a_port_must() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, port) = open(temp.path());
    block_on(run_all(&port));
}

#[test]
fn thirty_two_threads_lose_no_update() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, port) = open(temp.path());
    let (shared, quiet) = (counter_key(&port), counter_key(&port));
    std::thread::scope(|scope| {
        for n in 0..32 {
            let counter = if n % 8 == 0 { &quiet } else { &shared };
            let port = &port;
            scope.spawn(move || block_on(increment(port, counter, 25)));
        }
    });
    block_on(assert_count(&port, &shared, 28 * 25));
    block_on(assert_count(&port, &quiet, 4 * 25));
}

#[test]
fn the_machines_clock_and_randomness_are_real() {
    let temp = tempfile::tempdir().unwrap();
    let (_dir, port) = open(temp.path());
    // 2020-01-01; and no two of a thousand ids are the same.
    assert!(port.now_ms() > 1_577_836_800_000);
    let ids: std::collections::HashSet<u64> = (0..1_000).map(|_| port.random()).collect();
    assert_eq!(ids.len(), 1_000);
}
