//! A port over a map in memory, and a yard on it that records a pipeline and is read again.
//!
//! This is all that a store must do: give every written item the batch's version, commit all or nothing, keep ranges
//! ordered, and keep an index of due times. A real home also keeps what it acknowledged over a crash.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proofyard_core::Yard;
use proofyard_core::port::{
    Action, Batch, CommitOutcome, Due, Expect, Key, Port, PortError, Range, Stored, Version, Wake,
    async_trait,
};

#[derive(Default)]
struct MemoryPort {
    /// Each item, and when the sweeper must look at it.
    items: RefCell<BTreeMap<Key, (Stored, Option<u64>)>>,
    random: Cell<u64>,
    wakes: RefCell<Vec<Wake>>,
}

impl MemoryPort {
    fn holds(&self, key: &Key, expect: Expect) -> bool {
        let version = self.items.borrow().get(key).map(|(stored, _)| stored.version);
        match expect {
            Expect::Any => true,
            Expect::Absent => version.is_none(),
            Expect::Version(expected) => version == Some(expected),
        }
    }
}

#[async_trait(?Send)]
impl Port for MemoryPort {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }

    fn random(&self) -> u64 {
        // Never the same twice; a real home takes randomness from the system.
        self.random.set(self.random.get() + 1);
        self.random.get()
    }

    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        Ok(self.items.borrow().get(key).map(|(stored, _)| stored.clone()))
    }

    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        let items = self.items.borrow();
        let in_range = items.iter().filter(|(key, _)| {
            key.partition == range.partition
                && key.sort >= range.from
                && range.to.as_ref().is_none_or(|to| key.sort < *to)
        });
        let mut found: Vec<_> =
            in_range.map(|(key, (stored, _))| (key.sort.clone(), stored.clone())).collect();
        if range.reverse {
            found.reverse();
        }
        found.truncate(range.limit);
        Ok(found)
    }

    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        let items = self.items.borrow();
        let in_shard = items.iter().filter(|(key, _)| key.due_shard() == shard);
        let mut found: Vec<Due> = in_shard
            .filter_map(|(key, (_, due_ms))| Some(Due { due_ms: (*due_ms)?, key: key.clone() }))
            .filter(|due| due.due_ms <= until_ms && after.is_none_or(|after| due > after))
            .collect();
        found.sort();
        found.truncate(limit);
        Ok(found)
    }

    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        match self.items.borrow_mut().get_mut(key).filter(|(stored, _)| stored.version == version) {
            Some((_, due)) => {
                *due = due_ms;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        batch.check_shape()?;
        if !batch.ops.iter().all(|op| self.holds(&op.key, op.expect)) {
            return Ok(CommitOutcome::Conflict);
        }
        let mut items = self.items.borrow_mut();
        for op in &batch.ops {
            match &op.action {
                Action::Check => {}
                Action::Put { value, due_ms } => {
                    let stored = Stored { version: batch.version, value: value.clone() };
                    items.insert(op.key.clone(), (stored, *due_ms));
                }
                Action::Delete => _ = items.remove(&op.key),
            }
        }
        Ok(CommitOutcome::Committed)
    }

    async fn send(&self, wakes: &[Wake]) {
        self.wakes.borrow_mut().extend_from_slice(wakes);
    }
}

const PIPELINE: &str = r#"
[chain]
name = "example"
start_height = 1
window = 4

[stage.proof]
strategy = "match"
from = "block"
prover = "zkvm"
pool = "gpu"

[prover.zkvm]
command = ["my-prover"]

[pool.gpu]
slots = 1
"#;

pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let yard = Yard::new(MemoryPort::default());
    now(yard.record_pipeline(PIPELINE))?;
    let frontier = now(yard.frontier(&"example".parse()?))?;
    assert_eq!(frontier.height, 1, "the first block to commit");
    println!("chain example waits for block {}", frontier.height);
    Ok(())
}

/// Runs a handler to its end. Nothing in memory waits, so one poll is enough.
fn now<T>(handler: impl Future<Output = T>) -> T {
    match pin!(handler).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing in memory waits"),
    }
}
