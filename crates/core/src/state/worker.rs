//! `W#worker` and `R#pool`: who works, what each slot holds, and which chains a pool serves.
//!
//! A worker's own items are written by `heartbeat`, its slots by `claim` and by whatever ends an attempt, its failures by
//! `record`. Which chains a pool serves is written by a pipeline put in force.

use serde::{Deserialize, Serialize};

use super::{ChainName, KeyFamily, LOOK_NOW_MS, TaskId, WorkerId};
use crate::port::{Key, Range, Version};
use crate::transaction::{Item, too_large};

/// One worker process on one host; its id is new at each start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    pub id: WorkerId,
    pub pool: String,
    pub slots: u32,
    /// No other worker serves its pool, so that preferences between workers mean nothing.
    pub alone: bool,
    pub started_ms: u64,
    pub dead: bool,
    pub failures_in_row: u32,
    pub quarantined_until_ms: Option<u64>,
    /// What keeps its provers from their verifiers, as people read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// What it costs an hour, all its slots together, in millionths of a US dollar, where it knows that of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_microusd_per_hour: Option<u64>,
}

impl Worker {
    pub fn key_of(id: &WorkerId) -> Key {
        KeyFamily::Worker.key(id)
    }
}

impl Item for Worker {
    fn key(&self) -> Key {
        Self::key_of(&self.id)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.started_ms.max(self.quarantined_until_ms.unwrap_or(0))])
    }
}

/// The worker lives, and holds its work for a lease from when this was written. Each one has a new version, and when a
/// sweeper first saw that is what the lease is counted from ([`SeenHeartbeat`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub worker: WorkerId,
    #[serde(default = "Heartbeat::usual_lease_ms")]
    pub lease_ms: u64,
    /// By the clock of the worker's host: says how long before it something else happened there.
    #[serde(default)]
    pub at_ms: u64,
}

impl Heartbeat {
    pub fn key_of(worker: &WorkerId) -> Key {
        KeyFamily::Heartbeat.key(worker)
    }

    /// Of heartbeats of earlier versions, which do not say it.
    fn usual_lease_ms() -> u64 {
        30_000
    }
}

impl Item for Heartbeat {
    fn key(&self) -> Key {
        Self::key_of(&self.worker)
    }
    /// Each sweep looks at each worker.
    fn due_ms(&self) -> Option<u64> {
        Some(LOOK_NOW_MS)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.lease_ms.max(self.at_ms)])
    }
}

/// When a sweeper first saw a worker's newest heartbeat. Sweepers alone write it, by the yard's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenHeartbeat {
    pub worker: WorkerId,
    /// Of the heartbeat's item.
    pub version: Version,
    pub since_ms: u64,
    /// What the heartbeat says, by the worker's clock.
    pub at_ms: u64,
}

impl SeenHeartbeat {
    pub fn key_of(worker: &WorkerId) -> Key {
        KeyFamily::SeenHeartbeat.key(worker)
    }

    /// How long ago, at the yard's `now_ms`, something happened that the worker's clock had at `at_ms`: at least so long,
    /// since the heartbeat was written before it was seen. Each part of it was taken on one host.
    pub fn elapsed_ms(&self, at_ms: u64, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.at_ms).saturating_sub(self.since_ms.saturating_add(at_ms))
    }
}

impl Item for SeenHeartbeat {
    fn key(&self) -> Key {
        Self::key_of(&self.worker)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.since_ms.max(self.at_ms)])
    }
}

/// What one slot of a worker holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    pub worker: WorkerId,
    pub slot: u32,
    pub held: Option<Held>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub task: TaskId,
    pub attempt: u32,
    pub claim: String,
}

impl Slot {
    pub fn key_of(worker: &WorkerId, slot: u32) -> Key {
        KeyFamily::Slot.key_in(worker, format_args!("{slot:04}"))
    }

    pub fn holds(&self, claim: &str) -> bool {
        self.held.as_ref().is_some_and(|held| held.claim == claim)
    }
}

impl Item for Slot {
    fn key(&self) -> Key {
        Self::key_of(&self.worker, self.slot)
    }
}

/// A chain whose tasks a pool runs. Beside the listings of them, which is all that its workers need to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolChain {
    pub pool: String,
    pub chain: ChainName,
    /// Its tasks there are the calls of a stage with an action; absent in older state, until the pipeline is put in force again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acts: Option<bool>,
}

/// Which of a pool's tasks. Two chains may have a pool of one name, of workers in one and of a stage with an action in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolTasks {
    #[default]
    All,
    /// Of stages that prove.
    Proofs,
    /// Of stages with an action.
    Calls,
}

impl PoolChain {
    pub fn range(pool: &str, limit: usize) -> Range {
        KeyFamily::PoolChain.range(pool, limit)
    }
}

impl Item for PoolChain {
    fn key(&self) -> Key {
        KeyFamily::PoolChain.key_in(&self.pool, &self.chain)
    }
}
