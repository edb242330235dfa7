//! Ordered keys of one partition.

use proofyard_core::port::{Expect, Key, Port, Range};

use crate::{committed, delete, fresh_partition, put};

/// In byte order, which is neither that of numbers, nor of letters without case, nor of UTF-16.
const SORTS: [&str; 14] =
    [" ", "!", "0", "00", "10", "9", "A", "a", "a\u{1}", "a#", "aa", "b", "\u{ff5e}", "\u{1f600}"];

pub(crate) async fn run(port: &dyn Port) {
    let partition = filled(port).await;
    a_partition_comes_in_byte_order(port, &partition).await;
    bounds_are_from_inclusive_to_exclusive(port, &partition).await;
    the_limit_counts_from_the_ranges_start(port, &partition).await;
    changes_show(port, &partition).await;
    let partition = a_long_range_comes_whole(port).await;
    many_keys_come_in_their_order(port, &partition).await;
}

/// A partition with all the keys, between neighbours that must not show.
async fn filled(port: &dyn Port) -> String {
    let partition = fresh_partition(port, "range");
    let mut shuffled = SORTS;
    shuffled.sort_by_key(|sort| (sort.len() * 7) % 5);
    for sort in shuffled {
        committed(port, vec![put(&Key::new(&partition, sort), Expect::Absent, sort)]).await;
    }
    for neighbour in [format!("{partition}#"), partition[..partition.len() - 1].to_owned()] {
        committed(port, vec![put(&Key::new(neighbour, "a"), Expect::Absent, "neighbour")]).await;
    }
    partition
}

async fn found(port: &dyn Port, range: Range) -> Vec<String> {
    let found = port.range(&range).await.unwrap();
    for (sort, stored) in &found {
        let key = Key::new(&range.partition, sort);
        assert_eq!(
            port.get(&key).await.unwrap().as_ref(),
            Some(stored),
            "{key} differs between range and get"
        );
    }
    found.into_iter().map(|(sort, _)| sort).collect()
}

async fn a_partition_comes_in_byte_order(port: &dyn Port, partition: &str) {
    assert!(SORTS.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()));
    assert_eq!(found(port, Range::all(partition, 100)).await, SORTS);
    let reverse = found(port, Range { reverse: true, ..Range::all(partition, 100) }).await;
    assert!(reverse.iter().eq(SORTS.iter().rev()), "{reverse:?}");
    assert_eq!(found(port, Range::all(format!("{partition}-none"), 100)).await, Vec::<String>::new());
}

async fn bounds_are_from_inclusive_to_exclusive(port: &dyn Port, partition: &str) {
    let edges = ["!", "0", "1", "a", "a#", "a$", "b", "\u{ff5e}", "\u{10ffff}"];
    for from in edges {
        for to in edges.into_iter().map(Some).chain([None]) {
            let within = |sort: &&str| **sort >= *from && to.is_none_or(|to| **sort < *to);
            let expected: Vec<&str> = SORTS.iter().filter(|sort| within(sort)).copied().collect();
            let range =
                Range { from: from.to_owned(), to: to.map(str::to_owned), ..Range::all(partition, 100) };
            assert_eq!(found(port, range.clone()).await, expected, "{range:?}");
            let reverse = found(port, Range { reverse: true, ..range.clone() }).await;
            assert!(reverse.iter().eq(expected.iter().rev()), "{range:?} in reverse: {reverse:?}");
        }
    }
}

async fn the_limit_counts_from_the_ranges_start(port: &dyn Port, partition: &str) {
    let up = Range { from: "0".to_owned(), to: Some("b".to_owned()), ..Range::all(partition, 3) };
    assert_eq!(found(port, up.clone()).await, ["0", "00", "10"]);
    assert_eq!(found(port, Range { reverse: true, ..up.clone() }).await, ["aa", "a#", "a\u{1}"]);
    assert_eq!(found(port, Range { limit: 1, ..up.clone() }).await, ["0"]);
    assert_eq!(found(port, Range { limit: 0, ..up }).await, Vec::<String>::new());
}

async fn changes_show(port: &dyn Port, partition: &str) {
    let key = Key::new(partition, "a");
    let seen = port.get(&key).await.unwrap().unwrap().version;
    committed(port, vec![delete(&key, Expect::Version(seen))]).await;
    let range = Range { from: "A".to_owned(), to: Some("b".to_owned()), ..Range::all(partition, 100) };
    assert_eq!(found(port, range.clone()).await, ["A", "a\u{1}", "a#", "aa"]);
    committed(port, vec![put(&key, Expect::Absent, "again")]).await;
    assert_eq!(found(port, range).await, ["A", "a", "a\u{1}", "a#", "aa"]);
}

/// Longer than one page of DynamoDB's answers (1 MiB).
async fn a_long_range_comes_whole(port: &dyn Port) -> String {
    let partition = fresh_partition(port, "long");
    let sorts: Vec<String> = (0..240).map(|n| format!("{n:04}")).collect();
    for page in sorts.chunks(40) {
        let ops = page.iter().map(|sort| put(&Key::new(&partition, sort), Expect::Absent, vec![b'x'; 6_000]));
        committed(port, ops.collect()).await;
    }
    assert_eq!(found(port, Range::all(&partition, 1_000)).await, sorts);
    assert_eq!(found(port, Range::all(&partition, 200)).await, sorts[..200]);
    partition
}

/// More than one call of DynamoDB takes, some twice, some that are not there.
async fn many_keys_come_in_their_order(port: &dyn Port, partition: &str) {
    let there = (0..240).rev().map(|n| Key::new(partition, format!("{n:04}")));
    let missing = (0..3).map(|n| Key::new(partition, format!("missing {n}")));
    let twice = [Key::new(partition, "0007"), Key::new(partition, "0007")];
    let keys: Vec<Key> =
        missing.chain(there).chain(twice).chain([Key::new("", ""), Key::new(partition, "")]).collect();
    let found = port.get_many(&keys).await.unwrap();
    assert_eq!(found.len(), keys.len());
    for (key, found) in keys.iter().zip(found) {
        let is_there = key.sort.len() == 4;
        assert_eq!(found.is_some(), is_there, "{key}");
        assert_eq!(found, port.get(key).await.unwrap(), "{key}");
    }
    assert_eq!(port.get_many(&[]).await.unwrap(), vec![]);
}
