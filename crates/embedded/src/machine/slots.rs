//! Local workers: one for each pool, with a thread for each slot and one that heartbeats.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::Error;
use proofyard_core::heartbeat::Hello;
use proofyard_core::pipeline::{Output, Pool};
use proofyard_core::port::Wake;
use proofyard_core::record::ResultOutcome;
use proofyard_core::work::Performed;
use proofyard_prover::runner::{Cancel, GuardCommand};

use super::Shared;
use super::local::{forget_worker, remember_worker};
use super::overhead::Sample;
use super::provers::SlotProvers;
use super::work_dir::WorkDir;
use crate::block_on;

/// After trouble with storage or the disk a slot tries again, since the sweeper would otherwise find it idle for good.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// One pool's worker. Its id is new at each start, and after it was declared dead (a suspended machine).
pub(crate) struct LocalWorker {
    pub pool_name: String,
    pub pool: Pool,
    pub guard: GuardCommand,
    pub work_dir: Arc<WorkDir>,
    id: Mutex<String>,
    /// What each slot works on, to be cancelled.
    running: Mutex<HashMap<u32, (String, Cancel)>>,
}

impl LocalWorker {
    pub fn new(pool_name: &str, pool: &Pool, guard: GuardCommand, work_dir: Arc<WorkDir>) -> Self {
        Self {
            pool_name: pool_name.to_owned(),
            pool: pool.clone(),
            guard,
            work_dir,
            id: Mutex::default(),
            running: Mutex::default(),
        }
    }

    pub fn id(&self) -> String {
        self.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Registers under a new id.
    pub fn register(&self, shared: &Shared) -> Result<(), Error> {
        let id = format!("local-{}-{}-{:08x}", self.pool_name, std::process::id(), shared.random() as u32);
        block_on(remember_worker(&shared.yard.port, &id))?;
        block_on(shared.yard.register_worker(&Hello {
            worker: id.clone(),
            pool: self.pool_name.clone(),
            slots: self.pool.slots,
            alone: true,
            lease_ms: self.pool.lease_ms,
        }))?;
        let old = std::mem::replace(&mut *self.id.lock().unwrap_or_else(PoisonError::into_inner), id);
        if !old.is_empty() {
            block_on(forget_worker(&shared.yard.port, &old))?;
        }
        Ok(())
    }

    /// Heartbeats three times a lease, and drops what nobody needs.
    pub fn keep_lease(&self, shared: &Shared) {
        let pause = Duration::from_millis((self.pool.lease_ms / 3).max(1));
        while shared.pause(pause) {
            match block_on(shared.yard.heartbeat(&self.id(), self.pool.lease_ms)) {
                Ok(drops) => drops.iter().for_each(|drop| self.cancel_claim(drop.slot, &drop.claim)),
                Err(Error::WorkerDead { .. }) => {
                    if let Err(error) = self.register(shared) {
                        shared.complain(&format!("worker of pool {}", self.pool_name), &error);
                    }
                }
                Err(error) => shared.complain("heartbeat", &error),
            }
        }
        self.cancel_all();
    }

    fn cancel_claim(&self, slot: u32, claim: &str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cancel)) = running.get(&slot).filter(|(running, _)| running == claim) {
            cancel.cancel();
        }
    }

    pub fn cancel_all(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().for_each(|(_, cancel)| cancel.cancel());
    }

    /// Claims and works until the machine stops.
    pub fn run_slot(&self, shared: &Shared, slot: u32) {
        let per_slot = self.pool.gpus_per_slot;
        let gpus = (per_slot > 0).then(|| (slot * per_slot..(slot + 1) * per_slot).collect());
        let provers = SlotProvers::new(
            Arc::clone(&shared.artifacts),
            self.guard.clone(),
            Arc::clone(&self.work_dir),
            gpus,
        );
        while !shared.wakes.is_stopped() {
            let rung = shared.wakes.rung();
            match self.turn(shared, &provers, slot) {
                Ok(true) => {}
                Ok(false) => shared.wakes.wait_for_work(rung, shared.idle_look),
                Err(error) => {
                    if !matches!(error, Error::WorkerDead { .. }) {
                        shared.complain(&format!("slot {slot} of pool {}", self.pool_name), &error);
                    }
                    shared.pause(TROUBLE_PAUSE);
                }
            }
        }
    }

    /// One claim and its work; says whether there was any.
    fn turn(&self, shared: &Shared, provers: &SlotProvers, slot: u32) -> Result<bool, Error> {
        let claim = format!("{:016x}{:016x}", shared.random(), shared.random());
        let request = ClaimRequest { worker: self.id(), slot, claim };
        let started = Instant::now();
        let task = match block_on(shared.yard.claim(&request))? {
            ClaimOutcome::Claimed(task) => *task,
            ClaimOutcome::SlotHolds(held) => {
                // Left by a turn that met storage trouble.
                block_on(shared.yard.record_release(&request.worker, slot, &held.claim, &held.task))?;
                return Ok(true);
            }
            ClaimOutcome::Nothing | ClaimOutcome::Quarantined { .. } => return Ok(false),
        };
        let claimed = Instant::now();
        let cancel = Cancel::new();
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(slot, (request.claim.clone(), cancel.clone()));
        if shared.wakes.is_stopped() {
            cancel.cancel();
        }
        provers.begin(cancel);
        let assignment = block_on(shared.yard.assignment(&request, task))?;
        let performed = block_on(shared.yard.perform(provers, &assignment));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
        let performed = performed?;
        // Before the next claim, which must find what this result lists of the same block: it comes first.
        shared.step(&Wake::Scope { scope: assignment.task.id.scope.clone() });
        if let Performed::Hindered { message } = &performed {
            shared.complain(&format!("slot {slot} of pool {}", self.pool_name), message);
            shared.pause(TROUBLE_PAUSE);
        }
        if performed == Performed::Recorded(ResultOutcome::Accepted)
            && assignment.stage().output == Output::Proof
        {
            shared.proofs_accepted.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(performed, Performed::Recorded(_)) {
            shared.overheads.add(Sample {
                task: assignment.task.id.clone(),
                claimed,
                claiming: claimed - started,
                working: claimed.elapsed().saturating_sub(provers.in_provers()),
            });
        }
        Ok(true)
    }
}
