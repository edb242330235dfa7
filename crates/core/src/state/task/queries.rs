//! What a task says of itself.

use super::{Life, Task, TaskId};
use crate::state::{Attempt, Avoid, Note, PipelineHash, TaskResult, Usage, WorkerId};

impl Task {
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The one that its scope opened with.
    pub fn pipeline(&self) -> &PipelineHash {
        &self.pipeline
    }

    pub fn height(&self) -> u64 {
        self.height
    }

    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// The order in which it starts.
    pub fn rank(&self) -> &str {
        &self.rank
    }

    pub fn life(&self) -> &Life {
        &self.life
    }

    /// The task of its own group that joins its output.
    pub fn feeds(&self) -> Option<u32> {
        self.feeds
    }

    /// Neither parked nor over.
    pub fn is_open(&self) -> bool {
        match self.life {
            Life::Gathering | Life::Listed | Life::Live { .. } | Life::BackingOff { .. } | Life::Unlisted => {
                true
            }
            Life::Parked { .. } | Life::Accepted { .. } | Life::Cancelled => false,
        }
    }

    pub fn is_accepted(&self) -> bool {
        matches!(self.life, Life::Accepted { .. })
    }

    pub fn is_parked(&self) -> bool {
        matches!(self.life, Life::Parked { .. })
    }

    pub fn is_cancelled(&self) -> bool {
        matches!(self.life, Life::Cancelled)
    }

    pub fn gathers(&self) -> bool {
        matches!(self.life, Life::Gathering)
    }

    /// A listing of it is there to be claimed.
    pub fn is_listed(&self) -> bool {
        matches!(self.life, Life::Listed | Life::Live { listed: true, .. })
    }

    /// Live ones.
    pub fn attempts(&self) -> &[Attempt] {
        match &self.life {
            Life::Live { attempts, .. } => attempts,
            _ => &[],
        }
    }

    /// The live attempt with this claim.
    pub fn attempt(&self, claim: &str) -> Option<&Attempt> {
        self.attempts().iter().find(|attempt| attempt.claim == claim)
    }

    /// Why it is parked.
    pub fn parked(&self) -> Option<&str> {
        match &self.life {
            Life::Parked { reason, .. } => Some(reason),
            _ => None,
        }
    }

    pub fn accepted(&self) -> Option<&TaskResult> {
        match &self.life {
            Life::Accepted { result, .. } => Some(result),
            _ => None,
        }
    }

    pub fn into_accepted(self) -> Option<TaskResult> {
        match self.life {
            Life::Accepted { result, .. } => Some(*result),
            _ => None,
        }
    }

    /// When the sweeper must look at it.
    pub fn due_ms(&self) -> Option<u64> {
        match self.life {
            Life::Live { due_ms, .. } | Life::Parked { due_ms, .. } | Life::Accepted { due_ms, .. } => due_ms,
            Life::BackingOff { due_ms, .. } => Some(due_ms),
            Life::Gathering | Life::Listed | Life::Unlisted | Life::Cancelled => None,
        }
    }

    /// A straggler gets one second copy.
    pub fn may_hedge(&self) -> bool {
        !self.is_listed() && self.attempts().len() == 1
    }

    pub fn listed_ms(&self) -> u64 {
        self.history.listed_ms
    }

    /// Attempts ever started.
    pub fn started(&self) -> u32 {
        self.history.started
    }

    /// The prover, or a verifier, said no.
    pub fn failures(&self) -> u32 {
        self.history.failures
    }

    /// The worker vanished.
    pub fn losses(&self) -> u32 {
        self.history.losses
    }

    /// The prover's process died by a signal that the yard did not send.
    pub fn crashes(&self) -> u32 {
        self.history.crashes
    }

    /// The prover was unavailable.
    pub fn delays(&self) -> u32 {
        self.history.delays
    }

    /// Workers that reported a permanent error, one entry an attempt.
    pub fn permanent(&self) -> &[WorkerId] {
        &self.history.permanent
    }

    pub fn avoid(&self) -> Option<&Avoid> {
        self.history.avoid.as_ref()
    }

    pub fn first_claimed_ms(&self) -> Option<u64> {
        self.history.first_claimed_ms
    }

    /// How long its attempts took, each by the clock of the host that ran it, and the pauses between them.
    pub fn spent_ms(&self) -> u64 {
        self.history.spent_ms
    }

    /// What its attempts that ended have used, as far as it is known.
    pub fn usage(&self) -> Usage {
        self.history.usage
    }

    /// What the prover of the newest attempt that had something kept has kept last: the next attempt is given it.
    pub fn checkpoint(&self) -> Option<&str> {
        self.history.checkpoint.as_deref()
    }

    /// How attempts ended badly, the newest ones, oldest first.
    pub fn notes(&self) -> &[Note] {
        &self.history.notes
    }
}
