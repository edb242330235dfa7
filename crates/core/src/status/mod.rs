//! Where proving is: a look at a chain's state, for operators and for reports. Nothing here writes.
//!
//! What is read changes meanwhile, so a look is no snapshot: each item is true, and two of them may be a moment
//! apart. Everything is bounded; what did not fit is said to be `truncated`.

mod block_times;
mod chain;
mod finished;
pub mod gauges;
pub(crate) mod look;
pub(crate) mod rows;
pub(crate) mod work;
mod workers;

use serde::Serialize;

pub use block_times::BlockTimes;
pub use finished::Finished;

use crate::pipeline::Confirm;
use crate::state::{BlockHash, ChainName, Finality, Following, Note, PipelineHash};

/// Where one chain is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChainStatus {
    pub chain: ChainName,
    /// When this was read.
    pub now_ms: u64,
    /// Hash of the pipeline that scopes get when they open.
    pub pipeline: PipelineHash,
    /// Moves with every reorg.
    pub epoch: u64,
    pub start_height: u64,
    /// The newest canonical block; `None` before the first.
    pub tip: Option<TipStatus>,
    /// No more blocks are expected.
    pub ended: bool,
    /// How following the chain's nodes goes; `None` where none is followed.
    pub following: Option<Following>,
    /// What the followed node calls safe and finalized.
    pub finality: Option<Finality>,
    /// The next height to commit.
    pub frontier: u64,
    pub window: u64,
    /// The next height to open.
    pub opened: u64,
    /// Heights below the frontier: committed, or missed where the pipeline gives late blocks up.
    pub heights_passed: u64,
    /// The pipeline gives late blocks up.
    pub gives_up_late: bool,
    pub paused: bool,
    pub halted: Option<HaltStatus>,
    /// A reorg whose pages are not all written yet.
    pub reorg: Option<ReorgStatus>,
    /// Known blocks that are not committed.
    pub lag_blocks: u64,
    /// Since the oldest of them was acknowledged; 0 where there is none.
    pub lag_ms: u64,
    /// In dependency order; tasks of open scopes alone.
    pub stages: Vec<StageStatus>,
    /// Pools whose tasks wait, also of blocks that were committed without them, while none of their workers is alive.
    pub pools_without_workers: Vec<String>,
    /// Lowest rank first.
    pub parked: Vec<ParkedTask>,
    pub sinks: Vec<SinkStatus>,
    /// Tasks that are not over, lowest rank first; `None` unless they were asked for.
    pub tasks: Option<Vec<TaskRow>>,
    /// There is more open work than is looked at; counts and lists show only a part.
    pub truncated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TipStatus {
    pub height: u64,
    pub hash: BlockHash,
    /// Since it was acknowledged.
    pub age_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HaltStatus {
    /// Of the newest halt.
    pub reason: String,
    pub at_ms: u64,
    /// The next halt's number: an operator who has seen this status has seen all below it.
    pub halts: u64,
    /// Halts that nobody has ended, each with a cause of its own.
    pub open: u64,
    /// Why, the oldest first, at most 64.
    pub causes: Vec<String>,
}

/// Heights from `from` up to `head` change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReorgStatus {
    pub from: u64,
    pub head: u64,
}

/// How the tasks of one stage stand in the open scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StageStatus {
    pub stage: String,
    /// Empty where there is no prover.
    pub pool: String,
    /// It is the stage whose proof commits.
    pub commits: bool,
    #[serde(flatten)]
    pub tasks: TaskCounts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskCounts {
    /// Not all that they join is there.
    pub gathering: u64,
    /// Listed, and not claimed yet.
    pub waiting: u64,
    pub running: u64,
    /// An attempt came to nothing; the next one waits.
    pub backing_off: u64,
    /// Wait for an operator.
    pub parked: u64,
    pub accepted: u64,
    /// Not needed by a quorum that has decided.
    pub cancelled: u64,
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Not all that it joins is there.
    Gathering,
    /// Listed, and not claimed yet.
    Waiting,
    Running,
    BackingOff,
    Parked,
    Accepted,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParkedTask {
    pub task: String,
    pub height: u64,
    pub reason: String,
    /// How its last attempt that came to nothing ended.
    pub note: Option<Note>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SinkStatus {
    pub sink: String,
    /// The stage whose proofs it gets.
    pub stage: String,
    #[serde(flatten)]
    pub place: SinkPlace,
    /// Entries it has not got yet, or blocks of which it was not told the last word.
    pub behind: u64,
    /// What it has not got may wait until its blocks are safe, or final.
    pub confirm: Confirm,
    pub paused: bool,
    /// Tries in a row that failed.
    pub failures: u32,
    pub last_error: Option<String>,
    pub next_try_ms: Option<u64>,
    /// Of one that is told once in a while: before then it gets nothing new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_call_ms: Option<u64>,
}

/// Where a sink is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SinkPlace {
    /// In an out log, by the next entry that it gets.
    Log { log: String, next_sequence: u64 },
    /// It is notified of blocks: of all below this height it was told the last word. So many words it has refused for good, the
    /// last one for this reason.
    Blocks {
        settled_below: u64,
        refused: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_refused: Option<String>,
    },
}

/// One task that is not over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskRow {
    pub task: String,
    pub height: u64,
    pub stage: String,
    pub index: u32,
    pub state: TaskState,
    pub rank: String,
    /// Who runs it (the older of two copies).
    pub worker: Option<String>,
    /// The live attempt's number, or that of the last one; 0 before the first.
    pub attempt: u32,
    /// Since when it is as `state` says.
    pub since_ms: u64,
    pub failures: u32,
    pub losses: u32,
    pub crashes: u32,
    pub delays: u32,
    /// What the next attempt is given to take up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    pub note: Option<Note>,
}
