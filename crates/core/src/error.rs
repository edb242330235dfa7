//! What a handler may answer instead of its result.

use crate::pipeline::MAX_HEIGHT;
use crate::port::{Key, PortError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Port(#[from] PortError),
    /// An item cannot be read as what its key says.
    #[error("the stored item {key} cannot be read: {reason}")]
    Damaged { key: Key, reason: String },
    /// Others kept changing the same items; the same call may succeed later.
    #[error("{tries} tries in a row met a conflict; try again")]
    Contended { tries: u32 },
    /// The request itself cannot be carried out.
    #[error("{0}")]
    Refused(Refusal),
    /// The worker was declared dead; it must start again under a new id.
    #[error("worker {worker} was declared dead; it must start again under a new id")]
    WorkerDead { worker: String },
}

/// Why a request cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("chain {0} is not known here; run a pipeline that names it first")]
    UnknownChain(String),
    #[error("height {height} is below the chain's start height {start_height}")]
    BelowStart { height: u64, start_height: u64 },
    #[error("height {height} is above {MAX_HEIGHT}, to which no chain comes; look at what sent it")]
    AboveLimit { height: u64 },
    #[error("block {height} {hash} is not known; send it before naming it")]
    UnknownBlock { height: u64, hash: String },
    #[error("the branches meet more than {limit} blocks back; raise the limit only after a look at the node")]
    ReorgTooDeep { limit: u64 },
    #[error("there is no canonical block at height {0}")]
    NoBlock(u64),
    #[error("task {0} is not known")]
    UnknownTask(String),
    #[error("the stored pipeline {hash} cannot be used: {reason}")]
    BadPipeline { hash: String, reason: String },
    #[error(
        "chain {chain} starts at height {recorded}, and the pipeline file now says {given}; use another data directory"
    )]
    StartHeightChanged { chain: String, recorded: u64, given: u64 },
    #[error(
        "[pool.{pool}] is gone from the pipeline file, and stage {stage} of {what}, which was opened with it, is not over; \
         keep the pool declared until that is done (`proofyard explain {height}` says what it waits for), or have it opened \
         again: `proofyard pause`, `proofyard redo {height}`, then the new pipeline, and `proofyard resume`"
    )]
    PoolInUse { pool: String, stage: String, what: String, height: u64 },
    #[error(
        "[stage.{stage}] of chain {chain} {was}, and the pipeline file now {now}; what is in work could not go on: keep it \
         so, or use another data directory (another yard) for the new pipeline"
    )]
    CutsChanged { chain: String, stage: String, was: &'static str, now: &'static str },
    #[error(
        "sink {sink} has not got {behind} entries of the log of {log} yet, and the pipeline file takes it away from there; \
         keep it until it has them (`proofyard status`), or give them up: `--give-up-sink {sink}`"
    )]
    SinkBehind { sink: String, log: String, behind: u64 },
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Whether the same call may succeed later though nobody mends anything about it: a message that met it is kept.
    pub fn passes(&self) -> bool {
        match self {
            Self::Port(PortError::Unavailable(_)) | Self::Contended { .. } => true,
            Self::Port(PortError::Broken(_))
            | Self::Damaged { .. }
            | Self::Refused(_)
            | Self::WorkerDead { .. } => false,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
