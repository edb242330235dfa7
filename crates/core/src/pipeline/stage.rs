//! A stage: what it reads, how it gathers that, and what it gives. What its strategy means for others is asked of it here.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    pub name: String,
    pub strategy: Strategy,
    /// What it reads from.
    pub from: Vec<Source>,
    /// Provers by the height from which they are used, ascending; empty only for a quorum that just decides.
    pub provers: Vec<(u64, String)>,
    /// Empty where there is no prover.
    pub pool: String,
    pub output: Output,
    pub limits: TaskLimits,
    /// Index of the `sequential` stage that made the cut this stage works on; `None`: it works on a block. A
    /// `sequential` stage names itself.
    pub cut_by: Option<usize>,
    /// Works only on what is committed.
    pub after_commit: bool,
    /// Longest path from the block, 0 for stages that read only the block.
    pub depth: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Block,
    /// Index into `stages`.
    Stage(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "strategy")]
pub enum Strategy {
    /// A task for each segment of the block, or for each element of the list that the one task of the stage it
    /// reads from wrote.
    Split,
    /// One task once all that it reads from is there. From a block alone: one task for the block.
    Match {
        /// Names of fields that all gathered outputs must report with one value.
        on: Vec<String>,
        quorum: Option<Quorum>,
    },
    /// One task for a cut of contiguous blocks; with an arity, a tree of tasks whose root gives the one output.
    Sequential(CutRule),
}

/// `need` of the stages read from agree on the public values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quorum {
    pub need: u32,
    /// Tasks that are not needed any more are cancelled; else they run on.
    pub cancel_rest: bool,
}

/// When a cut closes; the first rule that fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CutRule {
    pub size: u64,
    pub budget: Option<CutBudget>,
    pub max_wait_ms: Option<u64>,
    /// A cut holds only blocks with one value of this block field.
    pub cut_on: Option<String>,
    /// A closed cut is reduced level by level, each task joining up to so many children.
    pub arity: Option<u32>,
}

/// The sum of a numeric block field stays at or below `max` (a single block above it is a cut of its own).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CutBudget {
    pub field: String,
    pub max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Has a verifier; its public values are what the verifier read.
    Proof,
    /// A partition, a witness: has none.
    Data,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskLimits {
    /// Failures (the prover said no) before the task parks.
    pub max_attempts: u32,
    /// Losses (a worker, its machine or its lease) before the task parks.
    pub max_losses: u32,
    /// Crashes (the prover's process dies by a signal that the yard did not send) before the task parks.
    pub max_crashes: u32,
    /// Before the second attempt; doubles with each failure or crash, at most [`MAX_BACKOFF_MS`].
    pub backoff_ms: u64,
    /// Setting a prover up, proving and verifying may each take this long.
    pub time_limit_ms: u64,
    /// All attempts together, from the first claim.
    pub total_ms: Option<u64>,
    /// A second copy starts when an attempt has taken this long.
    pub hedge_ms: Option<u64>,
    pub output_bytes: u64,
    pub memory_bytes: Option<u64>,
}

impl Stage {
    /// Heights at which its prover changes.
    pub(super) fn forks(&self) -> impl Iterator<Item = u64> {
        self.provers.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0)
    }

    /// The prover to use at a height; `None` where the stage only decides.
    pub fn prover_at(&self, height: u64) -> Option<&str> {
        self.provers.iter().rev().find(|(from, _)| *from <= height).map(|(_, name)| name.as_str())
    }

    /// The stages it reads from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = usize> {
        self.from.iter().filter_map(|source| match source {
            Source::Block => None,
            Source::Stage(index) => Some(*index),
        })
    }

    /// Whether it may start as soon as its block is open.
    pub(crate) fn reads_block_alone(&self) -> bool {
        !self.after_commit && self.cut_by.is_none() && self.sources().next().is_none()
    }

    /// How many of those it reads must agree, where it decides by their votes, and what becomes of the others.
    pub(crate) fn quorum(&self) -> Option<&Quorum> {
        match &self.strategy {
            Strategy::Match { quorum, .. } => quorum.as_ref(),
            Strategy::Split | Strategy::Sequential(_) => None,
        }
    }

    /// What it reads may disagree, also after it has decided.
    pub(crate) fn may_disagree(&self) -> bool {
        self.quorum().is_some()
    }

    /// When its cuts close, if it makes cuts.
    pub fn cut_rule(&self) -> Option<&CutRule> {
        match &self.strategy {
            Strategy::Sequential(rule) => Some(rule),
            Strategy::Split | Strategy::Match { .. } => None,
        }
    }

    /// Its cuts are joined by a tree of tasks, each of which starts once its own children are there.
    pub(crate) fn is_reduction(&self) -> bool {
        self.cut_rule().is_some_and(|rule| rule.arity.is_some())
    }

    /// It starts with the last output that its cut gathers, whichever that is.
    pub(crate) fn waits_for_whole_cuts(&self) -> bool {
        self.cut_rule().is_some() && !self.is_reduction()
    }

    /// The fields that all it gathers must report with one value.
    pub(crate) fn match_fields(&self) -> &[String] {
        match &self.strategy {
            Strategy::Match { on, .. } => on,
            Strategy::Split | Strategy::Sequential(_) => &[],
        }
    }

    /// It has a task for each element of what it reads, which must be a list.
    pub fn splits(&self) -> bool {
        self.strategy == Strategy::Split
    }

    /// Tasks in a block of so many segments, or in a cut that its size closes. How long a list will be nobody knows: as long as
    /// a block has segments.
    pub fn expected_tasks(&self, segments: u32) -> f64 {
        match &self.strategy {
            Strategy::Split => f64::from(segments),
            Strategy::Match { .. } | Strategy::Sequential(CutRule { arity: None, .. }) => 1.0,
            // A tree over the cut's blocks.
            Strategy::Sequential(CutRule { size, arity: Some(arity), .. }) => {
                ((*size).max(2) as f64 - 1.0) / (f64::from(*arity) - 1.0)
            }
        }
    }

    /// Task `index` gives what other stages read; of a reduction only the root does.
    pub(crate) fn is_output(&self, index: u32) -> bool {
        index == 0 || !self.is_reduction()
    }
}
