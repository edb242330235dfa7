//! Conditions, and all or nothing.

use proofyard_core::port::{Batch, CommitOutcome, Expect, Key, MAX_BATCH_ITEMS, Port};

use crate::{check, commit, committed, conflicts, delete, fresh_partition, put, value_of};

pub(crate) async fn run(port: &dyn Port) {
    an_item_is_read_back_under_its_commits_version(port).await;
    an_expectation_must_hold(port).await;
    a_check_writes_nothing_but_counts(port).await;
    any_state_may_be_expected(port).await;
    a_deleted_and_rewritten_item_is_another_one(port).await;
    a_delete_needs_its_expectation(port).await;
    a_full_batch_is_all_or_nothing(port).await;
    a_batch_beyond_the_limit_or_with_a_repeated_key_is_refused(port).await;
    any_bytes_and_any_version_come_back(port).await;
    keys_that_look_alike_are_different(port).await;
    a_durable_commit_is_a_commit(port).await;
}

async fn an_item_is_read_back_under_its_commits_version(port: &dyn Port) {
    let key = Key::new(fresh_partition(port, "read"), "a");
    assert_eq!(port.get(&key).await.unwrap(), None);
    let first = committed(port, vec![put(&key, Expect::Absent, "one")]).await;
    let stored = port.get(&key).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.value.as_slice()), (first, b"one".as_slice()));
    let second = committed(port, vec![put(&key, Expect::Version(first), "two")]).await;
    let stored = port.get(&key).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.value.as_slice()), (second, b"two".as_slice()));
}

async fn an_expectation_must_hold(port: &dyn Port) {
    let key = Key::new(fresh_partition(port, "expect"), "a");
    conflicts(port, vec![put(&key, Expect::Version(1), "never")]).await;
    assert_eq!(value_of(port, &key).await, "absent");
    let first = committed(port, vec![put(&key, Expect::Absent, "one")]).await;
    conflicts(port, vec![put(&key, Expect::Absent, "never")]).await;
    conflicts(port, vec![put(&key, Expect::Version(first.wrapping_add(1)), "never")]).await;
    assert_eq!(value_of(port, &key).await, "one");
    committed(port, vec![put(&key, Expect::Version(first), "two")]).await;
    conflicts(port, vec![put(&key, Expect::Version(first), "never")]).await;
    assert_eq!(value_of(port, &key).await, "two");
}

async fn a_check_writes_nothing_but_counts(port: &dyn Port) {
    let partition = fresh_partition(port, "check");
    let (watched, missing, written) =
        (Key::new(&partition, "watched"), Key::new(&partition, "missing"), Key::new(&partition, "written"));
    let seen = committed(port, vec![put(&watched, Expect::Absent, "here")]).await;
    let checks = || vec![check(&watched, Expect::Version(seen)), check(&missing, Expect::Absent)];
    committed(port, checks()).await;
    let with = |op| checks().into_iter().chain([op]).collect::<Vec<_>>();
    let first = committed(port, with(put(&written, Expect::Absent, "one"))).await;
    assert_eq!(port.get(&watched).await.unwrap().unwrap().version, seen);
    assert_eq!(value_of(port, &missing).await, "absent");

    committed(port, vec![put(&missing, Expect::Absent, "came")]).await;
    conflicts(port, with(put(&written, Expect::Version(first), "never"))).await;
    conflicts(port, checks()).await;
    assert_eq!(value_of(port, &written).await, "one");
}

async fn any_state_may_be_expected(port: &dyn Port) {
    let partition = fresh_partition(port, "any");
    let (key, other) = (Key::new(&partition, "a"), Key::new(&partition, "other"));
    committed(port, vec![check(&key, Expect::Any), delete(&other, Expect::Any)]).await;
    for value in ["one", "two"] {
        let version = committed(port, vec![put(&key, Expect::Any, value)]).await;
        assert_eq!(port.get(&key).await.unwrap().unwrap().version, version);
        assert_eq!(value_of(port, &key).await, value);
    }
    conflicts(port, vec![put(&key, Expect::Any, "never"), check(&other, Expect::Version(1))]).await;
    assert_eq!(value_of(port, &key).await, "two");
    committed(port, vec![delete(&key, Expect::Any)]).await;
    assert_eq!(value_of(port, &key).await, "absent");
}

async fn a_deleted_and_rewritten_item_is_another_one(port: &dyn Port) {
    let key = Key::new(fresh_partition(port, "again"), "a");
    let first = committed(port, vec![put(&key, Expect::Absent, "same")]).await;
    committed(port, vec![delete(&key, Expect::Version(first))]).await;
    assert_eq!(value_of(port, &key).await, "absent");
    conflicts(port, vec![check(&key, Expect::Version(first))]).await;
    let second = committed(port, vec![put(&key, Expect::Absent, "same")]).await;
    conflicts(port, vec![put(&key, Expect::Version(first), "never")]).await;
    conflicts(port, vec![delete(&key, Expect::Version(first))]).await;
    assert_eq!(port.get(&key).await.unwrap().unwrap().version, second);
}

async fn a_delete_needs_its_expectation(port: &dyn Port) {
    let key = Key::new(fresh_partition(port, "delete"), "a");
    conflicts(port, vec![delete(&key, Expect::Version(1))]).await;
    committed(port, vec![delete(&key, Expect::Absent)]).await;
    let version = committed(port, vec![put(&key, Expect::Absent, "one")]).await;
    conflicts(port, vec![delete(&key, Expect::Absent)]).await;
    assert_eq!(value_of(port, &key).await, "one");
    committed(port, vec![delete(&key, Expect::Version(version))]).await;
    assert_eq!(value_of(port, &key).await, "absent");
}

async fn a_full_batch_is_all_or_nothing(port: &dyn Port) {
    let partition = fresh_partition(port, "full");
    let keys: Vec<Key> =
        (0..MAX_BATCH_ITEMS).map(|n| Key::new(format!("{partition}#{}", n % 3), format!("{n}"))).collect();
    let first = committed(port, keys.iter().map(|key| put(key, Expect::Absent, "one")).collect()).await;

    for wrong in [0, MAX_BATCH_ITEMS / 2, MAX_BATCH_ITEMS - 1] {
        let ops = keys.iter().enumerate().map(|(n, key)| match n {
            _ if n == wrong => put(key, Expect::Absent, "never"),
            _ if n % 2 == 0 => put(key, Expect::Version(first), "never"),
            _ => delete(key, Expect::Version(first)),
        });
        conflicts(port, ops.collect()).await;
        for key in &keys {
            assert_eq!(value_of(port, key).await, "one", "{key} after a conflict at item {wrong}");
        }
    }
    let second =
        committed(port, keys.iter().map(|key| put(key, Expect::Version(first), "two")).collect()).await;
    for key in &keys {
        assert_eq!(port.get(key).await.unwrap().unwrap().version, second);
    }
}

async fn a_batch_beyond_the_limit_or_with_a_repeated_key_is_refused(port: &dyn Port) {
    let partition = fresh_partition(port, "refused");
    let key = |n: usize| Key::new(&partition, format!("{n}"));
    let too_many: Vec<_> = (0..=MAX_BATCH_ITEMS).map(|n| put(&key(n), Expect::Absent, "never")).collect();
    let also = |op| vec![put(&key(0), Expect::Absent, "never"), put(&key(1), Expect::Any, "never"), op];
    let checked = also(check(&key(0), Expect::Absent));
    let unasked = also(check(&key(0), Expect::Any));
    let written_twice = also(put(&key(0), Expect::Any, "never"));
    for ops in [too_many, checked, unasked, written_twice] {
        let refused = port.commit(&Batch { version: port.random(), ops, durable: false }).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(value_of(port, &key(0)).await, "absent");
    }
}

async fn any_bytes_and_any_version_come_back(port: &dyn Port) {
    let partition = fresh_partition(port, "bytes");
    let every_byte: Vec<u8> = (0..=255).collect();
    let values = [b"{}".to_vec(), every_byte, vec![b'x'; 100_000]];
    for (value, version) in values.into_iter().zip([0, u64::MAX, 1 << 63]) {
        let key = Key::new(&partition, format!("{version}"));
        let ops = vec![put(&key, Expect::Absent, value.clone())];
        let outcome = port.commit(&Batch { version, ops, durable: false }).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed);
        let stored = port.get(&key).await.unwrap().unwrap();
        assert_eq!((stored.version, stored.value), (version, value));
        committed(port, vec![delete(&key, Expect::Version(version))]).await;
    }
}

async fn keys_that_look_alike_are_different(port: &dyn Port) {
    let partition = fresh_partition(port, "alike");
    // Case, trailing space, number forms, a composed and a decomposed accent, and a split elsewhere.
    let sorts =
        ["a", "A", "a ", " a", "1", "01", "1.0", "\u{e9}", "e\u{301}", "a#b", "a/b", "%", "_", "'", "\""];
    let keys: Vec<Key> = sorts.iter().map(|sort| Key::new(&partition, *sort)).collect();
    for key in &keys {
        committed(port, vec![put(key, Expect::Absent, key.sort.as_str())]).await;
    }
    for key in &keys {
        assert_eq!(value_of(port, key).await, key.sort);
    }
    assert_eq!(value_of(port, &Key::new(format!("{partition}a"), "")).await, "absent");
}

async fn a_durable_commit_is_a_commit(port: &dyn Port) {
    let key = Key::new(fresh_partition(port, "durable"), "a");
    let (_, seen) = commit(port, vec![put(&key, Expect::Absent, "one")]).await;
    for (ops, expected) in [
        (vec![check(&key, Expect::Version(seen))], CommitOutcome::Committed),
        (vec![put(&key, Expect::Absent, "never")], CommitOutcome::Conflict),
        (vec![put(&key, Expect::Version(seen), "two")], CommitOutcome::Committed),
    ] {
        let outcome = port.commit(&Batch { version: port.random(), ops, durable: true }).await.unwrap();
        assert_eq!(outcome, expected);
    }
    assert_eq!(value_of(port, &key).await, "two");
}
