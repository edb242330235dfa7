//! The true state: versioned items, a `due` index that lags behind them, and a journal of what was written, which the
//! checker reads without faults. What handlers are shown of it is decided in `port.rs`.

use std::rc::Rc;

use proofyard_core::port::{Action, Batch, Due, Key, Range, Stored, Version};
pub use proofyard_memory_store::Row;
use proofyard_memory_store::{DueIndex, Items};

/// One item that a commit changed.
#[derive(Clone, Debug)]
pub struct Change {
    pub key: Key,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// Who makes a call: a future of the executor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub future: u64,
    /// What it does.
    pub name: &'static str,
}

/// What a commit changed, or what a power loss took back.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Counted from 1.
    pub number: u64,
    pub by: Caller,
    pub changes: Rc<[Change]>,
    /// A power loss took it back: `changes` lead from what it had written to what was before.
    pub is_lost: bool,
}

#[derive(Debug, Default)]
pub struct Table {
    items: Items,
    due: DueIndex,
    journal: Vec<Commit>,
    /// Commits that no sync has covered, oldest first: a power loss may take the latest of them back. Others see them already.
    losable: Vec<Commit>,
    commits: u64,
}

impl Table {
    pub fn get(&self, key: &Key) -> Option<&Row> {
        self.items.get(key)
    }

    pub fn rows(&self) -> impl Iterator<Item = (&String, &String, &Row)> {
        self.items.rows()
    }

    /// The next few items of a range, after `after` if that is given: one chunk of what a handler reads.
    pub fn chunk(&self, range: &Range, after: Option<&str>, limit: usize) -> Vec<(String, Stored)> {
        self.items.chunk(range, after, limit)
    }

    /// Whether every expectation holds.
    pub fn allows(&self, batch: &Batch) -> bool {
        self.items.allows(batch)
    }

    /// What is wrong with a batch that no home would accept, whatever is stored.
    pub fn malformed(batch: &Batch) -> Option<String> {
        if batch.ops.is_empty() {
            return Some("a batch of no items".to_owned());
        }
        if let Err(refused) = batch.check_shape() {
            return Some(refused.to_string());
        }
        batch.ops.iter().find_map(|op| {
            let value_bytes = match &op.action {
                Action::Put { value, .. } => value.len(),
                _ => 0,
            };
            let is_too_large =
                value_bytes > 380_000 || op.key.sort.len() > 1_024 || op.key.partition.len() > 2_048;
            let is_unnamed = op.key.sort.is_empty() || op.key.partition.is_empty();
            (is_too_large || is_unnamed).then(|| format!("{} is no item: {value_bytes} bytes", op.key))
        })
    }

    /// Applies a batch that `allows` has allowed. The due index shows it `lag_ms` later.
    pub fn apply(&mut self, batch: &Batch, by: Caller, now_ms: u64, mut lag_ms: impl FnMut() -> u64) {
        let mut changes = Vec::new();
        for op in &batch.ops {
            let after = match &op.action {
                Action::Check => continue,
                Action::Put { value, due_ms } => {
                    Some(Row { version: batch.version, value: value.as_slice().into(), due_ms: *due_ms })
                }
                Action::Delete => None,
            };
            let due_ms = after.as_ref().and_then(|row| row.due_ms);
            let before = self.items.write(&op.key, after.clone());
            if before.as_ref().and_then(|row| row.due_ms) != due_ms {
                self.due.set(&op.key, due_ms, now_ms + lag_ms());
            }
            changes.push(Change { key: op.key.clone(), before, after });
        }
        self.commits += 1;
        let commit = Commit { number: self.commits, by, changes: changes.into(), is_lost: false };
        self.losable.push(commit.clone());
        self.journal.push(commit);
    }

    /// The first `commits` commits are on disk.
    pub fn sync(&mut self, commits: u64) {
        self.losable.retain(|commit| commit.number > commits);
    }

    /// Whether a power loss could still take this item away.
    pub fn may_lose(&self, key: &Key) -> bool {
        let mut changes = self.losable.iter().flat_map(|commit| commit.changes.iter());
        changes.any(|change| change.key == *key && change.before.is_none())
    }

    /// What this caller changed since there were so many commits, and a power loss could still take back.
    pub fn losable_by(&self, by: Caller, since: u64) -> impl Iterator<Item = &Change> {
        let is_such = move |commit: &&Commit| commit.by == by && commit.number > since;
        self.losable.iter().filter(is_such).flat_map(|commit| commit.changes.iter())
    }

    /// Whether the first `commits` commits are on disk.
    pub fn is_synced(&self, commits: u64) -> bool {
        self.losable.iter().all(|commit| commit.number > commits)
    }

    /// How many commits there were, and changes of due times.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    pub fn losable_commits(&self) -> usize {
        self.losable.len()
    }

    /// The power goes: of what was written since the last sync, only the first `kept` are on disk.
    pub fn lose_power(&mut self, kept: usize, now_ms: u64) {
        for commit in self.losable.split_off(kept.min(self.losable.len())).into_iter().rev() {
            let mut changes = Vec::new();
            for Change { key, before, after } in commit.changes.iter().rev().cloned() {
                self.items.write(&key, before.clone());
                self.due.set(&key, before.as_ref().and_then(|row| row.due_ms), now_ms);
                changes.push(Change { key, before: after, after: before });
            }
            self.journal.push(Commit {
                number: commit.number,
                by: commit.by,
                changes: changes.into(),
                is_lost: true,
            });
        }
        self.losable.clear();
    }

    pub fn reschedule(
        &mut self,
        key: &Key,
        version: Version,
        by: Caller,
        due_ms: Option<u64>,
        seen_from_ms: u64,
    ) -> bool {
        let Some(row) = self.items.get_mut(key).filter(|row| row.version == version) else { return false };
        let before = Some(row.clone());
        row.due_ms = due_ms;
        let changes = [Change { key: key.clone(), before, after: Some(row.clone()) }];
        self.commits += 1;
        self.losable.push(Commit { number: self.commits, by, changes: changes.into(), is_lost: false });
        self.due.set(key, due_ms, seen_from_ms);
        true
    }

    /// Every due time, also those that the index does not show yet.
    pub fn all_due(&self) -> impl Iterator<Item = (&String, &String, u64)> {
        self.rows().filter_map(|(partition, sort, row)| Some((partition, sort, row.due_ms?)))
    }

    /// Whether the index shows a key's latest due time.
    pub fn is_shown(&self, key: &Key, now_ms: u64) -> bool {
        self.due.is_up_to_date(key, now_ms)
    }

    /// A page of the due index, as it shows now.
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

    /// What each commit changed since this was last asked.
    pub fn take_journal(&mut self) -> Vec<Commit> {
        std::mem::take(&mut self.journal)
    }
}
