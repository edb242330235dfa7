//! A worker of one pool: it registers, keeps its lease by heartbeats, and unregisters. Each of its slots is a thread of its
//! own; see [`crate::slot`].
//!
//! Its id is changed only by the thread that registers: its process's main thread at first, then the one that heartbeats.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::error::Error;
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::pipeline::Pool;
use proofyard_core::port::Port;
use proofyard_prover::runner::GuardCommand;

use crate::duty::Duty;
use crate::home::WorkerHome;
use crate::isolation::Isolation;
use crate::slot::Slot;
use crate::work_dir::WorkDir;

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
    pub fn register<H: WorkerHome>(&self, home: &H) -> Result<(), Error> {
        let WorkerPlan { id_prefix, pool_name, pool, alone, .. } = &self.plan;
        let random = home.yard().port.random() as u32;
        let id = format!("{id_prefix}-{pool_name}-{}-{random:08x}", std::process::id());
        home.will_register(&id)?;
        home.block_on(home.yard().register_worker(&WorkerRegistration {
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
    pub fn unregister<H: WorkerHome>(&self, home: &H) -> Result<(), Error> {
        let id = self.id();
        home.block_on(home.yard().expire_worker(&id, true))?;
        home.gave_up(&id)
    }

    /// Heartbeats three times a lease, and drops what nobody needs, until the home stops.
    pub fn keep_lease<H: WorkerHome>(&self, home: &H) {
        let lease_ms = self.plan.pool.lease_ms;
        let pause = Duration::from_millis((lease_ms / 3).max(1));
        while home.pause(pause) {
            match home.block_on(home.yard().heartbeat(&self.id(), lease_ms)) {
                Ok(obsolete) => {
                    obsolete.iter().for_each(|attempt| self.duty.cancel_claim(attempt.slot, &attempt.claim))
                }
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
    pub fn leave<H: WorkerHome>(&self, home: &H, by: Instant) {
        self.duty.leave(by);
        home.bell().ring();
    }

    /// Claims and works, on this thread, until the home stops or the worker takes no more.
    pub fn run_slot<H: WorkerHome>(&self, home: &H, number: u32) {
        Slot::new(self, home, number).run();
    }

    pub(crate) fn plan(&self) -> &WorkerPlan {
        &self.plan
    }

    pub(crate) fn duty(&self) -> &Duty {
        &self.duty
    }
}
