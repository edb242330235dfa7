//! `Y#sweep`: where the sweeper goes on, when a sweep had no time for all that was due.
//! Sweeps alone write it.

use serde::{Deserialize, Serialize};

use super::KeyFamily;
use crate::port::{Due, DueKind, Key};
use crate::transaction::Item;

/// Written once a sweep, and only where it changed: a sweep that gets through leaves no place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepPlace {
    pub workers: KindPlace,
    pub steps: KindPlace,
    pub scopes: KindPlace,
}

/// How far the sweeper has come in the shards of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KindPlace {
    /// The last entry that was visited; `None`: a new round begins with the first shard.
    pub after: Option<VisitedEntry>,
    /// What came due after the round began is for the next one: else a shard whose entries come due again sooner than it is
    /// gone through would never end.
    #[serde(default)]
    pub until_ms: u64,
    /// All that was due of this kind was visited since the round began.
    pub went_round: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VisitedEntry {
    pub shard: u8,
    pub due_ms: u64,
    pub partition: String,
    pub sort: String,
}

impl VisitedEntry {
    pub fn new(shard: u8, due: &Due) -> Self {
        let Key { partition, sort } = due.key.clone();
        Self { shard, due_ms: due.due_ms, partition, sort }
    }
    pub fn due(&self) -> Due {
        Due { due_ms: self.due_ms, key: Key::new(&self.partition, &self.sort) }
    }
}

impl SweepPlace {
    pub fn key() -> Key {
        KeyFamily::SweepPlace.key("")
    }

    pub fn of(&mut self, kind: DueKind) -> &mut KindPlace {
        match kind {
            DueKind::Worker => &mut self.workers,
            DueKind::Step => &mut self.steps,
            DueKind::Scope => &mut self.scopes,
        }
    }

    pub fn went_round(&self) -> bool {
        [&self.workers, &self.steps, &self.scopes].iter().all(|kind| kind.went_round)
    }
}

impl Item for SweepPlace {
    fn key(&self) -> Key {
        Self::key()
    }
}
