//! The index of due times.

use proofyard_core::port::{DUE_SHARDS, DueKind, Expect, Key, Port};

use crate::{committed, delete, fresh_partition, put, put_due};

/// How long an index may be late before the suite calls it wrong.
const PATIENCE_MS: u64 = 30_000;
/// For a port whose clock stands still.
const MAX_ASKS: u32 = 10_000;

pub(crate) async fn run(port: &dyn Port) {
    a_due_time_is_found_from_then_on(port).await;
    the_soonest_come_first_and_the_limit_holds(port).await;
    a_due_time_can_be_moved_cleared_and_set_again(port).await;
    rescheduling_keeps_the_version_and_makes_nothing(port).await;
    what_changed_is_not_rescheduled(port).await;
    each_kind_of_key_is_due_in_shards_of_its_own(port).await;
}

/// What the index says of the partition's keys, in its order. Other keys of the shard do not count.
async fn due(port: &dyn Port, partition: &str, shard: u8, until_ms: u64) -> Vec<String> {
    let found = port.due(shard, None, until_ms, usize::MAX).await.unwrap();
    assert!(
        found.iter().all(|due| due.key.due_shard() == shard),
        "a key in another shard's index: {found:?}"
    );
    found
        .into_iter()
        .map(|due| due.key)
        .filter(|key| key.partition == partition)
        .map(|key| key.sort)
        .collect()
}

/// The same, read a few at a time, each page after the last entry of the one before.
async fn paged(port: &dyn Port, partition: &str, shard: u8, until_ms: u64, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut page = port.due(shard, None, until_ms, limit).await.unwrap();
    while let Some(last) = page.last().cloned() {
        assert!(page.len() <= limit, "{} entries on a page of {limit}", page.len());
        found.extend(page);
        page = port.due(shard, Some(&last), until_ms, limit).await.unwrap();
    }
    found
        .into_iter()
        .map(|due| due.key)
        .filter(|key| key.partition == partition)
        .map(|key| key.sort)
        .collect()
}

async fn assert_due(port: &dyn Port, partition: &str, shard: u8, until_ms: u64, expected: &[&str]) {
    let start_ms = port.now_ms();
    for _ in 0..MAX_ASKS {
        let found = due(port, partition, shard, until_ms).await;
        if found == expected {
            return;
        }
        assert!(
            port.now_ms() < start_ms + PATIENCE_MS,
            "due until {until_ms}: {found:?}, which should be {expected:?}"
        );
    }
    panic!("the index never showed {expected:?} as due until {until_ms}");
}

async fn a_due_time_is_found_from_then_on(port: &dyn Port) {
    let partition = fresh_partition(port, "due");
    for n in 0..3 * u64::from(DUE_SHARDS) {
        let key = Key::new(&partition, format!("{n}"));
        let due_ms = 1_000 + n;
        committed(port, vec![put_due(&key, Expect::Absent, "due", Some(due_ms))]).await;
        let silent = Key::new(&partition, format!("silent {n}"));
        committed(port, vec![put(&silent, Expect::Absent, "never due")]).await;
        let shard = key.due_shard();
        let until = due(port, &partition, shard, due_ms - 1).await;
        assert!(!until.contains(&key.sort), "{key} is due too early");
        assert!(!until.contains(&silent.sort), "{silent} is due");
    }
    for shard in 0..DUE_SHARDS {
        let sorts = (0..3 * u64::from(DUE_SHARDS)).map(|n| format!("{n}"));
        let expected: Vec<String> = sorts.filter(|n| Key::new(&partition, n).due_shard() == shard).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_due(port, &partition, shard, u64::MAX, &expected).await;
    }
}

async fn the_soonest_come_first_and_the_limit_holds(port: &dyn Port) {
    let partition = fresh_partition(port, "soonest");
    let shard = Key::new(&partition, "0").due_shard();
    let mut sorts: Vec<String> = (0..)
        .map(|n| format!("{n}"))
        .filter(|n| Key::new(&partition, n).due_shard() == shard)
        .take(5)
        .collect();
    // Times before any that a clock gives, so that the limit cuts among these.
    for (sort, due_ms) in sorts.iter().zip([50, 10, 40, 20, 30]) {
        committed(port, vec![put_due(&Key::new(&partition, sort), Expect::Absent, "due", Some(due_ms))])
            .await;
    }
    sorts = [1, 3, 4, 2, 0].map(|place| sorts[place].clone()).to_vec();
    let sorts: Vec<&str> = sorts.iter().map(String::as_str).collect();
    assert_due(port, &partition, shard, 50, &sorts).await;
    assert_due(port, &partition, shard, 49, &sorts[..4]).await;
    assert_due(port, &partition, shard, 10, &sorts[..1]).await;
    assert_due(port, &partition, shard, 9, &[]).await;
    assert_eq!(port.due(shard, None, u64::MAX, 2).await.unwrap().len(), 2);
    assert_eq!(port.due(shard, None, u64::MAX, 0).await.unwrap().len(), 0);
    assert_eq!(paged(port, &partition, shard, 50, 2).await, sorts);
    // Of one time all the same, each once.
    for sort in &sorts {
        let key = Key::new(&partition, *sort);
        let version = port.get(&key).await.unwrap().unwrap().version;
        assert!(port.reschedule(&key, version, Some(45)).await.unwrap());
    }
    let mut same_time = sorts.clone();
    same_time.sort_unstable();
    let start_ms = port.now_ms();
    loop {
        let mut found = paged(port, &partition, shard, 45, 2).await;
        found.sort_unstable();
        if found == same_time {
            break;
        }
        assert!(port.now_ms() < start_ms + PATIENCE_MS, "in pages of 2: {found:?}");
    }
    for sort in sorts {
        let key = Key::new(&partition, sort);
        let seen = port.get(&key).await.unwrap().unwrap().version;
        committed(port, vec![delete(&key, Expect::Version(seen))]).await;
    }
    assert_due(port, &partition, shard, u64::MAX, &[]).await;
}

async fn a_due_time_can_be_moved_cleared_and_set_again(port: &dyn Port) {
    let partition = fresh_partition(port, "moved");
    let key = Key::new(&partition, "a");
    let shard = key.due_shard();
    let first = committed(port, vec![put_due(&key, Expect::Absent, "due", Some(1_000))]).await;
    assert_due(port, &partition, shard, 1_000, &["a"]).await;
    let second = committed(port, vec![put_due(&key, Expect::Version(first), "later", Some(2_000))]).await;
    assert_due(port, &partition, shard, 1_999, &[]).await;
    assert_due(port, &partition, shard, 2_000, &["a"]).await;
    let third = committed(port, vec![put(&key, Expect::Version(second), "not due")]).await;
    assert_due(port, &partition, shard, u64::MAX, &[]).await;
    let fourth = committed(port, vec![put_due(&key, Expect::Version(third), "due", Some(u64::MAX))]).await;
    assert_due(port, &partition, shard, u64::MAX, &["a"]).await;
    committed(port, vec![delete(&key, Expect::Version(fourth))]).await;
    assert_due(port, &partition, shard, u64::MAX, &[]).await;
}

async fn rescheduling_keeps_the_version_and_makes_nothing(port: &dyn Port) {
    let partition = fresh_partition(port, "rescheduled");
    let (key, missing) = (Key::new(&partition, "a"), Key::new(&partition, "missing"));
    let shard = key.due_shard();
    let version = committed(port, vec![put_due(&key, Expect::Absent, "same", Some(1_000))]).await;
    assert!(port.reschedule(&key, version, Some(5_000)).await.unwrap());
    assert_due(port, &partition, shard, 4_999, &[]).await;
    assert_due(port, &partition, shard, 5_000, &["a"]).await;
    let stored = port.get(&key).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.value.as_slice()), (version, b"same".as_slice()));
    assert!(port.reschedule(&key, version, None).await.unwrap());
    assert_due(port, &partition, shard, u64::MAX, &[]).await;
    assert!(port.reschedule(&key, version, Some(6_000)).await.unwrap(), "what is not due can become so");
    assert_due(port, &partition, shard, 6_000, &["a"]).await;
    let again = committed(port, vec![put_due(&key, Expect::Version(version), "next", Some(9_000))]).await;
    assert_due(port, &partition, shard, 8_999, &[]).await;
    assert_due(port, &partition, shard, 9_000, &["a"]).await;

    assert!(!port.reschedule(&missing, version, Some(5_000)).await.unwrap());
    assert!(!port.reschedule(&missing, version, None).await.unwrap());
    assert_eq!(port.get(&missing).await.unwrap(), None);
    let both = if missing.due_shard() == shard { vec!["a"] } else { vec![] };
    assert_due(port, &partition, missing.due_shard(), u64::MAX, &both).await;
    committed(port, vec![delete(&key, Expect::Version(again))]).await;
}

/// Whoever wrote it meanwhile has set a time of its own, or none.
async fn what_changed_is_not_rescheduled(port: &dyn Port) {
    let partition = fresh_partition(port, "changed");
    let key = Key::new(&partition, "a");
    let shard = key.due_shard();
    let first = committed(port, vec![put_due(&key, Expect::Absent, "open", Some(1_000))]).await;
    let second = committed(port, vec![put(&key, Expect::Version(first), "settled")]).await;
    assert!(!port.reschedule(&key, first, Some(2_000)).await.unwrap());
    assert_due(port, &partition, shard, u64::MAX, &[]).await;
    let third = committed(port, vec![put_due(&key, Expect::Version(second), "open", Some(3_000))]).await;
    assert!(!port.reschedule(&key, second, None).await.unwrap());
    assert_due(port, &partition, shard, u64::MAX, &["a"]).await;
    committed(port, vec![delete(&key, Expect::Version(third))]).await;
    assert!(!port.reschedule(&key, third, Some(4_000)).await.unwrap());
    assert_due(port, &partition, shard, u64::MAX, &[]).await;
}

async fn each_kind_of_key_is_due_in_shards_of_its_own(port: &dyn Port) {
    let name = fresh_partition(port, "kind");
    for (kind, partition) in DueKind::ALL.into_iter().zip(["W", "T", "S"]) {
        let partition = format!("{partition}#{name}");
        for n in 0..u64::from(DUE_SHARDS) {
            let key = Key::new(&partition, format!("{n:02}"));
            committed(port, vec![put_due(&key, Expect::Absent, "due", Some(1_000))]).await;
        }
        let mut found = 0;
        for shard in kind.shards() {
            let sorts = (0..u64::from(DUE_SHARDS)).map(|n| format!("{n:02}"));
            let own: Vec<String> =
                sorts.filter(|sort| Key::new(&partition, sort).due_shard() == shard).collect();
            found += own.len();
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            assert_due(port, &partition, shard, 1_000, &own).await;
        }
        assert_eq!(found, usize::from(DUE_SHARDS), "{kind:?}");
        for n in 0..u64::from(DUE_SHARDS) {
            let key = Key::new(&partition, format!("{n:02}"));
            committed(port, vec![delete(&key, Expect::Any)]).await;
        }
    }
}
