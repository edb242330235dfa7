//! The index of due times, which lags behind the items.

use std::collections::{BTreeMap, BTreeSet};

use proofyard_core::port::{DUE_SHARDS, Due, Key};

/// The index of due times: eventually consistent, and for each key in the order of its writes.
#[derive(Debug)]
pub struct DueIndex {
    shards: [BTreeSet<Due>; DUE_SHARDS as usize],
    shown: BTreeMap<Key, u64>,
    /// Changes that do not show yet, by the time from which they do.
    coming: BTreeMap<(u64, u64), (Key, Option<u64>)>,
    /// The last change of a key that is still coming.
    last_change_ms: BTreeMap<Key, u64>,
    order: u64,
}

impl Default for DueIndex {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| BTreeSet::new()),
            shown: BTreeMap::new(),
            coming: BTreeMap::new(),
            last_change_ms: BTreeMap::new(),
            order: 0,
        }
    }
}

impl DueIndex {
    pub fn set(&mut self, key: &Key, due_ms: Option<u64>, seen_from_ms: u64) {
        self.order += 1;
        let last_ms = self.last_change_ms.entry(key.clone()).or_default();
        *last_ms = seen_from_ms.max(*last_ms);
        self.coming.insert((*last_ms, self.order), (key.clone(), due_ms));
    }

    /// Whether a key's latest due time shows.
    pub fn is_up_to_date(&self, key: &Key, now_ms: u64) -> bool {
        self.last_change_ms.get(key).is_none_or(|seen_from_ms| *seen_from_ms <= now_ms)
    }

    /// A page of one shard as it shows now: what is due by `until_ms`, soonest first.
    pub fn page(
        &mut self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
        now_ms: u64,
    ) -> Vec<Due> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.catch_up(now_ms);
        self.shards[usize::from(shard % DUE_SHARDS)]
            .range((after.map_or(Unbounded, Excluded), Unbounded))
            .take_while(|due| due.due_ms <= until_ms)
            .take(limit)
            .cloned()
            .collect()
    }

    /// Shows the changes whose time has come.
    fn catch_up(&mut self, now_ms: u64) {
        while let Some(entry) = self.coming.first_entry() {
            let (seen_from_ms, _) = *entry.key();
            if seen_from_ms > now_ms {
                break;
            }
            let (key, due_ms) = entry.remove();
            if self.last_change_ms.get(&key) == Some(&seen_from_ms) {
                self.last_change_ms.remove(&key);
            }
            let shard = &mut self.shards[usize::from(key.due_shard())];
            if let Some(shown_ms) = self.shown.remove(&key) {
                shard.remove(&Due { due_ms: shown_ms, key: key.clone() });
            }
            if let Some(due_ms) = due_ms {
                shard.insert(Due { due_ms, key: key.clone() });
                self.shown.insert(key, due_ms);
            }
        }
    }
}
