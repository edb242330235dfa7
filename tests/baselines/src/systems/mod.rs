//! The systems, a file each.

mod nats;
mod postgresql;
mod redis;

use std::path::Path;

use crate::programs::{Process, Programs};
use crate::{BaselineError, Queue};

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Nats,
    NatsSynced,
    PostgreSql,
    Redis,
}

impl System {
    pub const ALL: [Self; 4] = [Self::Nats, Self::NatsSynced, Self::PostgreSql, Self::Redis];

    /// The same in every version.
    pub fn id(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::NatsSynced => "nats-synced",
            Self::PostgreSql => "postgresql",
            Self::Redis => "redis",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nats => "NATS JetStream",
            Self::NatsSynced => "NATS JetStream, synced",
            Self::PostgreSql => "PostgreSQL",
            Self::Redis => "Redis streams",
        }
    }

    /// What an acknowledgement of it means.
    pub fn durability(self) -> &'static str {
        match self {
            Self::Nats => {
                "not durable: a file store that is written at once and synced every 2 minutes, as by default; a power \
                 loss takes what was acknowledged since"
            }
            Self::NatsSynced => {
                "durable: a file store that is synced before each acknowledgement (sync_interval: always)"
            }
            Self::PostgreSql => {
                "durable: the log is synced before each acknowledgement (fsync and synchronous_commit on)"
            }
            Self::Redis => {
                "durable: the log is synced before each acknowledgement (appendonly yes, appendfsync always)"
            }
        }
    }

    /// What is done for a task.
    pub fn task(self) -> &'static str {
        match self {
            Self::Nats | Self::NatsSynced => {
                "pull one message of a work queue; put its result in a key-value bucket; count it in its block's key, by \
                 revision; publish the join when it was the last; acknowledge, and wait for the server's answer"
            }
            Self::PostgreSql => {
                "take one row with FOR UPDATE SKIP LOCKED and mark it running; in one transaction mark it done with its \
                 result, take one from what the join waits for, and list the join when it was the last, with NOTIFY"
            }
            Self::Redis => {
                "XREADGROUP one entry; in one script HSET its result, HLEN, XADD the join when it was the last, XACK and \
                 XDEL"
            }
        }
    }

    /// Starts its server in an empty folder, for so many workers.
    pub(crate) fn start(
        self,
        programs: &Programs,
        folder: &Path,
        workers: u32,
        stop: &dyn Fn() -> bool,
    ) -> Result<Box<dyn Server>, BaselineError> {
        Ok(match self {
            Self::Nats => Box::new(nats::Nats::start(programs, folder, false, stop)?),
            Self::NatsSynced => Box::new(nats::Nats::start(programs, folder, true, stop)?),
            Self::PostgreSql => Box::new(postgresql::PostgreSql::start(programs, folder, workers, stop)?),
            Self::Redis => Box::new(redis::Redis::start(programs, folder, stop)?),
        })
    }
}

/// One that runs, on the loopback interface. It ends, and waits for its end, when it is dropped.
pub(crate) trait Server {
    fn version(&self) -> &str;

    fn process(&self) -> &Process;

    fn connect(&self) -> Result<Box<dyn Queue>, BaselineError>;
}
