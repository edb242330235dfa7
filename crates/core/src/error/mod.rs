//! What a handler may answer instead of its result, and how every error of Proofyard is told: its code, its message, and
//! what lies under it.

mod causes;
mod code;
mod diagnostic;

pub use causes::{Cause, WithCauses, because, messages, with_causes};
pub use code::{Code, Coded, RETIRED, UnknownCode};
pub use diagnostic::Diagnostic;

use crate::pipeline::MAX_HEIGHT;
use crate::port::{Key, PortError};
use crate::state::{BadChainName, BadTaskId, BlockHash, ChainName, PipelineHash};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Port(#[from] PortError),
    /// An item cannot be read as what its key says.
    #[error("the stored item {key} cannot be read")]
    Damaged { key: Key, source: Cause },
    /// Others kept changing the same items; the same call may succeed later.
    #[error("{tries} tries in a row met a conflict; try again")]
    Contended { tries: u32 },
    /// The request itself cannot be carried out.
    #[error(transparent)]
    Refused(#[from] Refusal),
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
    UnknownBlock { height: u64, hash: BlockHash },
    #[error("the branches meet more than {limit} blocks back; raise the limit only after a look at the node")]
    ReorgTooDeep { limit: u64 },
    #[error("there is no canonical block at height {0}")]
    NoBlock(u64),
    #[error("task {0} is not known")]
    UnknownTask(String),
    #[error("the stored pipeline {hash} cannot be used: {reason}")]
    BadPipeline { hash: PipelineHash, reason: String },
    #[error(
        "chain {chain} starts at height {recorded}, and the pipeline file now says {given}; use another data directory"
    )]
    StartHeightChanged { chain: ChainName, recorded: u64, given: u64 },
    #[error(
        "[pool.{pool}] is gone from the pipeline file, or is another kind there (of workers, or of a stage's action), and stage \
         {stage} of {what}, which was opened with it, is not over; keep the pool as it was until that is done (`proofyard explain {height}` says what it waits for), or have it opened \
         again: `proofyard pause`, `proofyard redo {height}`, then the new pipeline, and `proofyard resume`"
    )]
    PoolInUse { pool: String, stage: String, what: String, height: u64 },
    #[error(
        "[stage.{stage}] of chain {chain} {was}, and the pipeline file now {now}; what is in work could not go on: keep it \
         so, or use another data directory (another yard) for the new pipeline"
    )]
    CutsChanged { chain: ChainName, stage: String, was: &'static str, now: &'static str },
    #[error(
        "sink {sink} has not got {behind} entries of the log of {log} yet, and the pipeline file takes it away from there; \
         keep it until it has them (`proofyard status`), or give them up: `--give-up-sink {sink}`"
    )]
    SinkBehind { sink: String, log: String, behind: u64 },
    #[error(transparent)]
    BadTaskId(#[from] BadTaskId),
    #[error("task {task} is of chain {of}, not of {chain}")]
    TaskOfOtherChain { task: String, of: ChainName, chain: ChainName },
    #[error("a height or a task is retried, not both")]
    HeightAndTask,
    #[error(
        "chain {chain} is paused, and it is halted: say which of them ends, `proofyard resume --pause` or `proofyard resume \
         --halt`"
    )]
    WhichHold { chain: ChainName },
    #[error("the window must be at least {least}, or the next commit could never be reached")]
    WindowTooSmall { least: u64 },
    #[error("chain {chain} has no sink {sink}")]
    UnknownSink { chain: ChainName, sink: String },
    #[error("the log of {log} has no entry {sequence}")]
    NoEntry { log: String, sequence: u64 },
    #[error(
        "sink {sink} waits with entry {next}, not with {sequence}; only the entry that it waits with is skipped"
    )]
    SkipsAnother { sink: String, sequence: u64, next: u64 },
    #[error(
        "sink {sink} has got only what is before entry {next}, so nothing from {from} on can be handed on again"
    )]
    NotYetHandedOn { sink: String, from: u64, next: u64 },
    #[error(
        "sink {sink} is told how far each block is, and reads no log: it is paused and resumed, and has no entries to skip or \
         to hand on again"
    )]
    LevelSink { sink: String },
    #[error("a worker has from 1 to {most} slots, not {slots}")]
    BadSlotCount { slots: u32, most: u32 },
    #[error("a result of {task}: {fault}")]
    OversizedResult { task: String, fault: String },
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

/// There is no chain that could not be called so.
impl From<BadChainName> for Refusal {
    fn from(BadChainName(text): BadChainName) -> Self {
        Self::UnknownChain(text)
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Port(error) => error.code(),
            Self::Damaged { .. } => Code::DamagedItem,
            Self::Contended { .. } => Code::Contended,
            Self::Refused(refusal) => refusal.code(),
            Self::WorkerDead { .. } => Code::WorkerDead,
        }
    }
}

impl Coded for PortError {
    fn code(&self) -> Code {
        match self {
            Self::Unavailable(_) => Code::StorageUnavailable,
            Self::Broken(_) => Code::StorageBroken,
        }
    }
}

impl Coded for BadTaskId {
    fn code(&self) -> Code {
        Code::BadTaskId
    }
}

impl Coded for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::UnknownChain(_) => Code::UnknownChain,
            Self::BelowStart { .. } => Code::BelowStart,
            Self::AboveLimit { .. } => Code::AboveLimit,
            Self::UnknownBlock { .. } => Code::UnknownBlock,
            Self::ReorgTooDeep { .. } => Code::ReorgTooDeep,
            Self::NoBlock(_) => Code::NoBlock,
            Self::UnknownTask(_) => Code::UnknownTask,
            Self::BadPipeline { .. } => Code::BadStoredPipeline,
            Self::StartHeightChanged { .. } => Code::StartHeightChanged,
            Self::PoolInUse { .. } => Code::PoolInUse,
            Self::CutsChanged { .. } => Code::CutsChanged,
            Self::SinkBehind { .. } => Code::SinkBehind,
            Self::BadTaskId(id) => id.code(),
            Self::TaskOfOtherChain { .. } => Code::TaskOfOtherChain,
            Self::HeightAndTask => Code::HeightAndTask,
            Self::WhichHold { .. } => Code::WhichHold,
            Self::WindowTooSmall { .. } => Code::WindowTooSmall,
            Self::UnknownSink { .. } => Code::UnknownSink,
            Self::NoEntry { .. } | Self::SkipsAnother { .. } | Self::NotYetHandedOn { .. } => {
                Code::NoSuchEntry
            }
            Self::LevelSink { .. } => Code::LevelSink,
            Self::BadSlotCount { .. } => Code::BadSlotCount,
            Self::OversizedResult { .. } => Code::OversizedResult,
        }
    }
}
