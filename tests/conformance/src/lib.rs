//! What every home's port must do, as a suite that its tests run against the real store.
//!
//! Each check works in partitions of its own, named from the port's randomness, so that the suite can run against a
//! table that holds other things. A check that fails panics with what it saw. The table must be quiet otherwise:
//! ranges are compared exactly, and the `due` index, which may be late, is asked until it agrees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "assertions are what this crate is for"
)]

mod commits;
mod concurrency;
mod due;
mod ranges;

use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, Port, Version};

pub use self::concurrency::{assert_count, counter_key, increment};

/// Every check that one caller can make. [`increment`] is for several callers at once.
pub async fn run_all(port: &dyn Port) {
    commits::run(port).await;
    ranges::run(port).await;
    due::run(port).await;
}

/// A partition that nothing else uses.
fn fresh_partition(port: &dyn Port, check: &str) -> String {
    format!("conformance#{check}#{:016x}", port.random())
}

fn put(key: &Key, expect: Expect, value: impl Into<Vec<u8>>) -> Op {
    put_due(key, expect, value, None)
}

fn put_due(key: &Key, expect: Expect, value: impl Into<Vec<u8>>, due_ms: Option<u64>) -> Op {
    Op { key: key.clone(), expect, action: Action::Put { value: value.into(), due_ms } }
}

fn check(key: &Key, expect: Expect) -> Op {
    Op { key: key.clone(), expect, action: Action::Check }
}

fn delete(key: &Key, expect: Expect) -> Op {
    Op { key: key.clone(), expect, action: Action::Delete }
}

async fn commit(port: &dyn Port, ops: Vec<Op>) -> (CommitOutcome, Version) {
    let version = port.random();
    let outcome =
        port.commit(&Batch { version, ops, durable: false }).await.expect("a commit must be answered");
    (outcome, version)
}

/// Commits what must succeed; the version that it wrote.
async fn committed(port: &dyn Port, ops: Vec<Op>) -> Version {
    let (outcome, version) = commit(port, ops).await;
    assert_eq!(outcome, CommitOutcome::Committed);
    version
}

async fn conflicts(port: &dyn Port, ops: Vec<Op>) {
    assert_eq!(commit(port, ops).await.0, CommitOutcome::Conflict);
}

/// The item's value as text, or "absent".
async fn value_of(port: &dyn Port, key: &Key) -> String {
    match port.get(key).await.expect("a read must be answered") {
        Some(stored) => String::from_utf8(stored.value).expect("these values are text"),
        None => "absent".to_owned(),
    }
}
