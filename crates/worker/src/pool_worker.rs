//! A worker of one pool: it registers, keeps its lease by heartbeats, and unregisters. Each of its slots is a thread of its
//! own; see [`crate::slot`].
//!
//! Its id is changed only by the thread that registers: its process's main thread at first, then the one that heartbeats.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::error::Error;
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::pipeline::Pool;
use proofyard_core::state::WorkerId;
use proofyard_prover::runner::GuardCommand;

use crate::attempts::Attempts;
use crate::claiming::Claiming;
use crate::energy::EnergyMeter;
use crate::home::WorkerHome;
use crate::isolation::Isolation;
use crate::provers::SlotProvers;
use crate::slot::{Slot, slot_plan};
use crate::work_dir::WorkDir;
use crate::worker_state::{WorkerState, cancel_reason};

/// What a worker is, and when it ends by itself.
#[derive(Clone)]
pub struct WorkerPlan {
    /// The prefix of its ids, which names where it runs.
    pub id_prefix: String,
    pub pool_name: String,
    pub pool: Pool,
    /// No other worker serves the pool.
    pub alone: bool,
    /// How many tasks it claims, with all its slots together, before it ends.
    pub max_tasks: Option<u64>,
    /// How long all its slots may be idle before it ends.
    pub idle_out: Option<Duration>,
    pub guard: GuardCommand,
    pub work_dir: Arc<WorkDir>,
    /// How its provers are isolated.
    pub isolation: Arc<Isolation>,
    /// Shared with all workers of this process.
    pub energy: Arc<EnergyMeter>,
    /// The number, among all slots of this process, of its first one.
    pub first_slot: u32,
    /// Where what accounts have sent is kept, in a home whose stages may call contracts.
    pub accounts: Option<PathBuf>,
}

/// One pool's worker. Its id is new at each start, and after it was declared dead (a suspended machine).
///
/// Its process registers it, runs [`PoolWorker::keep_lease`] and each slot on threads of their own, and unregisters it
/// when its slots have ended.
pub struct PoolWorker {
    plan: WorkerPlan,
    id: Mutex<WorkerId>,
    state: WorkerState,
    claiming: Claiming,
    /// The price that is recorded under its current id.
    recorded_price: Mutex<Option<u64>>,
}

impl PoolWorker {
    pub fn new(plan: WorkerPlan) -> Self {
        let state = WorkerState::new(plan.max_tasks, plan.idle_out);
        Self {
            plan,
            id: Mutex::default(),
            state,
            claiming: Claiming::default(),
            recorded_price: Mutex::default(),
        }
    }

    pub fn slots(&self) -> u32 {
        self.plan.pool.slots
    }

    /// Its current id; empty before it has registered.
    pub fn id(&self) -> WorkerId {
        self.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Registers under a new id.
    pub fn register<H: WorkerHome>(&self, home: &H) -> Result<(), Error> {
        let WorkerPlan { id_prefix, pool_name, pool, alone, .. } = &self.plan;
        let random = home.yard().port.random() as u32;
        let id = WorkerId::new(id_prefix, pool_name, std::process::id(), random);
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
        *self.recorded_price.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.record_price(home);
        if !old.is_none() {
            home.unregistered(&old)?;
        }
        Ok(())
    }

    /// Attempts that are claimed from now on have the price that the home knows, if that is another than before.
    /// What cannot be written now is written with the next heartbeat.
    fn record_price<H: WorkerHome>(&self, home: &H) {
        let mut recorded = self.recorded_price.lock().unwrap_or_else(PoisonError::into_inner);
        let known = home.price_microusd_per_hour();
        if known == *recorded {
            return;
        }
        match home.block_on(home.yard().price_worker(&self.id(), known)) {
            Ok(()) => *recorded = known,
            Err(error) => home.log_error("the machine's price", &error),
        }
    }

    /// Ends its registration, and releases what its slots still hold.
    pub fn unregister<H: WorkerHome>(&self, home: &H) -> Result<(), Error> {
        let id = self.id();
        home.block_on(home.yard().expire_worker(&id, true))?;
        home.unregistered(&id)
    }

    /// Sends three heartbeats in each lease, and cancels attempts that the answers call obsolete, until the home stops.
    pub fn keep_lease<H: WorkerHome>(&self, home: &H) {
        let lease_ms = self.plan.pool.lease_ms;
        let pause = Duration::from_millis((lease_ms / 3).max(1));
        while home.pause(pause) {
            match home.block_on(home.yard().heartbeat(&self.id(), lease_ms)) {
                Ok(obsolete) => {
                    for attempt in obsolete {
                        self.state.cancel_claim(attempt.slot, &attempt.claim, cancel_reason(attempt.reason));
                    }
                    self.record_price(home);
                }
                Err(Error::WorkerDead { .. }) => {
                    if let Err(error) = self.register(home) {
                        home.log_error(&format!("worker of pool {}", self.plan.pool_name), &error);
                    }
                }
                Err(error) => home.log_error("heartbeat", &error),
            }
        }
        self.cancel_all();
    }

    /// Cancels all running attempts, since the worker stops.
    pub fn cancel_all(&self) {
        self.state.cancel_all();
    }

    /// Drains the worker, since its machine goes away soon: nothing more is claimed, and attempts that still run at `by`
    /// are cancelled and released. Its slots end once they are free.
    pub fn drain<H: WorkerHome>(&self, home: &H, by: Instant) {
        self.state.drain(by);
        home.bell().ring();
    }

    /// Claims and works, on this thread, until the home stops or the worker claims no more.
    pub fn run_slot<H: WorkerHome>(&self, home: &H, number: u32) {
        let provers = SlotProvers::new(Arc::clone(home.artifacts()), slot_plan(&self.plan, number));
        self.run_slot_with(home, number, provers);
    }

    /// The same with something in the place of the pipeline's provers.
    pub fn run_slot_with<H: WorkerHome>(&self, home: &H, number: u32, attempts: impl Attempts) {
        Slot::new(self, home, number, attempts).run();
    }

    pub(crate) fn plan(&self) -> &WorkerPlan {
        &self.plan
    }

    pub(crate) fn claiming(&self) -> &Claiming {
        &self.claiming
    }

    pub(crate) fn state(&self) -> &WorkerState {
        &self.state
    }
}
