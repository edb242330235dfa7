//! The port in memory: one thread, a strong store, a clock that moves by hand, seeded randomness, wakes kept.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use proofyard_core::port::{
    Action, Batch, CommitOutcome, Due, Expect, Key, Port, PortError, Range, Stored, Version, Wake,
};

pub struct Memory {
    now_ms: Cell<u64>,
    random: Cell<u64>,
    items: RefCell<BTreeMap<Key, (Stored, Option<u64>)>>,
    wakes: RefCell<VecDeque<Wake>>,
}

impl Memory {
    pub fn new(now_ms: u64, seed: u64) -> Self {
        Self {
            now_ms: Cell::new(now_ms),
            random: Cell::new(seed),
            items: RefCell::default(),
            wakes: RefCell::default(),
        }
    }

    pub fn pass(&self, ms: u64) {
        self.now_ms.set(self.now_ms.get() + ms);
    }

    pub fn next_wake(&self) -> Option<Wake> {
        self.wakes.borrow_mut().pop_front()
    }
}

impl Port for Memory {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// SplitMix64.
    fn random(&self) -> u64 {
        self.random.set(self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mixed = (self.random.get() ^ (self.random.get() >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        Ok(self.items.borrow().get(key).map(|(stored, _)| stored.clone()))
    }

    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        let from = Key::new(range.partition.clone(), range.from.clone());
        let items = self.items.borrow();
        let inside =
            |key: &Key| key.partition == range.partition && range.to.as_ref().is_none_or(|to| key.sort < *to);
        let rows = items
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|(key, _)| inside(key))
            .map(|(key, (stored, _))| (key.sort.clone(), stored.clone()));
        if range.reverse {
            let mut rows: Vec<_> = rows.collect();
            rows.reverse();
            rows.truncate(range.limit);
            return Ok(rows);
        }
        Ok(rows.take(range.limit).collect())
    }

    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError> {
        let items = self.items.borrow();
        let mut due: Vec<Due> = items
            .iter()
            .filter(|(key, _)| key.due_shard() == shard)
            .filter_map(|(key, (_, due_ms))| due_ms.map(|due_ms| Due { due_ms, key: key.clone() }))
            .filter(|due| due.due_ms <= until_ms && after.is_none_or(|after| due > after))
            .collect();
        due.sort();
        due.truncate(limit);
        Ok(due)
    }

    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        let mut items = self.items.borrow_mut();
        let found = items.get_mut(key).filter(|(stored, _)| stored.version == version);
        Ok(found.map(|(_, due)| *due = due_ms).is_some())
    }

    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        batch.check_shape()?;
        let mut items = self.items.borrow_mut();
        let holds = |key: &Key, expect: Expect| match (expect, items.get(key)) {
            (Expect::Any, _) | (Expect::Absent, None) => true,
            (Expect::Version(version), Some((stored, _))) => stored.version == version,
            _ => false,
        };
        if !batch.ops.iter().all(|op| holds(&op.key, op.expect)) {
            return Ok(CommitOutcome::Conflict);
        }
        for op in &batch.ops {
            match &op.action {
                Action::Check => {}
                Action::Put { value, due_ms } => {
                    let stored = Stored { version: batch.version, value: value.clone() };
                    items.insert(op.key.clone(), (stored, *due_ms));
                }
                Action::Delete => {
                    items.remove(&op.key);
                }
            }
        }
        Ok(CommitOutcome::Committed)
    }

    async fn send(&self, wakes: &[Wake]) {
        self.wakes.borrow_mut().extend(wakes.iter().cloned());
    }
}
