//! Workers: processes that register, send heartbeats, and claim tasks for their slots; some go on as zombies after they
//! were declared dead. What happens between a claim and its result is in `provers.rs`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::Error;
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::port::Wake;
use proofyard_core::state::{ScopeId, Task, TaskId, WorkerId};
use proofyard_core::work::Performed;

use super::provers::Prover;
use super::proving::Ending;
use super::services::NEVER_MS;
use super::{Role, World};
use crate::check::claims::ClaimStart;
use crate::executor::ProcessId;

/// What the heartbeat and the slots of one worker process share.
pub(super) struct Worker {
    pub id: WorkerId,
    pool: String,
    pub process: ProcessId,
    pub lease_ms: u64,
    /// Claims that a heartbeat's answer named obsolete.
    pub obsolete: RefCell<BTreeSet<String>>,
    /// Ignores which claims are obsolete, and that it was declared dead.
    pub is_zombie: bool,
}

impl World {
    pub(super) async fn work(self: Rc<Self>, process: ProcessId, pool: String) {
        let lease_ms =
            self.pipelines.values().find_map(|pipeline| pipeline.pools.get(&pool)).map(|pool| pool.lease_ms);
        let id = WorkerId::from(self.simulation.process_name(process).as_str());
        self.worker_ids.borrow_mut().insert(process, id.clone());
        let is_zombie = self.happens(self.plan.disobeys);
        let lease_ms = lease_ms.unwrap_or(30_000);
        let worker = Rc::new(Worker { id, pool, process, lease_ms, obsolete: RefCell::default(), is_zombie });
        let alone = self.plan.workers.get(&worker.pool) == Some(&1);
        let registration = WorkerRegistration {
            worker: worker.id.clone(),
            pool: worker.pool.clone(),
            slots: self.plan.slots,
            alone,
            lease_ms,
            isolation: None,
        };
        let since_ms = self.simulation.now_ms();
        loop {
            match self.bounded(self.yard.register_worker(&registration)).await {
                Some(Ok(())) => break,
                Some(Err(error)) => self.expect_passing("register_worker", &error),
                None => {}
            }
            self.simulation.sleep(100).await;
        }
        self.checker.borrow_mut().leases.extend(&worker.id, since_ms + lease_ms);
        self.simulation.spawn(process, "heartbeat", self.clone().keep_alive(worker.clone()));
        for slot in 0..self.plan.slots {
            self.simulation.spawn(process, "slot", self.clone().run_slot(worker.clone(), slot));
        }
    }

    async fn keep_alive(self: Rc<Self>, worker: Rc<Worker>) {
        loop {
            self.simulation.sleep(worker.lease_ms / 3).await;
            let until_ms = self.simulation.now_ms() + worker.lease_ms;
            let Some(answer) = self.bounded(self.yard.heartbeat(&worker.id, worker.lease_ms)).await else {
                continue;
            };
            match answer {
                Ok(obsolete) => {
                    self.checker.borrow_mut().leases.extend(&worker.id, until_ms);
                    for attempt in obsolete {
                        self.simulation.count("branch: attempt obsolete");
                        worker.obsolete.borrow_mut().insert(attempt.claim);
                    }
                }
                Err(Error::WorkerDead { .. }) => {
                    self.simulation.count("branch: heartbeat of a dead worker");
                    if self.goes_on_as_zombie(&worker) {
                        return;
                    }
                    self.simulation.kill_current();
                    return self.simulation.pause().await;
                }
                Err(error) => self.expect_passing("heartbeat", &error),
            }
        }
    }

    fn goes_on_as_zombie(&self, worker: &Worker) -> bool {
        let is_zombie = worker.is_zombie && !self.is_calm.get();
        if is_zombie {
            self.simulation.count("world: zombie goes on");
        }
        is_zombie
    }

    async fn run_slot(self: Rc<Self>, worker: Rc<Worker>, slot: u32) {
        loop {
            let request = ClaimRequest { worker: worker.id.clone(), slot, claim: self.name("claim") };
            let notices = self.pool_signals[&worker.pool].notices();
            let since = ClaimStart { step: self.simulation.steps(), ms: self.simulation.process_now_ms() };
            let Some(outcome) = self.claim(&request).await else { return };
            match outcome {
                ClaimOutcome::Claimed(task) => {
                    self.check_claim(&worker, since, &task);
                    self.perform(&worker, &request, *task).await;
                }
                ClaimOutcome::Nothing => {
                    self.check_nothing(&worker, since);
                    let idle_ms = match (self.only_wakes.get(), self.is_real_time) {
                        (true, _) => NEVER_MS,
                        (false, true) => 1_000,
                        (false, false) => 20_000,
                    };
                    let until_ms = self.simulation.now_ms() + idle_ms;
                    self.pool_signals[&worker.pool].wait_after(notices, &self.simulation, until_ms).await;
                }
                ClaimOutcome::Quarantined { until_ms } => {
                    self.simulation.count("branch: quarantined");
                    // The claim answers in this host's time, however far that is off.
                    let rest_ms = until_ms.saturating_sub(self.simulation.process_now_ms());
                    self.simulation.sleep(rest_ms.max(1)).await;
                }
                ClaimOutcome::SlotHolds(held) => {
                    self.simulation.count("branch: slot holds another claim");
                    self.release(&worker, slot, &held.claim, &held.task).await;
                }
            }
        }
    }

    /// Repeats the same claim until its outcome is known; `None` once the worker is dead.
    async fn claim(&self, request: &ClaimRequest) -> Option<ClaimOutcome> {
        loop {
            // A call that was cut off has an unknown outcome: it is repeated under the same claim id.
            let Some(answer) = self.bounded(self.yard.claim(request)).await else { continue };
            match answer {
                Ok(outcome) => return Some(outcome),
                Err(Error::WorkerDead { .. }) => {
                    self.simulation.count("branch: claim of a dead worker");
                    self.simulation.kill_current();
                    self.simulation.pause().await;
                    return None;
                }
                Err(error) => {
                    self.expect_passing("claim", &error);
                    self.simulation.sleep(20).await;
                }
            }
        }
    }

    fn check_nothing(&self, worker: &Worker, since: ClaimStart) {
        self.check();
        let (checker, proving) = (self.checker.borrow(), self.proving.borrow());
        checker.claims.check_nothing(
            &checker.context(&self.simulation, &proving),
            &worker.id,
            since,
            &worker.pool,
        );
    }

    fn check_claim(&self, worker: &Worker, since: ClaimStart, task: &Task) {
        self.simulation.trace(|| format!("claimed {} of rank {}", task.id(), task.rank()));
        self.check();
        let checker = self.checker.borrow();
        let proving = self.proving.borrow();
        let context = checker.context(&self.simulation, &proving);
        checker.claims.check(&context, &worker.id, since, &worker.pool, task);
        if task.checkpoint().is_some() {
            self.simulation.count("check: resumed");
        }
        let newer = proving.newer_checkpoint(task.id(), task.checkpoint(), since.step);
        context.must(newer.is_none(), || {
            let (id, given) = (task.id(), task.checkpoint());
            format!("{id} resumes from {given:?}, and {newer:?} was kept after it")
        });
    }

    async fn perform(self: &Rc<Self>, worker: &Rc<Worker>, request: &ClaimRequest, task: Task) {
        let id = task.id().clone();
        // A worker that cannot reach the yard tries again, and then mostly gives up without releasing the task.
        for _ in 0..2 {
            let assignment = match self.yard.assignment(request, task.clone()).await {
                Ok(assignment) => assignment,
                Err(error) => {
                    self.expect_passing("assignment", &error);
                    self.simulation.sleep(50).await;
                    continue;
                }
            };
            let mut prover = Prover { world: self.clone(), worker: worker.clone() };
            match self.yard.perform(&mut prover, &assignment).await {
                Ok(performed) => {
                    self.note_performed(&performed);
                    return self.advance_here(&id.scope).await;
                }
                Err(error) => self.expect_passing("perform", &error),
            }
        }
        if self.draw(|random| random.chance(3_000)) {
            self.release(worker, request.slot, &request.claim, &id).await;
        }
    }

    /// In a real-time pool the worker takes the next steps itself.
    async fn advance_here(&self, scope: &ScopeId) {
        if !self.is_real_time || self.draw(|random| random.chance(5_000)) {
            return;
        }
        self.simulation.count("branch: worker advanced");
        if let Err(error) = self.yard.advance(&Wake::Scope { scope: scope.clone() }).await {
            self.expect_passing("advance", &error);
        }
    }

    fn note_performed(&self, performed: &Performed) {
        self.simulation.trace(|| format!("{performed:?}"));
        use proofyard_core::record::{FailureOutcome, ResultOutcome};
        self.simulation.count(match performed {
            Performed::Recorded(ResultOutcome::Accepted) => "branch: result accepted",
            Performed::Recorded(ResultOutcome::AlreadyAccepted) => "branch: result was there already",
            Performed::Failed { outcome: FailureOutcome::Retried, .. } => "branch: failure, retried",
            Performed::Failed { outcome: FailureOutcome::Parked, .. } => "branch: failure, parked",
            Performed::Failed { outcome: FailureOutcome::OtherCopyRuns, .. } => {
                "branch: failure, other copy runs"
            }
            Performed::Failed { outcome: FailureOutcome::Stale, .. } => "branch: failure of a stale attempt",
            Performed::Released => "branch: released",
            Performed::HostFault { .. } => "branch: let go for a full disk",
        });
    }

    async fn release(&self, worker: &Worker, slot: u32, claim: &str, task: &TaskId) {
        self.proving.borrow_mut().note_ending(claim, Ending::Released);
        while let Err(error) = self.yard.record_release(&worker.id, slot, claim, task).await {
            self.expect_passing("record_release", &error);
            self.simulation.sleep(50).await;
        }
    }

    /// Sometimes a watcher reports a worker process's death at once, before its lease ends.
    pub(super) fn notice_death(self: &Rc<Self>, process: ProcessId) {
        let Some(id) = self.worker_ids.borrow_mut().remove(&process) else { return };
        if !self.happens(3_000) {
            return;
        }
        self.simulation.count("world: death noticed");
        let (world, watcher) = (self.clone(), self.simulation.start_process("watcher"));
        self.roles.borrow_mut().insert(watcher, Role::Watcher);
        self.simulation.spawn(watcher, "expire", async move {
            if let Some(Err(error)) = world.bounded(world.yard.expire_worker(&id, true)).await {
                world.expect_passing("expire_worker", &error);
            }
        });
    }
}
