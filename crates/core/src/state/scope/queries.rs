//! What a scope says of itself.

use super::{Branch, Progress, Scope, ScopeId, Standing, Watch};
use crate::state::{Block, Blocked, ChainName, Cut, PipelineHash, Subject};

impl Scope {
    pub fn id(&self) -> &ScopeId {
        &self.id
    }

    pub fn chain(&self) -> &ChainName {
        &self.chain
    }

    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The one that it opened with; none before.
    pub fn pipeline(&self) -> &PipelineHash {
        &self.pipeline
    }

    pub fn recorded_ms(&self) -> u64 {
        self.recorded_ms
    }

    pub fn block(&self) -> Option<&Block> {
        match &self.subject {
            Subject::Block(block) => Some(block),
            Subject::Cut(_) => None,
        }
    }

    pub fn cut(&self) -> Option<&Cut> {
        match &self.subject {
            Subject::Block(_) => None,
            Subject::Cut(cut) => Some(cut),
        }
    }

    /// First and last height.
    pub fn heights(&self) -> (u64, u64) {
        match &self.subject {
            Subject::Block(block) => (block.height, block.height),
            Subject::Cut(cut) => (cut.from, cut.to),
        }
    }

    /// How many heights.
    pub fn blocks(&self) -> u64 {
        let (from, to) = self.heights();
        to.saturating_sub(from).saturating_add(1)
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    pub fn branch(&self) -> Branch {
        match self.standing {
            Standing::Stored => Branch::Stored,
            Standing::Orphaned { .. } => Branch::Orphaned,
            Standing::Waiting
            | Standing::Open { .. }
            | Standing::Proved { .. }
            | Standing::Committed { .. }
            | Standing::Missed { .. } => Branch::Canonical,
        }
    }

    /// How far it has come; an orphan had come so far.
    pub fn progress(&self) -> Progress {
        match self.standing {
            Standing::Stored | Standing::Waiting => Progress::Waiting,
            Standing::Open { .. } => Progress::Open,
            Standing::Proved { .. } | Standing::Committed { .. } => Progress::Proved,
            Standing::Missed { .. } => Progress::Missed,
            Standing::Orphaned { progress, .. } => progress,
        }
    }

    pub fn is_canonical(&self) -> bool {
        self.branch() == Branch::Canonical
    }

    pub fn is_stored(&self) -> bool {
        matches!(self.standing, Standing::Stored)
    }

    pub fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open { .. })
    }

    /// On the chain with its proof, committed or not.
    pub fn is_proved(&self) -> bool {
        matches!(self.standing, Standing::Proved { .. } | Standing::Committed { .. })
    }

    /// Given up, and on the chain.
    pub fn is_missed(&self) -> bool {
        matches!(self.standing, Standing::Missed { .. })
    }

    /// Its work is wanted: on the chain, opened, not given up.
    pub fn is_live(&self) -> bool {
        self.is_open() || self.is_proved()
    }

    /// A disagreement in it counts: also where it was given up, while proofs of members may still come.
    pub fn is_watched(&self) -> bool {
        self.is_live() || self.is_missed()
    }

    pub fn is_settled(&self) -> bool {
        self.watch() == Some(Watch::Settled)
    }

    /// When the sweeper must look at it.
    pub fn due_ms(&self) -> Option<u64> {
        match self.watch()? {
            Watch::Due(due_ms) => due_ms,
            Watch::Settled => None,
        }
    }

    fn watch(&self) -> Option<Watch> {
        match self.standing {
            Standing::Open { watch }
            | Standing::Proved { watch }
            | Standing::Committed { watch, .. }
            | Standing::Missed { watch, .. } => Some(watch),
            Standing::Stored | Standing::Waiting | Standing::Orphaned { .. } => None,
        }
    }

    /// Since when its sender relies on this yard.
    pub fn acknowledged_ms(&self) -> u64 {
        self.acknowledged_ms.unwrap_or(self.recorded_ms)
    }

    /// Since when it is on the chain; absent in older state, and of a cut.
    pub fn canonical_ms(&self) -> Option<u64> {
        self.canonical_ms
    }

    pub fn opened_ms(&self) -> Option<u64> {
        self.opened_ms
    }

    pub fn proved_ms(&self) -> Option<u64> {
        self.proved_ms
    }

    /// When it was given up; absent in older state.
    pub fn missed_ms(&self) -> Option<u64> {
        match self.standing {
            Standing::Missed { at_ms, .. } => at_ms,
            Standing::Orphaned { missed_ms, .. } => missed_ms,
            _ => None,
        }
    }

    /// A block's commit, or a cut's commit or emission.
    pub fn committed_ms(&self) -> Option<u64> {
        match self.standing {
            Standing::Committed { at_ms, .. } => Some(at_ms),
            _ => None,
        }
    }

    /// It came back to the chain: open tasks that nobody lists or runs must be listed again.
    pub fn relists(&self) -> bool {
        self.relist
    }

    /// Quorum stages whose disagreement was reported, once for each proof that is not of the largest group; each report
    /// halted the chain.
    pub fn disagreements(&self) -> &[String] {
        &self.disagreements
    }

    /// Proofs of a quorum stage whose dissent was reported.
    pub fn reported_dissent(&self, stage: &str) -> usize {
        self.disagreements.iter().filter(|reported| *reported == stage).count()
    }

    /// Why a stage cannot start though all that it gathers is there.
    pub fn blocked(&self, stage: &str) -> Option<&Blocked> {
        self.blocked.iter().find(|blocked| blocked.stage == stage)
    }
}
