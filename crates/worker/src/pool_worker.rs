//! A worker of one pool: a thread for each slot, and one that heartbeats.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::Error;
use proofyard_core::heartbeat::Hello;
use proofyard_core::pipeline::Pool;
use proofyard_core::port::{Port, Wake};
use proofyard_core::state::Task;
use proofyard_core::work::{Assignment, Performed};
use proofyard_prover::runner::GuardCommand;

use crate::duty::Duty;
use crate::home::{Finished, Home};
use crate::isolation::Isolation;
use crate::overhead::Sample;
use crate::provers::{SlotPlan, SlotProvers};
use crate::work_dir::WorkDir;

/// After trouble with storage or the disk a slot tries again, since the sweeper would otherwise find it idle for good.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// What a worker is, and when it ends by itself.
#[derive(Clone)]
pub struct WorkerPlan {
    /// How its ids begin: where it runs.
    pub id_prefix: String,
    pub pool_name: String,
    pub pool: Pool,
    /// No other worker serves the pool.
    pub alone: bool,
    /// Once it has claimed so many tasks, with all its slots together, it claims no more.
    pub max_tasks: Option<u64>,
    /// Once none of its slots has had work for so long, it claims no more.
    pub idle_out: Option<Duration>,
    pub guard: GuardCommand,
    pub work_dir: Arc<WorkDir>,
    /// What keeps its provers from others.
    pub isolation: Arc<Isolation>,
    /// How many slots of this process are other workers', and counted before its own.
    pub first_slot: u32,
}

/// One pool's worker. Its id is new at each start, and after it was declared dead (a suspended machine).
///
/// Its process registers it, runs [`PoolWorker::keep_lease`] and each slot on threads of their own, and unregisters it
/// when its slots have ended.
pub struct PoolWorker {
    plan: WorkerPlan,
    id: Mutex<String>,
    duty: Duty,
}

/// How a slot's turn went.
enum Turn {
    Worked,
    /// It was left with a claim that is released now, and may look again at once.
    Freed,
    Idle,
}

/// A claimed task, and when it was asked for and came.
struct Claimed {
    request: ClaimRequest,
    task: Task,
    asked: Instant,
    at: Instant,
}

impl PoolWorker {
    pub fn new(plan: WorkerPlan) -> Self {
        let duty = Duty::new(plan.max_tasks, plan.idle_out);
        Self { plan, id: Mutex::default(), duty }
    }

    pub fn slots(&self) -> u32 {
        self.plan.pool.slots
    }

    /// Empty before it registered.
    pub fn id(&self) -> String {
        self.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Registers under a new id.
    pub fn register<H: Home>(&self, home: &H) -> Result<(), Error> {
        let WorkerPlan { id_prefix, pool_name, pool, alone, .. } = &self.plan;
        let random = home.yard().port.random() as u32;
        let id = format!("{id_prefix}-{pool_name}-{}-{random:08x}", std::process::id());
        home.will_register(&id)?;
        home.block_on(home.yard().register_worker(&Hello {
            worker: id.clone(),
            pool: pool_name.clone(),
            slots: pool.slots,
            alone: *alone,
            lease_ms: pool.lease_ms,
            isolation: Some(self.plan.isolation.to_string()),
        }))?;
        let old = std::mem::replace(&mut *self.id.lock().unwrap_or_else(PoisonError::into_inner), id);
        if !old.is_empty() {
            home.gave_up(&old)?;
        }
        Ok(())
    }

    /// Gives its id up, and frees what its slots still hold.
    pub fn unregister<H: Home>(&self, home: &H) -> Result<(), Error> {
        let id = self.id();
        home.block_on(home.yard().expire_worker(&id, true))?;
        home.gave_up(&id)
    }

    /// Heartbeats three times a lease, and drops what nobody needs, until the home stops.
    pub fn keep_lease<H: Home>(&self, home: &H) {
        let lease_ms = self.plan.pool.lease_ms;
        let pause = Duration::from_millis((lease_ms / 3).max(1));
        while home.pause(pause) {
            match home.block_on(home.yard().heartbeat(&self.id(), lease_ms)) {
                Ok(drops) => drops.iter().for_each(|drop| self.duty.cancel_claim(drop.slot, &drop.claim)),
                Err(Error::WorkerDead { .. }) => {
                    if let Err(error) = self.register(home) {
                        home.complain(&format!("worker of pool {}", self.plan.pool_name), &error);
                    }
                }
                Err(error) => home.complain("heartbeat", &error),
            }
        }
        self.cancel_all();
    }

    /// Cancels all attempts that run.
    pub fn cancel_all(&self) {
        self.duty.cancel_all();
    }

    /// The worker's machine goes away soon: nothing more is claimed, and attempts that still run at `by` are cancelled
    /// and released. Its slots end when they are free.
    pub fn leave<H: Home>(&self, home: &H, by: Instant) {
        self.duty.leave(by);
        home.ring();
    }

    /// Claims and works until the home stops, or the worker takes no more.
    pub fn run_slot<H: Home>(&self, home: &H, slot: u32) {
        let provers = self.provers(home, slot);
        while !home.is_stopped() {
            let rung = home.rung();
            if !self.duty.may_claim() {
                // The others may wait for work that they must not take any more either.
                home.ring();
                return;
            }
            let turn = home.invocation(|home| self.turn(home, &provers, slot));
            if !matches!(turn, Ok(Turn::Worked)) {
                // Also after trouble: the slot may hold the task still, and only by claiming does it release it.
                self.duty.claimed_none();
            }
            match turn {
                Ok(Turn::Worked | Turn::Freed) => {}
                Ok(Turn::Idle) => home.wait_for_work(rung, self.duty.patience()),
                Err(error) => {
                    if !matches!(error, Error::WorkerDead { .. }) {
                        home.complain(&self.name_of(slot), &error);
                    }
                    home.pause(TROUBLE_PAUSE.min(self.duty.patience()));
                }
            }
        }
    }

    fn provers<H: Home>(&self, home: &H, slot: u32) -> SlotProvers<H::Artifacts> {
        let per_slot = self.plan.pool.gpus_per_slot;
        let gpus = (per_slot > 0).then(|| (slot * per_slot..(slot + 1) * per_slot).collect());
        let WorkerPlan { guard, work_dir, isolation, first_slot, .. } = &self.plan;
        let plan = SlotPlan {
            guard: guard.clone(),
            work_dir: Arc::clone(work_dir),
            gpus,
            isolation: Arc::clone(isolation),
            slot: first_slot + slot,
        };
        SlotProvers::new(Arc::clone(home.artifacts()), plan)
    }

    fn name_of(&self, slot: u32) -> String {
        format!("slot {slot} of pool {}", self.plan.pool_name)
    }

    /// One claim and its work.
    fn turn<H: Home>(&self, home: &H, provers: &SlotProvers<H::Artifacts>, slot: u32) -> Result<Turn, Error> {
        let (yard, asked) = (home.yard(), Instant::now());
        let claim = format!("{:016x}{:016x}", yard.port.random(), yard.port.random());
        let request = ClaimRequest { worker: self.id(), slot, claim };
        match home.block_on(yard.claim(&request))? {
            ClaimOutcome::Claimed(task) => {
                self.work(home, provers, Claimed { request, task: *task, asked, at: Instant::now() })?;
                Ok(Turn::Worked)
            }
            ClaimOutcome::SlotHolds(held) => {
                // Left by a turn that met storage trouble.
                home.block_on(yard.record_release(&request.worker, slot, &held.claim, &held.task))?;
                Ok(Turn::Freed)
            }
            ClaimOutcome::Nothing | ClaimOutcome::Quarantined { .. } => Ok(Turn::Idle),
        }
    }

    fn work<H: Home>(
        &self,
        home: &H,
        provers: &SlotProvers<H::Artifacts>,
        claimed: Claimed,
    ) -> Result<(), Error> {
        let (slot, asked, at) = (claimed.request.slot, claimed.asked, claimed.at);
        let (assignment, performed) = self.perform(home, provers, claimed)?;
        // Before the next claim, which must find what this result lists of the same block: it comes first.
        home.step(&Wake::Scope { scope: assignment.task.id.scope.clone() });
        match &performed {
            Performed::Hindered { message } => {
                home.complain(&self.name_of(slot), message);
                home.pause(TROUBLE_PAUSE);
            }
            Performed::Recorded(outcome) => {
                let sample = Sample {
                    task: assignment.task.id.clone(),
                    claimed: at,
                    claiming: at - asked,
                    working: at.elapsed().saturating_sub(provers.in_provers()),
                };
                home.recorded(Finished { assignment: &assignment, outcome, sample });
            }
            Performed::Failed { .. } | Performed::Released => {}
        }
        Ok(())
    }

    fn perform<H: Home>(
        &self,
        home: &H,
        provers: &SlotProvers<H::Artifacts>,
        claimed: Claimed,
    ) -> Result<(Assignment, Performed), Error> {
        let Claimed { request, task, .. } = claimed;
        let cancel = self.duty.begin(request.slot, &request.claim);
        if home.is_stopped() {
            cancel.cancel();
        }
        provers.begin(cancel);
        let performed = home.block_on(async {
            let assignment = home.yard().assignment(&request, task).await?;
            let performed = home.yard().perform(provers, &assignment).await?;
            Ok((assignment, performed))
        });
        self.duty.end(request.slot);
        performed
    }
}
