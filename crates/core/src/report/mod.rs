//! The real-time proving definition over what was proved: how soon, how large, how secure, by which prover, and what
//! was missed for which cause. Read from state alone; nothing here writes.
//!
//! The latency of a block is from its acknowledgement to its commit-stage proof being accepted; where blocks are
//! committed by cuts, to the cut's proof. A missed height has none, and is later than all others: it counts in every
//! percentile and share. Everything is bounded, newest heights first; what did not fit is said to be left out.

mod figures;
mod gather;
mod goals;
mod miss;
mod provers;
mod spending;
mod timeline;

use serde::Serialize;

pub use figures::{one_line, seconds};
pub use goals::{GOAL_DEADLINE_MS, Goal, GoalName, Unit, Verdict};
pub use miss::{Miss, MissCase};
pub use provers::ProverFigures;
pub use spending::SpendingFigures;
pub use timeline::{Failed, MAX_TIMELINE_ROWS, TaskSpan, TimelineRow};

pub use crate::spending::Spending;
use crate::state::{BlockHash, ChainName, PipelineHash};

/// Heights of one report.
pub const MAX_REPORT_BLOCKS: usize = 10_000;

/// Which report.
#[derive(Clone, Debug)]
pub struct ReportRequest {
    pub from: u64,
    pub to: u64,
    /// The newest so many of them, at most [`MAX_REPORT_BLOCKS`].
    pub newest: usize,
    /// Instead of the pipeline's own.
    pub deadline_ms: Option<u64>,
}

/// One chain over a range of heights that are committed or missed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub chain: ChainName,
    /// When this was read.
    pub now_ms: u64,
    /// Hash of the pipeline now in force.
    pub pipeline: PipelineHash,
    pub deadline_ms: u64,
    pub deadline_is: DeadlineIs,
    /// The lowest and highest height that it is about.
    pub from: Option<u64>,
    pub to: Option<u64>,
    /// Older heights of the range that it is not about, since it would grow without end.
    pub heights_left_out: u64,
    /// When the first of its blocks was acknowledged, and the last one's proof accepted.
    pub first_acknowledged_ms: Option<u64>,
    pub last_proved_ms: Option<u64>,
    pub blocks_committed: u64,
    pub blocks_missed: u64,
    pub waiting: Waiting,
    pub latency: Latency,
    pub proofs: ProofFigures,
    /// Of each block, missed ones too.
    pub spending: SpendingFigures,
    pub goals: Vec<Goal>,
    /// In the order of the stages.
    pub provers: Vec<ProverFigures>,
    /// Newest first.
    pub misses: Vec<Miss>,
    /// Lowest height first.
    pub blocks: Vec<BlockFigures>,
    /// The newest blocks and cuts with their tasks, newest first.
    pub timeline: Vec<TimelineRow>,
}

/// Where the deadline is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadlineIs {
    /// Of the pipeline, which gives late blocks up.
    Pipeline,
    /// The Ethereum Foundation's goal.
    Goal,
    Asked,
}

/// Known blocks at or above the frontier. They count in nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    pub blocks: u64,
    /// Acknowledged longer ago than the deadline; of the lowest 1,000 of them.
    pub over_deadline: u64,
}

/// A percentile is the latency of one block, by nearest rank; none where it falls on a missed height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub p50_ms: Option<u64>,
    pub p90_ms: Option<u64>,
    pub p99_ms: Option<u64>,
    /// Of the blocks that were proved.
    pub max_ms: Option<u64>,
    /// Blocks that were proved within the deadline.
    pub within_deadline: u64,
    /// From 0 to 1, of committed and missed heights.
    pub within_deadline_share: Option<f64>,
}

/// What the proofs are, as far as it is stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProofFigures {
    /// Proofs that commit: several a block where a quorum agreed, one for all blocks of a cut.
    pub proofs: u64,
    pub bytes_p50: Option<u64>,
    pub bytes_max: Option<u64>,
    /// The least that a prover stated of a proof that commits, or that went into one.
    pub security_bits_min: Option<u32>,
    /// Of how many of those proofs nothing was stated.
    pub security_unstated: u64,
    pub trusted_setup: TrustedSetup,
}

/// Whether a proof system needs one, by its provers' own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustedSetup {
    Yes,
    /// All say so.
    No,
    #[default]
    Unstated,
}

/// One committed or missed height. Of a block that a cut committed, the tasks of the cut count as well; of what they used, the
/// block's equal part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockFigures {
    pub height: u64,
    pub hash: BlockHash,
    /// First height of the cut that committed it.
    pub cut_from: Option<u64>,
    pub missed: bool,
    pub acknowledged_ms: u64,
    pub proved_ms: Option<u64>,
    pub committed_ms: Option<u64>,
    pub latency_ms: Option<u64>,
    /// Of the proofs that commit it, summed.
    pub proof_bytes: u64,
    pub tasks: u64,
    pub attempts: u64,
    /// As counted now: an operator's `retry` starts a task's counts again.
    pub failures: u64,
    pub losses: u64,
    pub crashes: u64,
    pub delays: u64,
    pub spending: Spending,
}

impl TrustedSetup {
    /// What two say together: one that needs a setup is enough, and both must say that they do not.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Unstated,
        }
    }
}

impl From<Option<bool>> for TrustedSetup {
    fn from(stated: Option<bool>) -> Self {
        match stated {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Unstated,
        }
    }
}
