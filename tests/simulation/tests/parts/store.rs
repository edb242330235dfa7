//! The store: what it promises, and what it only comes to.

use proofyard_core::port::{Action, Batch, DUE_SHARDS, Expect, Key, Op, Version};
use proofyard_simulation::store::{Caller, Table};

fn put(sort: &str, expect: Expect, version: Version, due_ms: Option<u64>) -> Batch {
    let action = Action::Put { value: b"1".to_vec(), due_ms };
    Batch { version, ops: vec![Op { key: Key::new("P", sort), expect, action }], durable: false }
}

fn all(table: &mut Table, until_ms: u64, now_ms: u64) -> usize {
    (0..DUE_SHARDS).map(|shard| table.due(shard, None, until_ms, 9, now_ms).len()).sum()
}

#[test]
fn an_expectation_that_does_not_hold_forbids_the_whole_batch() {
    let mut table = Table::default();
    table.apply(&put("a", Expect::Absent, 7, None), Caller::default(), 0, || 0);
    assert!(!table.allows(&put("a", Expect::Absent, 8, None)));
    assert!(!table.allows(&put("a", Expect::Version(6), 8, None)));
    assert!(table.allows(&put("a", Expect::Version(7), 8, None)));
}

#[test]
fn the_due_index_is_late_and_then_right() {
    let mut table = Table::default();
    table.apply(&put("a", Expect::Absent, 1, Some(5)), Caller::default(), 0, || 100);
    assert_eq!(all(&mut table, 50, 50), 0);
    assert_eq!(all(&mut table, 50, 100), 1);
    // A later write is not overtaken by an earlier one, however late that was.
    table.apply(&put("a", Expect::Version(1), 2, Some(6)), Caller::default(), 100, || 500);
    table.apply(&put("a", Expect::Version(2), 3, None), Caller::default(), 101, || 0);
    assert_eq!(all(&mut table, 50, 300), 1);
    assert_eq!(all(&mut table, 50, 600), 0);
}

#[test]
fn a_power_loss_takes_back_the_end_of_what_no_sync_covered() {
    let mut table = Table::default();
    let by = Caller::default();
    table.apply(&put("a", Expect::Absent, 1, None), by, 0, || 0);
    table.apply(&put("b", Expect::Absent, 1, None), by, 0, || 0);
    let commits = table.commits();
    table.apply(&put("c", Expect::Absent, 1, Some(5)), by, 0, || 0);
    table.apply(&put("a", Expect::Version(1), 2, None), by, 0, || 0);
    assert!(table.may_lose(&Key::new("P", "b")), "it may be durable, and is not synced yet");
    table.sync(commits);
    assert!(table.may_lose(&Key::new("P", "c")) && !table.may_lose(&Key::new("P", "a")));
    table.lose_power(1, 0);
    let version = |table: &Table, sort: &str| table.get(&Key::new("P", sort)).map(|row| row.version);
    assert_eq!(["a", "b", "c"].map(|sort| version(&table, sort)), [Some(1), Some(1), Some(1)]);
    table.apply(&put("d", Expect::Absent, 1, Some(9)), by, 0, || 0);
    table.lose_power(0, 0);
    assert_eq!((version(&table, "c"), version(&table, "d")), (Some(1), None));
    assert_eq!(all(&mut table, 50, 50), 1);
}
