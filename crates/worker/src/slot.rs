//! One slot of a worker: claims a task, works on it, records how that ended, and does it again.
//!
//! A slot is one thread, and all that it holds is its own; what it shares with the worker's other slots (may it claim, who
//! cancels it) is in [`WorkerState`](crate::worker_state::WorkerState).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::cadence::SLOT_PAUSE_MS;
use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::{Cause, Error};
use proofyard_core::port::Wake;
use proofyard_core::record::ResultOutcome;
use proofyard_core::state::Task;
use proofyard_core::work::{Assignment, Performed};
use proofyard_prover::CancelReason;

use crate::attempts::{Attempts, TimedExecutor};
use crate::checkpoints::ClaimCheckpoints;
use crate::home::{Finished, WorkerHome};
use crate::overhead::Sample;
use crate::pool_worker::{PoolWorker, WorkerPlan};
use crate::provers::SlotPlan;

const ERROR_PAUSE: Duration = Duration::from_millis(SLOT_PAUSE_MS);

pub(crate) struct Slot<'a, H, A> {
    worker: &'a PoolWorker,
    home: &'a H,
    /// Its number among the worker's slots.
    number: u32,
    attempts: A,
    /// Since when it has had nothing to do.
    free_since: Instant,
    /// It may hold a task still, which only a claim of its own finds out.
    may_hold: bool,
}

/// How a slot's turn went.
enum Turn {
    Worked,
    /// The slot still held a task, which is released now; it may claim again at once.
    Released,
    Idle,
}

/// A claimed task.
struct Claimed {
    request: ClaimRequest,
    task: Task,
    claim_began: Instant,
    claimed: Instant,
}

/// An attempt that ended.
struct Worked {
    assignment: Assignment,
    performed: Performed,
    /// Time spent in provers and verifiers.
    in_provers: Duration,
}

impl<'a, H: WorkerHome, A: Attempts> Slot<'a, H, A> {
    pub fn new(worker: &'a PoolWorker, home: &'a H, number: u32, attempts: A) -> Self {
        Self { worker, home, number, attempts, free_since: Instant::now(), may_hold: true }
    }

    /// Claims and works until the home stops, or the worker claims no more.
    pub fn run(mut self) {
        let (home, state) = (self.home, self.worker.state());
        while !home.is_stopped() {
            let rung = home.bell().rung();
            if !state.reserve_claim() {
                // The other slots may be waiting for work that they may not claim either.
                home.bell().ring();
                return;
            }
            let turn = home.invocation(|home| self.turn(home));
            self.may_hold = turn.is_err();
            if !matches!(turn, Ok(Turn::Idle)) {
                self.free_since = Instant::now();
            }
            if !matches!(turn, Ok(Turn::Worked)) {
                // Also after an error: the slot may still hold a task, and only another claim releases that.
                state.return_claim();
            }
            match turn {
                Ok(Turn::Worked | Turn::Released) => {}
                Ok(Turn::Idle) => home.bell().wait(rung, home.idle_look().min(state.close_if_idle())),
                Err(error) => {
                    if !matches!(error, Error::WorkerDead { .. }) {
                        home.log_error(&self.name(), &error);
                    }
                    home.pause(ERROR_PAUSE.min(state.close_if_idle()));
                }
            }
        }
    }

    fn name(&self) -> String {
        format!("slot {} of pool {}", self.number, self.worker.plan().pool_name)
    }

    /// One claim and the work on what was claimed: all of one invocation, whose home this is.
    fn turn(&mut self, home: &H) -> Result<Turn, Error> {
        let (yard, claim_began) = (home.yard(), Instant::now());
        let claim = format!("{:016x}{:016x}", yard.port.random(), yard.port.random());
        let request = ClaimRequest { worker: self.worker.id(), slot: self.number, claim };
        let Some(outcome) = self.claim(home, &request)? else { return Ok(Turn::Idle) };
        match outcome {
            ClaimOutcome::Claimed(task) => {
                self.work(home, Claimed { request, task: *task, claim_began, claimed: Instant::now() })?;
                Ok(Turn::Worked)
            }
            ClaimOutcome::SlotHolds(held) => {
                // Left over from a turn that failed with an error of the storage.
                let release = yard.record_release(&request.worker, self.number, &held.claim, &held.task);
                home.block_on(release)?;
                Ok(Turn::Released)
            }
            ClaimOutcome::Nothing | ClaimOutcome::Quarantined { .. } => Ok(Turn::Idle),
        }
    }

    /// `None` if another slot has just found nothing.
    fn claim(&self, home: &H, request: &ClaimRequest) -> Result<Option<ClaimOutcome>, Error> {
        let claim = || home.block_on(home.yard().claim(request));
        if self.may_hold || !home.claims_in_turn() {
            return claim().map(Some);
        }
        let Some(turn) = self.worker.claiming().begin(home.bell()) else { return Ok(None) };
        let outcome = claim();
        turn.end(matches!(outcome, Ok(ClaimOutcome::Nothing)));
        outcome.map(Some)
    }

    fn work(&mut self, home: &H, claimed: Claimed) -> Result<(), Error> {
        let (claiming, claimed_at) = (claimed.claimed - claimed.claim_began, claimed.claimed);
        let worked = self.attempt(home, claimed)?;
        // Before the next claim: what this result lists of the same block has a lower rank than tasks of later blocks.
        home.take_steps(&Wake::Scope { scope: worked.assignment.task.id().scope.clone() });
        match &worked.performed {
            Performed::HostFault { message } => {
                home.log_error(&self.name(), Cause::from(message.as_str()).as_ref());
                home.pause(ERROR_PAUSE);
            }
            Performed::Recorded(outcome) => {
                self.report_recorded(home, &worked, outcome, claiming, claimed_at)
            }
            Performed::Failed { .. } | Performed::Released => {}
        }
        Ok(())
    }

    /// Runs the attempt to its end, and records how it ended.
    fn attempt(&mut self, home: &H, claimed: Claimed) -> Result<Worked, Error> {
        let Claimed { request, task, .. } = claimed;
        let state = self.worker.state();
        let cancel = state.begin_attempt(request.slot, &request.claim);
        if home.is_stopped() {
            cancel.cancel(CancelReason::Stopping);
        }
        let (slot, is_over) = (self.name(), AtomicBool::new(false));
        let (performed, in_provers) = thread::scope(|threads| {
            let checkpoints = ClaimCheckpoints {
                threads,
                home,
                slot,
                task: task.id().clone(),
                claim: request.claim.clone(),
                cancel: cancel.clone(),
                is_over: &is_over,
            };
            let mut attempt = self.attempts.attempt(cancel, &checkpoints);
            let performed = home.block_on(async {
                let assignment = home.yard().assignment(&request, task).await?;
                let performed = home.yard().perform(&mut attempt, &assignment).await?;
                Ok((assignment, performed))
            });
            is_over.store(true, Ordering::Relaxed);
            (performed, attempt.in_provers())
        });
        state.end_attempt(request.slot);
        performed.map(|(assignment, performed)| Worked { assignment, performed, in_provers })
    }

    fn report_recorded(
        &self,
        home: &H,
        worked: &Worked,
        outcome: &ResultOutcome,
        claiming: Duration,
        claimed_at: Instant,
    ) {
        let Worked { assignment, in_provers, .. } = worked;
        let recorded = Instant::now();
        let sample = Sample {
            task: assignment.task.id().clone(),
            height: assignment.task.height(),
            slot_free: self.free_since,
            claimed: claimed_at,
            claiming,
            recorded,
            working: (recorded - claimed_at).saturating_sub(*in_provers),
        };
        home.recorded(Finished { assignment, outcome, sample });
    }
}

/// What the provers of a worker's slot need to know of it.
pub(crate) fn slot_plan(plan: &WorkerPlan, number: u32) -> SlotPlan {
    let per_slot = plan.pool.gpus_per_slot;
    let gpus = (per_slot > 0).then(|| (number * per_slot..(number + 1) * per_slot).collect());
    SlotPlan {
        guard: plan.guard.clone(),
        work_dir: Arc::clone(&plan.work_dir),
        gpus,
        isolation: Arc::clone(&plan.isolation),
        energy: Arc::clone(&plan.energy),
        slot: plan.first_slot + number,
        accounts: plan.accounts.clone(),
    }
}
