//! Many callers at once: how they are started is the home's affair, what they must find is here.

use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, Port};

/// A counter that nothing else uses.
pub fn counter_key(port: &dyn Port) -> Key {
    Key::new(crate::fresh_partition(port, "count"), "counter")
}

/// Adds one to the counter `times` times, by reading it and committing on condition that it did not change. Run it
/// from several callers at once, then [`assert_count`] their sum.
pub async fn increment(port: &dyn Port, counter: &Key, times: u64) {
    let mut done = 0;
    while done < times {
        let (expect, count) = read(port, counter).await;
        let value = (count + 1).to_string().into_bytes();
        let action = Action::Put { value, due_ms: None };
        let version = port.random();
        let batch = Batch { version, ops: vec![Op { key: counter.clone(), expect, action }], durable: false };
        match port.commit(&batch).await.unwrap() {
            CommitOutcome::Committed => done += 1,
            CommitOutcome::Conflict => {}
            // Ours if the item has our version. If it has another one, ours may have been there before: the suite
            // needs a store that is not failing.
            CommitOutcome::Unknown => panic!("the outcome of a commit is unknown while nothing fails"),
        }
    }
}

pub async fn assert_count(port: &dyn Port, counter: &Key, expected: u64) {
    let (_, count) = read(port, counter).await;
    assert_eq!(count, expected, "updates of {counter} were lost or made twice");
}

async fn read(port: &dyn Port, counter: &Key) -> (Expect, u64) {
    match port.get(counter).await.unwrap() {
        Some(stored) => {
            let count = String::from_utf8(stored.value).unwrap().parse().unwrap();
            (Expect::Version(stored.version), count)
        }
        None => (Expect::Absent, 0),
    }
}
