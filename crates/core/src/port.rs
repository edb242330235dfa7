//! The port: the only way the domain touches the world.
//!
//! One table of versioned items under (partition, sort) keys, all-or-nothing commits with conditions, an index of
//! `due` times that may be stale, and wakes that may be lost. Clock and randomness come through it too, so that
//! everything above is deterministic. Reads by key are strongly consistent. Ranges are hints: nothing in a commit
//! can depend on what a range did not show.
//!
//! Handlers write through [`crate::transaction::transact`], which reads, lets the handler decide, commits under the versions
//! that were read, and runs again after a conflict. Only that and the sweeper's `reschedule` change an item.
//!
//! Times end in `_ms` and are milliseconds, of the Unix epoch where they say when.
//!
//! Handlers know their port as `dyn Port`, so that they are compiled once for all homes; [`macro@async_trait`] makes its `async`
//! functions fit for that.
//!
//! A port over a map in memory, and a yard on it:
//!
//! ```
#![doc = include_str!("../examples/memory_port.rs")]
//! ```
#![warn(missing_docs)]

/// Of every implementation of [`Port`]: `#[async_trait(?Send)]`.
pub use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Cause;
use crate::state::{ChainName, ScopeId, Table, TaskId};

/// Items that one commit may touch, in every home (DynamoDB allows 100; the rest is headroom).
pub const MAX_BATCH_ITEMS: usize = 80;

/// Shards of the `due` index; a key's shard is [`Key::due_shard`].
pub const DUE_SHARDS: u8 = 16;

/// What the sweeper looks for. Each kind has shards of its own, so that the few entries that free work are seen without
/// reading past those of every open scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DueKind {
    /// Workers whose lease may have ended.
    Worker,
    /// Chains, tasks and sinks.
    Step,
    /// Open blocks and cuts.
    Scope,
}

impl DueKind {
    /// What frees work comes first.
    pub const ALL: [Self; 3] = [Self::Worker, Self::Step, Self::Scope];

    /// The shards of the `due` index that hold entries of this kind.
    pub fn shards(self) -> std::ops::Range<u8> {
        match self {
            Self::Worker => 0..2,
            Self::Step => 2..8,
            Self::Scope => 8..DUE_SHARDS,
        }
    }

    fn of(key: &Key) -> Self {
        match Table::of(key) {
            Some(Table::Worker) => Self::Worker,
            Some(Table::Scope) => Self::Scope,
            _ => Self::Step,
        }
    }
}

/// Where an item lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Items of one partition can be read as a range, such as `T#scope#stage`.
    pub partition: String,
    /// Where in the partition, by the bytes of the text; empty for none.
    pub sort: String,
}

impl Key {
    /// The key with these two parts.
    pub fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { partition: partition.into(), sort: sort.into() }
    }

    /// The shard of the `due` index that this key belongs to: one of its kind's, by FNV-1a over partition, NUL and sort.
    pub fn due_shard(&self) -> u8 {
        let bytes = self.partition.bytes().chain([0]).chain(self.sort.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let shards = DueKind::of(self).shards();
        shards.start + (hash % u64::from(shards.end - shards.start)) as u8
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", self.partition, self.sort)
    }
}

/// The id of the transaction that last wrote an item. Ids are random, so that an item that was deleted and written
/// again is never taken for the one that was seen before.
pub type Version = u64;

/// An item as stored: JSON text under a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Of the batch that wrote it.
    pub version: Version,
    /// JSON in UTF-8. The port does not look into it.
    pub value: Vec<u8>,
}

/// Keys of one partition with `from <= sort < to`, in ascending order, or descending when `reverse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The one partition that is read.
    pub partition: String,
    /// Inclusive; the empty text is the partition's beginning.
    pub from: String,
    /// Exclusive; `None` is the partition's end.
    pub to: Option<String>,
    /// The most items that are answered. Fewer mean that the range has no more.
    pub limit: usize,
    /// From the end of the range to its beginning.
    pub reverse: bool,
}

impl Range {
    /// The first `limit` items of a partition.
    pub fn all(partition: impl Into<String>, limit: usize) -> Self {
        Self { partition: partition.into(), from: String::new(), to: None, limit, reverse: false }
    }
}

/// An entry of the `due` index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When the sweeper must look, in milliseconds of the Unix epoch by the yard's clock.
    pub due_ms: u64,
    /// The item that it must look at.
    pub key: Key,
}

/// What must be true of an item for the commit to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is asked of it: another item of the same batch guards it.
    Any,
    /// No item has the key.
    Absent,
    /// The item is still as it was when this version of it was read.
    Version(Version),
}

/// What happens to an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing; only the expectation counts.
    Check,
    /// Written, with the time at which the sweeper must look at it, if any.
    Put {
        /// JSON in UTF-8.
        value: Vec<u8>,
        /// In milliseconds of the Unix epoch; `None` takes the item out of the `due` index.
        due_ms: Option<u64>,
    },
    /// Removed, with its entry in the `due` index.
    Delete,
}

/// One item of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Which item.
    pub key: Key,
    /// The condition on it.
    pub expect: Expect,
    /// What happens to it if all conditions of the batch hold.
    pub action: Action,
}

/// All or nothing: either every expectation holds and every action happens, or nothing does. Each key is named at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The version that every written item gets.
    pub version: Version,
    /// At most [`MAX_BATCH_ITEMS`], each of another key.
    pub ops: Vec<Op>,
    /// The outside is notified of this next: it must be on disk when the commit returns. Others may read it before.
    pub durable: bool,
}

impl Batch {
    /// Refuses what no home takes: too many items, or a key that is named twice, which stores answer differently.
    pub fn check_shape(&self) -> Result<(), PortError> {
        if self.ops.len() > MAX_BATCH_ITEMS {
            let found = self.ops.len();
            let reason = format!("a commit of {found} items; {MAX_BATCH_ITEMS} are the most");
            return Err(PortError::Broken(reason.into()));
        }
        let mut keys: Vec<&Key> = self.ops.iter().map(|op| &op.key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(PortError::Broken(format!("a commit names {} twice", pair[0]).into())),
            None => Ok(()),
        }
    }
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// All of it happened.
    Committed,
    /// An expectation did not hold; nothing happened.
    Conflict,
    /// It may or may not have happened (a timeout, a lost answer).
    Unknown,
}

/// A hint that something may be ready to advance. Losing one costs only time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wake {
    /// A chain: its frontier may move, or blocks may be opened.
    Chain {
        /// Its name.
        chain: ChainName,
    },
    /// A block or a cut: a stage of it may start, or it may be proved.
    Scope {
        /// Its id, as text.
        scope: ScopeId,
    },
    /// Idle workers of a pool: a task may be listed.
    Pool {
        /// Its name.
        pool: String,
    },
    /// A sink: an entry may be handed on.
    Sink {
        /// Whose sink.
        chain: ChainName,
        /// Its name in the chain's pipeline.
        sink: String,
    },
    /// The judge, to look at what this task says was accepted.
    Judge {
        /// The task whose result is handed on.
        task: TaskId,
    },
}

/// Why a call had no answer. A commit whose outcome is not known is no error, but [`CommitOutcome::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The same call may succeed later: throttled, disconnected, disk full; on AWS also what somebody has to mend for all
    /// calls alike, such as a permission.
    #[error("storage is not available")]
    Unavailable(#[source] Cause),
    /// This very call fails as often as it is made: a damaged or newer database or item, a request that is refused as such.
    #[error("storage cannot be used")]
    Broken(#[source] Cause),
}

/// Storage, wakes, clock and randomness of one home.
///
/// Futures need not be `Send`: a home runs each handler on one thread.
#[async_trait(?Send)]
pub trait Port {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Whether that is the yard's own clock: of its machine, or of its functions, which AWS keeps. A worker on a host of its
    /// own has another one, and no time that it wrote is compared with the yard's.
    fn has_yards_clock(&self) -> bool {
        true
    }
    /// 64 random bits, for versions and ids: never the same twice, in any process of the yard.
    fn random(&self) -> u64;
    /// What a home remembers of its reads is forgotten: the next ones see what others have committed meanwhile. Says whether
    /// there was anything.
    fn forget_reads(&self) -> bool {
        false
    }
    /// The item as the last commit left it; `None` if there is none.
    ///
    /// # Errors
    /// Every call of a port fails with [`PortError::Unavailable`] where trying again may help, and with
    /// [`PortError::Broken`] where it does not.
    async fn get(&self, key: &Key) -> Result<Option<Stored>, PortError>;
    /// The same keys' items, in their order; each as it was at some moment of the call. Where reads are far away this is
    /// one round, or a few for hundreds of keys.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, PortError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }
    /// The sort keys and items of a range, in its order. May lack items of commits that just happened, or hold others that
    /// are gone: a hint.
    async fn range(&self, range: &Range) -> Result<Vec<(String, Stored)>, PortError>;
    /// Entries of one shard whose due time is at or before `until_ms`, soonest first; with `after`, those that
    /// follow an entry of an earlier answer. May be stale either way.
    async fn due(
        &self,
        shard: u8,
        after: Option<&Due>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<Due>, PortError>;
    /// Moves the due time of an item that is still at this version, or takes it away, without a new version; says
    /// whether it was. Whoever wrote the item meanwhile has set a time of its own.
    async fn reschedule(&self, key: &Key, version: Version, due_ms: Option<u64>) -> Result<bool, PortError>;
    /// All or nothing: if every expectation holds, every action happens under the batch's version. Synced to the disk when
    /// it returns, if the batch is durable.
    async fn commit(&self, batch: &Batch) -> Result<CommitOutcome, PortError>;
    /// All that could be read before this call is on disk when it returns. For who notifies the outside of what it has read,
    /// which another may have written and not yet synced. Where every commit is on disk before it can be read, this is nothing.
    async fn sync(&self) -> Result<(), PortError> {
        Ok(())
    }
    /// After the `tries`-th try of a transaction that was not committed, before the next: where writers are far apart,
    /// they must not meet again at once.
    async fn step_aside(&self, tries: u32) {
        let _ = tries;
    }
    /// After the commit; may be lost, repeated, delayed, reordered.
    async fn send(&self, wakes: &[Wake]);
}
