//! Provers and verifiers as a worker runs them: fake ones, that take time, fail, crash, lie, and make proofs that do
//! not verify. Their worker may die or freeze at any of these steps.

use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::pipeline::{Late, Source, Strategy};
use proofyard_core::record::{CheckpointOutcome, FailureKind};
use proofyard_core::state::{ArtifactRef, List, Scope};
use proofyard_core::work::{Assignment, AttemptError, Executor, Proved};

use super::World;
use super::proving::{Artifact, Ending};
use super::workers::Worker;
use crate::check::reduction;

pub(super) struct Prover {
    pub world: Rc<World>,
    pub worker: Rc<Worker>,
}

impl Prover {
    /// Takes time, in which the worker may die or freeze, or the attempt be cancelled.
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
                simulation.freeze(self.worker.process, self.thaws_at_ms());
                simulation.pause().await;
            }
            let is_obsolete = self.worker.obsolete.borrow().contains(claim) && !self.worker.is_zombie;
            if is_obsolete || world.happens(plan.releases / 4) {
                world.proving.borrow_mut().note_ending(claim, Ending::Released);
                return Err(AttemptError::Cancelled);
            }
        }
        Ok(())
    }

    /// Has a text kept that no other prover has, and asks again until it is known whether it is. A zombie goes on whatever it
    /// hears.
    async fn keep_checkpoint(&self, assignment: &Assignment) -> Result<(), AttemptError> {
        let (world, id, claim) = (&self.world, assignment.task.id(), &assignment.claim);
        let simulation = &world.simulation;
        let text = format!("{claim}/{}", world.draw(|random| random.number()));
        world.proving.borrow_mut().ask_checkpoint(id, &text, simulation.steps());
        loop {
            match world.bounded(world.yard.record_checkpoint(id, claim, &text)).await {
                Some(Ok(CheckpointOutcome::Kept)) => {
                    simulation.count("branch: checkpoint kept");
                    world.proving.borrow_mut().note_kept(id, &text, simulation.steps());
                    return Ok(());
                }
                Some(Ok(CheckpointOutcome::Obsolete(_))) => {
                    simulation.count("branch: checkpoint of an attempt that is over");
                    if self.worker.is_zombie {
                        return Ok(());
                    }
                    world.proving.borrow_mut().note_ending(claim, Ending::Released);
                    return Err(AttemptError::Cancelled);
                }
                Some(Err(error)) => {
                    world.expect_passing("record_checkpoint", &error);
                    simulation.sleep(50).await;
                }
                None => {}
            }
        }
    }

    /// When a worker that freezes now goes on: at any time, or when a sweeper may just be about to expire it.
    fn thaws_at_ms(&self) -> u64 {
        let (world, lease_ms) = (&self.world, self.worker.lease_ms);
        let (at_ms, is_close, after_ms) =
            world.draw(|random| (random.below(lease_ms * 3), random.chance(5_000), random.below(500)));
        let checker = world.checker.borrow();
        match checker.mirror.seen_heartbeat(&self.worker.id).filter(|_| is_close) {
            Some(seen) => seen.since_ms + lease_ms + after_ms,
            None => world.simulation.now_ms() + at_ms,
        }
    }

    fn failed(&self, assignment: &Assignment, kind: FailureKind, message: &str) -> AttemptError {
        self.note_failure(assignment, kind);
        AttemptError::Failed { kind, message: message.to_owned(), log: vec!["last words".to_owned()] }
    }

    /// Where late blocks are given up: of some blocks all members of a quorum prove only after that, and often disagree then.
    fn outlasts_the_deadline(&self, assignment: &Assignment) -> bool {
        let is_missed = matches!(assignment.pipeline.chain.late, Late::Miss { .. });
        let drawn = self.world.draw(|random| random.chance(8_000));
        is_missed
            && !quorum_members(assignment).is_empty()
            && self.world.proving.borrow_mut().outlasts(&assignment.task.id().scope, drawn)
    }

    /// But not once all are to come to rest.
    async fn outlast_the_deadline(&self, assignment: &Assignment) {
        let Late::Miss { deadline_ms } = assignment.pipeline.chain.late else { return };
        let (world, id) = (&self.world, assignment.task.id());
        world.simulation.count("world: a member outlasts the deadline");
        let after_ms = world.draw(|random| random.below(500));
        let canonical_ms =
            world.checker.borrow().mirror.scope(&id.scope).and_then(|scope| scope.canonical_ms());
        let until_ms = canonical_ms.unwrap_or(0) + deadline_ms + 20_000;
        let is_missed = || world.checker.borrow().mirror.scope(&id.scope).is_none_or(Scope::is_missed);
        while world.simulation.now_ms() < until_ms && !is_missed() && !world.is_calm.get() {
            world.simulation.sleep(200).await;
        }
        // Before a heartbeat is told that nobody waits for it.
        world.simulation.sleep(after_ms).await;
    }

    /// Proves only when nothing is left to do in the block, if that comes soon.
    async fn outlast_the_block(&self, assignment: &Assignment) {
        let (world, id) = (&self.world, &assignment.task.id().scope);
        let is_settled = || world.checker.borrow().mirror.scope(id).is_none_or(Scope::is_settled);
        let until_ms = world.simulation.now_ms() + world.draw(|random| random.below(20_000));
        while world.simulation.now_ms() < until_ms && !is_settled() && !world.is_calm.get() {
            world.simulation.sleep(500).await;
        }
    }

    /// Takes so long that a second copy of the task must start meanwhile; ends when a heartbeat cancels it.
    async fn straggle(&self, assignment: &Assignment) {
        let simulation = &self.world.simulation;
        simulation.count("world: straggled");
        let hedge_ms = assignment.stage().limits.hedge_ms.unwrap_or(0);
        // By then a sweeper has seen a heartbeat that was sent after a sweeper had frozen.
        let from_ms = simulation.now_ms() + hedge_ms + self.worker.lease_ms;
        let until_ms = from_ms + self.world.overdue_ms() + hedge_ms + 10_000;
        let (mut sweeps_before, mut swept_ms) = (None, None);
        while simulation.now_ms() < until_ms && !self.worker.obsolete.borrow().contains(&assignment.claim) {
            simulation.sleep(1_000).await;
            if simulation.now_ms() >= from_ms {
                let before = *sweeps_before.get_or_insert(self.world.sweeps());
                if self.world.sweeps() >= before + 3 {
                    swept_ms.get_or_insert(simulation.now_ms());
                }
            }
        }
        // A sweep that ran out of time may count from the heartbeat that the next one sees.
        let are_swept = swept_ms.is_some_and(|swept_ms| simulation.now_ms() >= swept_ms + hedge_ms);
        let (checker, id) = (self.world.checker.borrow(), assignment.task.id());
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

    /// Notes a failure that the yard will record, though the prover answers as if it had succeeded.
    fn note_failure(&self, assignment: &Assignment, kind: FailureKind) {
        let mut proving = self.world.proving.borrow_mut();
        proving.note_failure(assignment.task.id());
        proving.note_ending(&assignment.claim, Ending::Failed(kind));
    }

    /// Writes an output, as a prover that works correctly does; one that is not `is_true` will not verify. Answers also
    /// whether its public values are unlike those of the other members of its quorum.
    fn write(&self, assignment: &Assignment, is_true: bool, disagrees_often: bool) -> (ArtifactRef, bool) {
        let world = &self.world;
        let pipeline = &assignment.pipeline;
        let id = assignment.task.id();
        let is_split = pipeline.is_split(assignment.stage);
        let count = world.draw(|random| if random.chance(500) { 60 } else { random.between(1, 4) as u32 });
        let members = quorum_members(assignment);
        let number = world.draw(|random| random.number());
        let mut proving = world.proving.borrow_mut();
        let disagrees = !members.is_empty()
            && (world.happens(world.plan.disagrees)
                || disagrees_often && world.draw(|random| random.chance(8_000)))
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

    /// A worker must be given the right inputs, and run the right prover.
    fn check_assignment(&self, assignment: &Assignment) {
        let (world, id) = (&self.world, assignment.task.id());
        if let Some(right) = reduction::wrong_inputs(&world.checker.borrow().mirror, assignment) {
            world.simulation.violate(format!("{id} got {:?}, and {right:?} is right", assignment.inputs));
        }
        let prover = assignment.stage().prover_at(assignment.task.height());
        if prover != Some(&assignment.prover_name) {
            world.simulation.violate(format!("{id} is proved by {}, not {prover:?}", assignment.prover_name));
        }
    }

    /// Whether the prover fails instead of proving, and how.
    fn draw_failure(&self, assignment: &Assignment) -> Result<(), AttemptError> {
        const PASSING: &[(&str, FailureKind)] = &[
            ("fault: prover failed", FailureKind::Transient),
            ("fault: prover failed", FailureKind::Transient),
            ("fault: prover crashed", FailureKind::Crash),
            ("fault: prover unavailable", FailureKind::Unavailable),
            ("fault: prover waits", FailureKind::Waits { wait_ms: 2_000 }),
        ];
        const FOR_GOOD: &[(&str, FailureKind)] = &[
            ("fault: prover refused for good", FailureKind::Permanent),
            ("fault: prover refused for good", FailureKind::Permanent),
            ("fault: input damaged", FailureKind::BadInput),
        ];
        let (world, plan) = (&self.world, &self.world.plan);
        for (per_10k, ways, message) in
            [(plan.prover_fails, PASSING, "out of memory"), (plan.prover_refuses, FOR_GOOD, "not provable")]
        {
            if world.happens(per_10k) {
                let (count, kind) = world.draw(|random| *random.pick(ways));
                world.simulation.count(count);
                return Err(self.failed(assignment, kind, message));
            }
        }
        Ok(())
    }
}

/// The members of the quorum that reads the assignment's stage; none where no quorum does.
fn quorum_members(assignment: &Assignment) -> Vec<String> {
    let pipeline = &assignment.pipeline;
    let is_quorum = |strategy: &Strategy| matches!(strategy, Strategy::Match { quorum: Some(_), .. });
    let Some((_, quorum)) =
        pipeline.readers(assignment.stage).find(|(_, reader)| is_quorum(&reader.strategy))
    else {
        return Vec::new();
    };
    let name = |source: &Source| match source {
        Source::Block => None,
        Source::Stage(source) => Some(pipeline.stages[*source].name.clone()),
    };
    quorum.from.iter().filter_map(name).collect()
}

impl Executor for Prover {
    type Output = ArtifactRef;

    async fn prove(&mut self, assignment: &Assignment) -> Result<Proved<ArtifactRef>, AttemptError> {
        let (world, plan) = (&self.world, &self.world.plan);
        let simulation = &world.simulation;
        self.check_assignment(assignment);
        if world.straggles(assignment) {
            self.straggle(assignment).await;
        }
        for _ in 0..world.draw(|random| random.below(6).saturating_sub(3)) {
            self.keep_checkpoint(assignment).await?;
        }
        self.take_time(plan.prove_ms, &assignment.claim).await?;
        self.draw_failure(assignment)?;
        let must_verify = assignment.must_verify();
        let is_wrong = must_verify && world.happens(plan.proves_wrong);
        let outlasts = self.outlasts_the_deadline(assignment);
        let (output, disagrees) = self.write(assignment, !is_wrong, outlasts);
        // A member that disagrees often answers after the others have agreed, or when nothing is left to do in the block.
        if disagrees && world.draw(|random| random.chance(6_000)) {
            simulation.sleep(plan.prove_ms * 2 + 1_000).await;
            self.outlast_the_block(assignment).await;
        }
        if outlasts {
            self.outlast_the_deadline(assignment).await;
        }
        let artifact = world.proving.borrow().artifact(&output).cloned();
        let (public_values, mut list) =
            artifact.map(|artifact| (artifact.public_values, artifact.list)).unwrap_or_default();
        let mut claimed = Some(public_values).filter(|_| world.draw(|random| random.chance(7_000)));
        if is_wrong {
            simulation.count("fault: wrong proof");
        } else if must_verify && world.happens(plan.proves_wrong / 4) {
            simulation.count("fault: wrong claim of public values");
            self.note_failure(assignment, FailureKind::Transient);
            claimed = Some("what it is not".to_owned());
        } else if list.is_some() && world.happens(plan.proves_wrong / 2) {
            simulation.count("fault: no list where one is due");
            self.note_failure(assignment, FailureKind::Permanent);
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
            fields: BTreeMap::from([("state".to_owned(), assignment.task.id().scope.to_string())]),
            proving: None,
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
