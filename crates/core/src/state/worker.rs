//! `W#worker` and `R#pool`: who works, what each slot holds, and which chains a pool serves.

use serde::{Deserialize, Serialize};

use super::TaskId;
use crate::port::{Key, Range};
use crate::transaction::Item;

/// One worker process on one host; its id is new at each start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    pub id: String,
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
}

impl Worker {
    pub fn key_of(id: &str) -> Key {
        Key::new(format!("W#{id}"), "w")
    }
}

impl Item for Worker {
    fn key(&self) -> Key {
        Self::key_of(&self.id)
    }
}

/// The worker's lease on all it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub worker: String,
    pub until_ms: u64,
}

impl Heartbeat {
    pub fn key_of(worker: &str) -> Key {
        Key::new(format!("W#{worker}"), "hb")
    }
}

impl Item for Heartbeat {
    fn key(&self) -> Key {
        Self::key_of(&self.worker)
    }
    fn due_ms(&self) -> Option<u64> {
        Some(self.until_ms)
    }
}

/// What one slot of a worker holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    pub worker: String,
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
    pub fn key_of(worker: &str, slot: u32) -> Key {
        Key::new(format!("W#{worker}"), format!("slot#{slot:04}"))
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
    pub chain: String,
}

impl PoolChain {
    pub fn range(pool: &str, limit: usize) -> Range {
        Range::all(format!("R#{pool}"), limit)
    }
}

impl Item for PoolChain {
    fn key(&self) -> Key {
        Key::new(format!("R#{}", self.pool), self.chain.clone())
    }
}
