//! `T#`: a task, one run of a stage's prover on a fixed list of inputs, and its life.
//!
//! ```text
//!            list            claim                       accept (its result is verified)
//! Gathering ──────> Listed ─────────> Live ────────────────────────────────> Accepted
//!                   ^  ^ ^            │ ^ │ fail, lose, release: its last attempt ended
//!                   │  │ │            └─┘ │
//!                   │  │ │  hedge, claim: │  back_off
//!                   │  │ │ a second copy  ├────────────> BackingOff ──┐ list (it is due)
//!                   │  │ └────────────────│────────────────────────────┘
//!                   │  └──────────────────┤ list (lost or released: at once)
//!                   └──────── retry ──────┴─ Parked <─── park: a cause's budget is spent, an input is gone
//! ```
//!
//! `withdraw` makes Unlisted what is listed or backs off, once nobody wants it: its block left the chain or was given up;
//! `list` brings it back. So is, for a moment, one whose last attempt just ended.
//!
//! `accept` ends every state: a late valid proof is welcome, also of a parked or a cancelled task. `cancel` ends every
//! other state but Accepted. What a prover has kept (`keep_checkpoint`) outlives its attempt, however that ends, until a result
//! is accepted. Only the methods here change a task's life, each named after what happened; whoever writes
//! the task writes its listing and its marker in the same transaction: handlers in `record`, `claim`, `sweep` and `advance`.

mod id;
mod queries;
mod stored;

use serde::{Deserialize, Serialize};

pub use self::id::{BadTaskId, TaskId};
use self::stored::StoredTask;
use super::{
    Attempt, Avoid, FailureKind, Listing, Note, PipelineHash, Scope, TaskResult, Usage, Worker, WorkerId,
};
use crate::port::Key;
use crate::transaction::{Item, too_large};

/// One run of a stage's prover on a fixed list of inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredTask", into = "StoredTask")]
pub struct Task {
    id: TaskId,
    pipeline: PipelineHash,
    height: u64,
    pool: String,
    rank: String,
    feeds: Option<u32>,
    life: Life,
    history: History,
}

/// What a task is.
#[derive(Clone, Debug, PartialEq)]
pub enum Life {
    /// It joins outputs of its own group or of a cut's members, and not all of them are there: it is not listed yet.
    Gathering,
    /// A listing of it is there to be claimed.
    Listed,
    /// From one to [`Task::MAX_LIVE_ATTEMPTS`] attempts run; `listed` says whether a straggler's second copy is there to be
    /// claimed.
    Live { attempts: Vec<Attempt>, listed: bool, due_ms: Option<u64> },
    /// It is listed again at `due_ms`. `waits_ms` is the length of the pause, where it was recorded on a host whose clock is
    /// not the yard's: the sweeper sets when it ends.
    BackingOff { waits_ms: Option<u64>, due_ms: u64 },
    /// Open, and nobody lists or runs it: nobody wants it now, since its block left the chain or was given up.
    Unlisted,
    /// Waits for an operator.
    Parked { reason: String, due_ms: Option<u64> },
    /// It is due only where its result came when nobody waited for it, and is still to be looked at.
    Accepted { result: Box<TaskResult>, due_ms: Option<u64> },
    /// A quorum did not need it.
    Cancelled,
}

/// What has happened to a task.
#[derive(Clone, Debug, Default, PartialEq)]
struct History {
    listed_ms: u64,
    started: u32,
    failures: u32,
    losses: u32,
    crashes: u32,
    delays: u32,
    permanent: Vec<WorkerId>,
    avoid: Option<Avoid>,
    first_claimed_ms: Option<u64>,
    spent_ms: u64,
    notes: Vec<Note>,
    checkpoint: Option<String>,
    usage: Usage,
}

impl Task {
    /// One, and a straggler's second copy.
    pub const MAX_LIVE_ATTEMPTS: usize = 2;
    pub const MAX_NOTES: usize = 5;

    /// A new one gathers; one that has its inputs is listed at once.
    pub(crate) fn new(id: TaskId, pipeline: PipelineHash, height: u64, pool: String, rank: String) -> Self {
        let (life, history) = (Life::Gathering, History::default());
        Self { id, pipeline, height, pool, rank, feeds: None, life, history }
    }

    /// One that is to gather, and whose output another task of its own group joins.
    pub fn feeding(self, parent: Option<u32>) -> Self {
        Self { feeds: parent, ..self }
    }

    /// The same task as its scope has it, whatever was written into it.
    pub fn as_of(&self, scope: &Scope) -> Self {
        Self { pipeline: scope.pipeline().clone(), height: scope.heights().0, ..self.clone() }
    }

    /// It may be claimed; answers the listing to write. `None` where it is listed already, parked or over.
    pub fn list(&mut self, now_ms: u64) -> Option<Listing> {
        match &mut self.life {
            Life::Gathering | Life::BackingOff { .. } | Life::Unlisted => self.life = Life::Listed,
            Life::Live { listed, .. } if !*listed => *listed = true,
            Life::Live { .. }
            | Life::Listed
            | Life::Parked { .. }
            | Life::Accepted { .. }
            | Life::Cancelled => return None,
        }
        self.history.listed_ms = now_ms;
        Some(Listing::of(self))
    }

    /// A straggler's second copy may be claimed, if it may have one, by another worker first.
    pub fn hedge(&mut self, until_ms: u64, now_ms: u64) -> Option<Listing> {
        let worker = self.attempts().first().filter(|_| self.may_hedge())?.worker.clone();
        self.history.avoid = Some(Avoid { worker, until_ms });
        self.list(now_ms)
    }

    /// A worker took it; answers the attempt's number. `None` where it is not listed.
    pub fn claim(
        &mut self,
        worker: &Worker,
        slot: u32,
        claim: &str,
        now_ms: u64,
        due_ms: u64,
    ) -> Option<u32> {
        let mut attempts = match &mut self.life {
            Life::Listed => Vec::new(),
            Life::Live { attempts, listed: true, .. } => std::mem::take(attempts),
            _ => return None,
        };
        let number = self.history.started + 1;
        attempts.push(Attempt {
            number,
            worker: worker.id.clone(),
            slot,
            claim: claim.to_owned(),
            started_ms: now_ms,
            price_microusd_per_hour: worker.price_microusd_per_hour,
        });
        self.history.started = number;
        self.history.first_claimed_ms.get_or_insert(now_ms);
        self.life = Life::Live { attempts, listed: false, due_ms: Some(due_ms) };
        Some(number)
    }

    /// A result was accepted, from whichever attempt and however late.
    pub fn accept(&mut self, result: TaskResult, due_ms: Option<u64>) {
        if !self.is_accepted() {
            self.life = Life::Accepted { result: Box::new(result), due_ms };
            self.history.checkpoint = None;
        }
    }

    /// The live attempt with this claim failed, and counts as its kind says.
    pub fn fail(&mut self, claim: &str, took_ms: u64, kind: FailureKind) -> Option<Attempt> {
        let attempt = self.end(claim, took_ms)?;
        match kind {
            FailureKind::Permanent => {
                self.history.failures += 1;
                self.history.permanent.push(attempt.worker.clone());
            }
            FailureKind::Transient => self.history.failures += 1,
            FailureKind::Crash => self.history.crashes += 1,
            FailureKind::Unavailable => self.history.delays += 1,
            // The pause before the next look does not grow by it.
            FailureKind::Waits { .. } | FailureKind::BadInput => {}
        }
        Some(attempt)
    }

    /// The worker of the live attempt with this claim was lost, or overran its time.
    pub fn lose(&mut self, claim: &str, took_ms: u64) -> Option<Attempt> {
        let attempt = self.end(claim, took_ms)?;
        self.history.losses += 1;
        Some(attempt)
    }

    /// The worker released the live attempt with this claim: it counts for nothing.
    pub fn release(&mut self, claim: &str, took_ms: u64) -> Option<Attempt> {
        self.end(claim, took_ms)
    }

    /// The prover of a live attempt has this kept, for the next attempt to take up; it takes the place of an earlier one.
    pub fn keep_checkpoint(&mut self, text: &str) {
        if !self.is_accepted() {
            self.history.checkpoint = Some(text.to_owned());
        }
    }

    /// As a bug would have it.
    pub(crate) fn forget_checkpoint(&mut self) {
        self.history.checkpoint = None;
    }

    /// Another worker is preferred for the next attempt.
    pub fn avoid_until(&mut self, worker: &WorkerId, until_ms: u64) {
        self.history.avoid = Some(Avoid { worker: worker.clone(), until_ms });
    }

    /// Notes how an attempt ended badly. A delay takes the place of one that said the same, so that an outage does not push
    /// out what failed before.
    pub fn note(&mut self, note: Note, is_delay: bool) {
        let notes = &mut self.history.notes;
        if is_delay && notes.last().is_some_and(|last| last.message == note.message) {
            notes.pop();
        } else if notes.len() >= Self::MAX_NOTES {
            notes.remove(0);
        }
        notes.push(note);
    }

    /// A pause counts against its total budget.
    pub fn spend(&mut self, pause_ms: u64) {
        self.history.spent_ms = self.history.spent_ms.saturating_add(pause_ms);
    }

    /// An attempt that ended has used this.
    pub fn use_up(&mut self, usage: Usage) {
        self.history.usage = self.history.usage.with(usage);
    }

    /// Its last attempt ended, and the next is to wait. `waits_ms` is for the sweeper to measure ([`Task::pause_until`]).
    pub fn back_off(&mut self, waits_ms: Option<u64>, due_ms: u64) {
        if self.life == Life::Unlisted {
            self.life = Life::BackingOff { waits_ms, due_ms };
        }
    }

    /// The length of its pause, until the sweeper has set when it ends.
    pub fn unmeasured_pause_ms(&self) -> Option<u64> {
        match self.life {
            Life::BackingOff { waits_ms, .. } => waits_ms,
            _ => None,
        }
    }

    /// When its pause ends, by the yard's clock.
    pub fn pause_until(&mut self, due_ms: u64) {
        if let Life::BackingOff { .. } = self.life {
            self.life = Life::BackingOff { waits_ms: None, due_ms };
        }
    }

    /// It waits for an operator; no attempt of it is live.
    pub fn park(&mut self, reason: String, due_ms: u64) {
        if self.is_open() && self.attempts().is_empty() {
            self.life = Life::Parked { reason, due_ms: Some(due_ms) };
        }
    }

    /// An operator wants a parked task tried again, with fresh counts; answers the listing to write.
    pub fn retry(&mut self, now_ms: u64) -> Option<Listing> {
        if !self.is_parked() {
            return None;
        }
        let History { started, listed_ms, notes, checkpoint, usage, .. } = std::mem::take(&mut self.history);
        self.history = History { started, listed_ms, notes, checkpoint, usage, ..History::default() };
        self.life = Life::Unlisted;
        self.list(now_ms)
    }

    /// Its work is not wanted now. An attempt that still runs is ended in time.
    pub fn withdraw(&mut self) {
        match &mut self.life {
            Life::Listed | Life::BackingOff { .. } => self.life = Life::Unlisted,
            Life::Live { listed, .. } => *listed = false,
            _ => {}
        }
    }

    /// A quorum does not need it.
    pub fn cancel(&mut self) {
        if !self.is_accepted() {
            self.life = Life::Cancelled;
        }
    }

    /// When the sweeper looks at one that runs or is parked.
    pub fn look_at(&mut self, next_ms: Option<u64>) {
        if let Life::Live { due_ms, .. } | Life::Parked { due_ms, .. } = &mut self.life {
            *due_ms = next_ms;
        }
    }

    fn end(&mut self, claim: &str, took_ms: u64) -> Option<Attempt> {
        let Life::Live { attempts, listed, .. } = &mut self.life else { return None };
        let position = attempts.iter().position(|attempt| attempt.claim == claim)?;
        let attempt = attempts.remove(position);
        if attempts.is_empty() {
            self.life = if *listed { Life::Listed } else { Life::Unlisted };
        }
        self.spend(took_ms);
        Some(attempt)
    }
}

impl Item for Task {
    fn key(&self) -> Key {
        self.id.task_key()
    }
    fn due_ms(&self) -> Option<u64> {
        self.due_ms()
    }
    fn damage(&self) -> Option<String> {
        let times = [
            self.first_claimed_ms(),
            self.unmeasured_pause_ms(),
            self.due_ms(),
            self.avoid().map(|avoid| avoid.until_ms),
        ];
        let attempts = self.attempts().iter().map(|attempt| attempt.started_ms);
        let result = self.accepted().into_iter().flat_map(|result| {
            [
                result.artifact.bytes,
                result.claimed_ms,
                result.started_ms.unwrap_or(0),
                result.prove_ms,
                result.verify_ms,
                result.at_ms,
            ]
        });
        let counts = [self.height, self.listed_ms(), self.spent_ms()];
        let counts = counts.into_iter().chain(self.usage().numbers());
        too_large(times.into_iter().flatten().chain(attempts).chain(result).chain(counts))
    }
}
