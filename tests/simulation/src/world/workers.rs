//! Workers: processes that claim, prove, verify and hand in, that die, freeze, go on as zombies, and let go.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::Error;
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::pipeline::{Source, Strategy};
use proofyard_core::port::Wake;
use proofyard_core::record::FailureKind;
use proofyard_core::state::{ArtifactRef, List, Task, TaskId};
use proofyard_core::work::{Assignment, AttemptError, Executor, Performed, Proved};

use super::proving::{Artifact, Ending};
use super::services::NEVER_MS;
use super::{Role, World};
use crate::check::claims::Since;
use crate::check::reduction;
use crate::executor::ProcessId;

/// What the tasks of one worker process share.
pub(super) struct Worker {
    id: String,
    pool: String,
    process: ProcessId,
    lease_ms: u64,
    /// Claims that a heartbeat said to drop.
    dropped: RefCell<BTreeSet<String>>,
    /// Never looks at what it is told to drop, nor whether it was declared dead.
    is_zombie: bool,
}

impl World {
    pub(super) async fn work(self: Rc<Self>, process: ProcessId, pool: String) {
        let lease_ms =
            self.pipelines.values().find_map(|pipeline| pipeline.pools.get(&pool)).map(|pool| pool.lease_ms);
        let id = self.simulation.process_name(process);
        self.worker_ids.borrow_mut().insert(process, id.clone());
        let is_zombie = self.happens(self.plan.disobeys);
        let lease_ms = lease_ms.unwrap_or(30_000);
        let worker = Rc::new(Worker { id, pool, process, lease_ms, dropped: RefCell::default(), is_zombie });
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
        self.checker.borrow_mut().leases.told(&worker.id, since_ms + lease_ms);
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
                    self.checker.borrow_mut().leases.told(&worker.id, until_ms);
                    for attempt in obsolete {
                        self.simulation.count("branch: told to drop");
                        worker.dropped.borrow_mut().insert(attempt.claim);
                    }
                }
                Err(Error::WorkerDead { .. }) => {
                    self.simulation.count("branch: heartbeat of a dead worker");
                    if self.ends_as_zombie(&worker) {
                        return;
                    }
                    self.simulation.kill_current();
                    return self.simulation.pause().await;
                }
                Err(error) => self.expect_passing("heartbeat", &error),
            }
        }
    }

    fn ends_as_zombie(&self, worker: &Worker) -> bool {
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
            let since = Since { step: self.simulation.steps(), ms: self.simulation.process_now_ms() };
            let Some(outcome) = self.claim(&request).await else { return };
            match outcome {
                ClaimOutcome::Claimed(task) => {
                    self.check_claim(&worker, since, &task);
                    self.perform(&worker, &request, *task).await;
                }
                ClaimOutcome::Nothing => {
                    self.check_nothing(&worker, since);
                    let idle_ms = match self.only_wakes.get() {
                        true => NEVER_MS,
                        false => {
                            if self.is_real_time {
                                1_000
                            } else {
                                20_000
                            }
                        }
                    };
                    let until_ms = self.simulation.now_ms() + idle_ms;
                    self.pool_signals[&worker.pool].wait_after(notices, &self.simulation, until_ms).await;
                }
                ClaimOutcome::Quarantined { until_ms } => {
                    self.simulation.count("branch: quarantined");
                    // The yard's time is this host's.
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

    /// The same claim until its outcome is known; `None` once the worker is dead.
    async fn claim(&self, request: &ClaimRequest) -> Option<ClaimOutcome> {
        loop {
            // Who was cut off does not know, and asks again under the same id.
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

    fn check_nothing(&self, worker: &Worker, since: Since) {
        self.look();
        let (checker, proving) = (self.checker.borrow(), self.proving.borrow());
        checker.claims.check_nothing(
            &checker.sight(&self.simulation, &proving),
            &worker.id,
            since,
            &worker.pool,
        );
    }

    fn check_claim(&self, worker: &Worker, since: Since, task: &Task) {
        self.simulation.trace(|| format!("claimed {} of rank {}", task.id, task.rank));
        self.look();
        let checker = self.checker.borrow();
        let proving = self.proving.borrow();
        let sight = checker.sight(&self.simulation, &proving);
        checker.claims.check(&sight, &worker.id, since, &worker.pool, task);
    }

    async fn perform(self: &Rc<Self>, worker: &Rc<Worker>, request: &ClaimRequest, task: Task) {
        let id = task.id.clone();
        // A worker that cannot reach the yard tries again, and in the end lets go.
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
    async fn advance_here(&self, scope: &str) {
        if !self.is_real_time || self.draw(|random| random.chance(5_000)) {
            return;
        }
        self.simulation.count("branch: worker advanced");
        if let Err(error) = self.yard.advance(&Wake::Scope { scope: scope.to_owned() }).await {
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

    /// Somebody sees the end of a worker process, and says so at once.
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

struct Prover {
    world: Rc<World>,
    worker: Rc<Worker>,
}

impl Prover {
    /// Work takes time, in which much may happen to its worker.
    async fn take_time(&self, ms: u64, claim: &str) -> Result<(), AttemptError> {
        let world = &self.world;
        let (plan, simulation) = (&world.plan, &world.simulation);
        let ms = if world.is_calm.get() { ms.min(20) } else { world.draw(|random| random.skewed(ms * 2)) };
        for _ in 0..2 {
            simulation.sleep(ms / 2).await;
            if world.happens(plan.worker_dies / 2) {
                simulation.count("fault: worker died at work");
                simulation.kill_current();
                simulation.pause().await;
            }
            if world.happens(plan.worker_freezes / 2) {
                simulation.count("fault: worker froze");
                let until_ms =
                    simulation.now_ms() + world.draw(|random| random.below(self.worker.lease_ms * 3));
                simulation.freeze(self.worker.process, until_ms);
                simulation.pause().await;
            }
            let is_dropped = self.worker.dropped.borrow().contains(claim) && !self.worker.is_zombie;
            if is_dropped || world.happens(plan.releases / 4) {
                world.proving.borrow_mut().note_ending(claim, Ending::Released);
                return Err(AttemptError::Cancelled);
            }
        }
        Ok(())
    }

    fn failed(&self, assignment: &Assignment, kind: FailureKind, message: &str) -> AttemptError {
        self.fails_later(assignment, kind);
        AttemptError::Failed { kind, message: message.to_owned(), log: vec!["last words".to_owned()] }
    }

    /// Takes so long that another must have begun the same, and ends when it is told to.
    async fn straggle(&self, assignment: &Assignment) {
        let simulation = &self.world.simulation;
        simulation.count("world: straggled");
        let hedge_ms = assignment.stage().limits.hedge_ms.unwrap_or(0);
        // By then a heartbeat is seen that came after a sweeper stood still.
        let from_ms = simulation.now_ms() + hedge_ms + self.worker.lease_ms;
        let until_ms = from_ms + self.world.overdue_ms() + hedge_ms + 10_000;
        let (mut sweeps_before, mut swept_ms) = (None, None);
        while simulation.now_ms() < until_ms && !self.worker.dropped.borrow().contains(&assignment.claim) {
            simulation.sleep(1_000).await;
            if simulation.now_ms() >= from_ms {
                let before = *sweeps_before.get_or_insert(self.world.sweeps());
                if self.world.sweeps() >= before + 3 {
                    swept_ms.get_or_insert(simulation.now_ms());
                }
            }
        }
        // One that had no time for all may count from the heartbeat that it sees then.
        let are_swept = swept_ms.is_some_and(|swept_ms| simulation.now_ms() >= swept_ms + hedge_ms);
        let (checker, id) = (self.world.checker.borrow(), &assignment.task.id);
        let is_wanted = checker.mirror.scope(&id.scope).is_some_and(|scope| scope.is_live());
        let runs_alone = checker.mirror.task(id).is_some_and(|task| {
            task.is_open()
                && !task.is_listed()
                && task.started() == 1
                && task.attempts().iter().any(|attempt| attempt.claim == assignment.claim)
        });
        if is_wanted && runs_alone && are_swept {
            simulation.violate(format!("{id} straggles, and no second copy was to start"));
        }
    }

    /// The yard will find something wrong with what is brought.
    fn fails_later(&self, assignment: &Assignment, kind: FailureKind) {
        let mut proving = self.world.proving.borrow_mut();
        proving.note_failure(&assignment.task.id);
        proving.note_ending(&assignment.claim, Ending::Failed(kind));
    }

    /// The output of a prover that works as it should, apart from what a verifier must see.
    fn write(&self, assignment: &Assignment, is_true: bool) -> (ArtifactRef, bool) {
        let world = &self.world;
        let pipeline = &assignment.pipeline;
        let id = &assignment.task.id;
        let is_split =
            pipeline.readers(assignment.stage).any(|(_, reader)| reader.strategy == Strategy::Split);
        let count = world.draw(|random| if random.chance(500) { 60 } else { random.between(1, 4) as u32 });
        let quorum = pipeline
            .readers(assignment.stage)
            .find(|(_, reader)| matches!(reader.strategy, Strategy::Match { quorum: Some(_), .. }));
        let members: Vec<String> = quorum.map_or_else(Vec::new, |(_, quorum)| {
            let name = |source: &Source| match source {
                Source::Block => None,
                Source::Stage(source) => Some(pipeline.stages[*source].name.clone()),
            };
            quorum.from.iter().filter_map(name).collect()
        });
        let number = world.draw(|random| random.number());
        let mut proving = world.proving.borrow_mut();
        let disagrees = !members.is_empty()
            && world.happens(world.plan.disagrees)
            && proving.may_disagree(&id.scope, &id.stage, &members, number);
        if disagrees {
            world.simulation.count("fault: valid proof of other public values");
        }
        let output = proving.write(Artifact {
            task: id.clone(),
            is_true,
            public_values: format!("{}-{}", id.scope, if disagrees { "other" } else { "true" }),
            list: is_split.then(|| List { count, sha256: format!("list-of-{id}") }),
        });
        (output, disagrees)
    }
}

impl Executor for Prover {
    type Output = ArtifactRef;

    async fn prove(&mut self, assignment: &Assignment) -> Result<Proved<ArtifactRef>, AttemptError> {
        let (world, id) = (&self.world, &assignment.task.id);
        let (plan, simulation) = (&world.plan, &world.simulation);
        if let Some(right) = reduction::wrong_inputs(&world.checker.borrow().mirror, assignment) {
            simulation.violate(format!("{id} got {:?}, and {right:?} is right", assignment.inputs));
        }
        let prover = assignment.stage().prover_at(assignment.task.height);
        if prover != Some(&assignment.prover_name) {
            simulation.violate(format!("{id} is proved by {}, not {prover:?}", assignment.prover_name));
        }
        if world.straggles(assignment) {
            self.straggle(assignment).await;
        }
        self.take_time(plan.prove_ms, &assignment.claim).await?;
        if world.happens(plan.prover_fails) {
            let (count, kind) = world.draw(|random| {
                *random.pick(&[
                    ("fault: prover failed", FailureKind::Transient),
                    ("fault: prover failed", FailureKind::Transient),
                    ("fault: prover crashed", FailureKind::Crash),
                    ("fault: prover unavailable", FailureKind::Unavailable),
                ])
            });
            simulation.count(count);
            return Err(self.failed(assignment, kind, "out of memory"));
        }
        if world.happens(plan.prover_refuses) {
            let (count, kind) = world.draw(|random| {
                *random.pick(&[
                    ("fault: prover refused for good", FailureKind::Permanent),
                    ("fault: prover refused for good", FailureKind::Permanent),
                    ("fault: input damaged", FailureKind::BadInput),
                ])
            });
            simulation.count(count);
            return Err(self.failed(assignment, kind, "not provable"));
        }
        let must_verify = assignment.must_verify();
        let is_wrong = must_verify && world.happens(plan.proves_wrong);
        let (output, disagrees) = self.write(assignment, !is_wrong);
        // Who disagrees often comes when the others have agreed.
        if disagrees && world.draw(|random| random.chance(6_000)) {
            simulation.sleep(plan.prove_ms * 2 + 1_000).await;
        }
        let artifact = world.proving.borrow().artifact(&output).cloned();
        let (public_values, mut list) =
            artifact.map(|artifact| (artifact.public_values, artifact.list)).unwrap_or_default();
        let mut claimed = Some(public_values).filter(|_| world.draw(|random| random.chance(7_000)));
        if is_wrong {
            simulation.count("fault: wrong proof");
        } else if must_verify && world.happens(plan.proves_wrong / 4) {
            simulation.count("fault: wrong claim of public values");
            self.fails_later(assignment, FailureKind::Transient);
            claimed = Some("what it is not".to_owned());
        } else if list.is_some() && world.happens(plan.proves_wrong / 2) {
            simulation.count("fault: no list where one is due");
            self.fails_later(assignment, FailureKind::Permanent);
            list = None;
        }
        Ok(Proved {
            output,
            claimed_public_values: claimed,
            verification_key: None,
            proof_system: Some("fake".to_owned()),
            security_bits: None,
            trusted_setup: None,
            cycles: None,
            list,
            fields: BTreeMap::from([("state".to_owned(), id.scope.clone())]),
        })
    }

    async fn verify(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<ArtifactRef>,
    ) -> Result<String, AttemptError> {
        self.take_time(self.world.plan.prove_ms / 10, &assignment.claim).await?;
        let artifact = self.world.proving.borrow().artifact(&proved.output).cloned();
        match artifact.filter(|artifact| artifact.is_true) {
            Some(artifact) => Ok(artifact.public_values),
            None => {
                self.world.simulation.count("branch: verifier refused");
                Err(self.failed(assignment, FailureKind::Transient, "the proof does not verify"))
            }
        }
    }

    async fn store(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<ArtifactRef>,
    ) -> Result<ArtifactRef, AttemptError> {
        self.take_time(10, &assignment.claim).await?;
        if self.world.happens(self.world.plan.releases / 4) {
            self.world.simulation.count("fault: disk full at a worker");
            self.world.proving.borrow_mut().note_ending(&assignment.claim, Ending::Released);
            return Err(AttemptError::HostFault { message: "no room for the proof".to_owned() });
        }
        Ok(proved.output.clone())
    }
}
