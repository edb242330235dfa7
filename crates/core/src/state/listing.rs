//! `M#` and `R#`: the open markers of tasks, and their listings for workers to claim.
//!
//! Both are written and deleted in the transaction that changes their task, whichever handler that is. A claim also deletes a
//! listing whose task it finds claimed or over.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::{Avoid, ChainName, KeyFamily, ScopeId, Task, TaskId};
use crate::port::{Key, Range};
use crate::transaction::{Item, too_large};

/// There until the task's result is accepted (or the task cancelled).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Marker {
    pub id: TaskId,
    /// As its task does, so that one range shows what may be listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gathers: bool,
}

impl Marker {
    pub fn of(task: &Task) -> Self {
        Self { id: task.id().clone(), gathers: task.gathers() }
    }

    pub fn range(scope: &ScopeId, stage: &str, limit: usize) -> Range {
        KeyFamily::Marker.range(format_args!("{scope}#{stage}"), limit)
    }
}

impl Item for Marker {
    fn key(&self) -> Key {
        self.id.marker_key()
    }
}

/// A task that may be claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    pub id: TaskId,
    pub pool: String,
    pub rank: String,
    pub avoid: Option<Avoid>,
}

impl Listing {
    pub fn of(task: &Task) -> Self {
        Self {
            id: task.id().clone(),
            pool: task.pool().to_owned(),
            rank: task.rank().to_owned(),
            avoid: task.avoid().cloned(),
        }
    }

    /// What lies before a task's listing, or would: the first ones.
    pub fn ahead_of(task: &Task, limit: usize) -> Range {
        let Key { partition, sort } = Self::of(task).key();
        Range { to: Some(sort), ..Range::all(partition, limit) }
    }

    /// Of one rank, from some place in it on: where there are many, claimers that each take another place do not meet.
    pub fn within_rank(pool: &str, chain: &ChainName, rank: &str, place: u64, limit: usize) -> Range {
        Range {
            from: Self::sort(rank, format_args!("{place:016x}")),
            // What follows a `#` in the order of sort keys.
            to: Some(format!("{rank}$")),
            ..Range::all(Self::partition(pool, chain), limit)
        }
    }

    fn sort(rank: &str, place: impl Display) -> String {
        format!("{rank}#{place}")
    }

    /// All pools have one shard until one needs more than about 200 claims a second on DynamoDB.
    pub fn partition(pool: &str, chain: &ChainName) -> String {
        KeyFamily::Listing.partition(format_args!("{pool}#{chain}#0"))
    }
}

impl Item for Listing {
    fn key(&self) -> Key {
        Key::new(Self::partition(&self.pool, &self.id.chain()), Self::sort(&self.rank, self.id.short_hash()))
    }
    fn damage(&self) -> Option<String> {
        too_large([self.avoid.as_ref().map_or(0, |avoid| avoid.until_ms)])
    }
}
