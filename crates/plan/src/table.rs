//! The table: what is stored, and what is due.

use proofyard_core::port::{Action, Batch, CommitOutcome, Due, Key, Range, Stored, Version};
use proofyard_memory_store::{DueIndex, Items, Row};

#[derive(Default)]
pub(crate) struct Table {
    items: Items,
    due: DueIndex,
}

impl Table {
    pub fn get(&self, key: &Key) -> Option<Stored> {
        self.items.get(key).map(Row::stored)
    }

    pub fn range(&self, range: &Range) -> Vec<(String, Stored)> {
        self.items.chunk(range, None, range.limit)
    }

    /// Whether nothing lies in a range.
    pub fn is_empty(&self, range: &Range) -> bool {
        self.items.chunk(range, None, 1).is_empty()
    }

    pub fn commit(&mut self, batch: &Batch, now_ms: u64) -> CommitOutcome {
        if !self.items.allows(batch) {
            return CommitOutcome::Conflict;
        }
        for op in &batch.ops {
            let row = match &op.action {
                Action::Check => continue,
                Action::Delete => None,
                Action::Put { value, due_ms } => {
                    Some(Row { version: batch.version, value: value.as_slice().into(), due_ms: *due_ms })
                }
            };
            let due_ms = row.as_ref().and_then(|row| row.due_ms);
            let before = self.items.write(&op.key, row);
            if before.and_then(|row| row.due_ms) != due_ms {
                self.due.set(&op.key, due_ms, now_ms);
            }
        }
        CommitOutcome::Committed
    }

    pub fn reschedule(&mut self, key: &Key, version: Version, due_ms: Option<u64>, now_ms: u64) -> bool {
        let Some(row) = self.items.get_mut(key).filter(|row| row.version == version) else { return false };
        row.due_ms = due_ms;
        self.due.set(key, due_ms, now_ms);
        true
    }

    pub fn due(
        &mut self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
        now_ms: u64,
    ) -> Vec<Due> {
        self.due.page(shard, after, until_ms, limit, now_ms)
    }
}
