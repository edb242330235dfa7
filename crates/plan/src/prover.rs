//! The prover: it fetches what its machine has not, sleeps as long as a proof takes, and stores a proof that says nothing.

use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::state::{ArtifactRef, List};
use proofyard_core::work::{Assignment, AttemptError, Executor, InputKind, Proved};

use crate::cloud::Cloud;
use crate::invocation::Invocation;
use crate::observed::Seen;
use crate::worker::Machine;

/// Of each proof; only its number of bytes is stored.
const PROOF_BYTES: u64 = 1_024;

pub(crate) struct Attempt<'a> {
    cloud: &'a Rc<Cloud>,
    machine: &'a Machine,
    invocation: &'a Invocation,
    /// What is known of the task when it is recorded.
    pub seen: Seen,
}

impl<'a> Attempt<'a> {
    pub fn new(cloud: &'a Rc<Cloud>, machine: &'a Machine, invocation: &'a Invocation, seen: Seen) -> Self {
        Self { cloud, machine, invocation, seen }
    }

    /// Inputs are fetched one after another, as a worker does.
    async fn fetch(&mut self, assignment: &Assignment) {
        for input in &assignment.inputs {
            match input.kind {
                InputKind::Block => self.seen.newest_block = self.seen.newest_block.max(Some(input.height)),
                InputKind::Proof | InputKind::Data => {
                    self.cloud.observed.borrow().follows(&mut self.seen, &input.artifact.sha256);
                }
            }
            if self.machine.here.borrow_mut().insert(input.artifact.sha256.clone()) {
                let us = self.cloud.draw_us(|all| &all.s3_get, 1) + self.invocation.cpu_us(self.cloud);
                self.cloud.executor.sleep_us(us).await;
                self.invocation.count(|usage| {
                    usage.calls += 1;
                    usage.rounds += 1;
                    usage.object_gets += 1;
                });
            }
        }
    }

    /// Until then, unless nobody needs it any more or the machine goes.
    async fn busy_until(&self, claim: &str, until_us: u64) -> Result<(), AttemptError> {
        let (executor, cancels) = (&self.cloud.executor, &self.machine.cancels);
        loop {
            let gone = executor.now_us() >= self.machine.gives_up_us();
            if gone || self.machine.obsolete.borrow().contains(claim) {
                return Err(AttemptError::Cancelled);
            }
            if executor.now_us() >= until_us {
                return Ok(());
            }
            cancels.wait(cancels.rung(), executor, until_us.min(self.machine.gives_up_us())).await;
        }
    }

    fn artifact(&self) -> ArtifactRef {
        ArtifactRef { sha256: format!("{:064x}", self.seen.number), bytes: PROOF_BYTES }
    }
}

impl Executor for Attempt<'_> {
    type Output = ();

    async fn prove(&mut self, assignment: &Assignment) -> Result<Proved<()>, AttemptError> {
        self.fetch(assignment).await;
        let cloud = self.cloud;
        let (stage, began_us) = (&assignment.stage().name, cloud.now_us());
        let time = cloud.provers.time_of(stage, &assignment.prover_name);
        let us = time.map_or(0, |time| time.draw_us(&mut cloud.random.borrow_mut()));
        self.busy_until(&assignment.claim, began_us + us).await?;
        self.seen.proving_us += us;
        let splits = assignment.pipeline.is_split(assignment.stage);
        let list = splits.then(|| List { count: cloud.load.segments.max(1), sha256: self.artifact().sha256 });
        Ok(Proved {
            output: (),
            claimed_public_values: None,
            verification_key: assignment.prover().verification_key.clone(),
            proof_system: None,
            security_bits: None,
            trusted_setup: None,
            cycles: None,
            list,
            fields: assignment
                .match_fields()
                .into_iter()
                .map(|name| (name, "1".to_owned()))
                .collect::<BTreeMap<_, _>>(),
            proving: None,
        })
    }

    /// All proofs of one scope say the same, so that quorums agree.
    async fn verify(&mut self, assignment: &Assignment, _: &Proved<()>) -> Result<String, AttemptError> {
        let time = self.cloud.provers.time_of(&assignment.stage().name, &assignment.prover_name);
        let us = time.map_or(0, |time| time.verify_us());
        self.busy_until(&assignment.claim, self.cloud.now_us() + us).await?;
        self.seen.proving_us += us;
        Ok(assignment.task.id().scope.as_str().bytes().map(|byte| format!("{byte:02x}")).collect())
    }

    /// With a description of what was made beside it, where a verifier could take it up.
    async fn store(&mut self, assignment: &Assignment, _: &Proved<()>) -> Result<ArtifactRef, AttemptError> {
        self.invocation.put_objects(self.cloud, 1 + u64::from(assignment.must_verify())).await;
        let artifact = self.artifact();
        self.machine.here.borrow_mut().insert(artifact.sha256.clone());
        Ok(artifact)
    }
}
