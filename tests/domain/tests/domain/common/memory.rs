//! The port in memory: a strong store, a clock that moves by hand, seeded randomness, wakes kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use proofyard_core::port::{
    Action, Batch, CommitOutcome, DUE_SHARDS, Due, Expect, Key, Port, PortError, Range, Stored, Version,
    Wake, async_trait,
};

/// Clones are the same store.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<State>>);

struct State {
    now_ms: u64,
    random: u64,
    items: BTreeMap<Key, (Stored, Option<u64>)>,
    due: Vec<BTreeSet<Due>>,
    wakes: VecDeque<Wake>,
}

impl State {
    fn move_due(&mut self, key: &Key, from_ms: Option<u64>, to_ms: Option<u64>) {
        let shard = &mut self.due[usize::from(key.due_shard())];
        if let Some(due_ms) = from_ms {
            shard.remove(&Due { due_ms, key: key.clone() });
        }
        if let Some(due_ms) = to_ms {
            shard.insert(Due { due_ms, key: key.clone() });
        }
    }
}

impl Memory {
    pub fn new(now_ms: u64, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            now_ms,
            random: seed,
            items: BTreeMap::new(),
            due: vec![BTreeSet::new(); usize::from(DUE_SHARDS)],
            wakes: VecDeque::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn pass(&self, ms: u64) {
        self.state().now_ms += ms;
    }

    pub fn keys(&self) -> Vec<Key> {
        self.state().items.keys().cloned().collect()
    }

    pub fn value(&self, key: &Key) -> Vec<u8> {
        self.state().items[key].0.value.clone()
    }

    /// The value that is there becomes another one, behind everybody's back.
    pub fn overwrite(&self, key: &Key, value: Vec<u8>) {
        self.state().items.get_mut(key).unwrap().0.value = value;
    }

    pub fn next_wake(&self) -> Option<Wake> {
        self.state().wakes.pop_front()
    }
}

#[async_trait(?Send)]
impl Port for Memory {
    fn now_ms(&self) -> u64 {
        self.state().now_ms
    }

    /// SplitMix64.
    fn random(&self) -> u64 {
        let state = &mut *self.state();
        state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state.random ^ (state.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        Ok(self.state().items.get(key).map(|(stored, _)| stored.clone()))
    }

    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError> {
        let from = Key::new(range.partition.clone(), range.from.clone());
        let state = self.state();
        let inside =
            |key: &Key| key.partition == range.partition && range.to.as_ref().is_none_or(|to| key.sort < *to);
        let rows = state
            .items
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
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let entries = state.due[usize::from(shard)].range((from, Bound::Unbounded));
        Ok(entries.take_while(|due| due.due_ms <= until_ms).take(limit).cloned().collect())
    }

    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError> {
        let mut state = self.state();
        let Some((_, due)) = state.items.get_mut(key).filter(|(stored, _)| stored.version == version) else {
            return Ok(false);
        };
        let before_ms = std::mem::replace(due, due_ms);
        state.move_due(key, before_ms, due_ms);
        Ok(true)
    }

    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError> {
        batch.check_shape()?;
        let mut state = self.state();
        let holds = |key: &Key, expect: Expect| match (expect, state.items.get(key)) {
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
                    let before = state.items.insert(op.key.clone(), (stored, *due_ms));
                    state.move_due(&op.key, before.and_then(|(_, due_ms)| due_ms), *due_ms);
                }
                Action::Delete => {
                    let before = state.items.remove(&op.key);
                    state.move_due(&op.key, before.and_then(|(_, due_ms)| due_ms), None);
                }
            }
        }
        Ok(CommitOutcome::Committed)
    }

    async fn send(&self, wakes: &[Wake]) {
        self.state().wakes.extend(wakes.iter().cloned());
    }
}
