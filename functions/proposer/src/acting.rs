//! Tasks of stages with an action. Each is claimed, looked at once and recorded by core's own means, as a worker does it: the claim
//! holds for as long as an invocation takes at most, and what a look made is found in the account's journal by whoever comes next.

use std::collections::BTreeMap;

use futures_util::future::LocalBoxFuture;
use proofyard_aws::AwsHome;
use proofyard_aws::store::port::AwsPort;
use proofyard_contract::{OfTask, Place, act};
use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::{Cause, Coded, Error, with_causes};
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::pipeline::BLOCK;
use proofyard_core::port::{Port, Wake};
use proofyard_core::record::{FailureKind, FailureOutcome, FailureReport};
use proofyard_core::state::{ArtifactRef, Task, TaskId, WorkerId};
use proofyard_core::work::{Assignment, AttemptError, Executor, Input, InputKind, Performed, Proved};
use proofyard_core::yard::Yard;
use proofyard_telling::{Acting, stored};
use serde_json::Value as Json;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::Proposing;
use crate::contract::{LONGEST_LOOK, TOO_SLOW, Unread, journals};

/// The function's time limit: no invocation holds a task for longer.
pub const LEASE_MS: u64 = 60_000;
/// A look is one task's.
const SLOT: u32 = 0;

impl Acting for Proposing {
    fn act<'a>(
        &'a self,
        home: &'a AwsHome,
        pool: &'a str,
        is_over: &'a dyn Fn() -> bool,
    ) -> LocalBoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            // Wakes come more often than tasks.
            if home.yard.waiting_tasks(pool, 1).await? == 0 {
                return Ok(false);
            }
            let worker = WorkerId::new("proposer", pool, std::process::id(), home.yard.port.random() as u32);
            let registration = WorkerRegistration {
                worker: worker.clone(),
                pool: pool.to_owned(),
                slots: 1,
                // The tasks of a pool come one after another: nobody else could take what this one has failed.
                alone: true,
                lease_ms: LEASE_MS,
                isolation: None,
            };
            home.yard.register_worker(&registration).await?;
            let worked = self.work(home, &worker, is_over).await;
            home.begin().home.yard.expire_worker(&worker, true).await?;
            worked
        })
    }
}

impl Proposing {
    /// Answers whether tasks may be left.
    async fn work(
        &self,
        home: &AwsHome,
        worker: &WorkerId,
        is_over: &dyn Fn() -> bool,
    ) -> Result<bool, Error> {
        while !is_over() {
            // Reads the table anew for each task.
            let step = home.begin();
            let yard = &step.home.yard;
            let claim = format!("{:016x}{:016x}", yard.port.random(), yard.port.random());
            let request = ClaimRequest { worker: worker.clone(), slot: SLOT, claim };
            match yard.claim(&request).await? {
                ClaimOutcome::Claimed(task) => {
                    let id = task.id().clone();
                    if let Err(error) = self.work_on(&step.home, &request, *task).await {
                        warn!(task = %id, code = %error.code(), error = %with_causes(&error), "the task is left for now");
                        self.leave(yard, &request, &id, &error).await?;
                        if error.passes() {
                            return Err(error);
                        }
                    }
                }
                ClaimOutcome::SlotHolds(held) => {
                    yard.record_release(worker, SLOT, &held.claim, &held.task).await?;
                }
                ClaimOutcome::Nothing | ClaimOutcome::Quarantined { .. } => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The task is not the one to blame, and may be claimed again: at once where that may help, after its pause where not, so that
    /// it keeps no other from being looked at. Where this fails too, the claim ends with its worker.
    async fn leave(
        &self,
        yard: &Yard<AwsPort>,
        request: &ClaimRequest,
        id: &TaskId,
        error: &Error,
    ) -> Result<(), Error> {
        let ClaimRequest { worker, slot, claim } = request;
        if error.passes() {
            return yard.record_release(worker, *slot, claim, id).await;
        }
        let report = FailureReport {
            worker: worker.clone(),
            slot: *slot,
            claim: claim.clone(),
            task: id.clone(),
            kind: FailureKind::Unavailable,
            message: with_causes(error).to_string(),
            log: Vec::new(),
            metered: None,
        };
        yard.record_failure(&report).await.map(|_| ())
    }

    async fn work_on(&self, home: &AwsHome, request: &ClaimRequest, task: Task) -> Result<(), Error> {
        let assignment = home.yard.assignment(request, task).await?;
        let performed = home.yard.perform(&mut Look { proposing: self, home }, &assignment).await?;
        let (id, attempt) = (assignment.task.id(), assignment.attempt);
        match &performed {
            Performed::Recorded(outcome) => info!(task = %id, attempt, ?outcome, "recorded"),
            Performed::Failed { message, outcome } => {
                warn!(task = %id, attempt, ?outcome, "{message}");
                // It is listed again once its pause is over, and nothing else has changed.
                if *outcome == FailureOutcome::Retried {
                    return Ok(());
                }
            }
            Performed::Released | Performed::HostFault { .. } => {}
        }
        home.yard.port.send(&[Wake::Scope { scope: id.scope.clone() }]).await;
        Ok(())
    }

    async fn came_to(&self, home: &AwsHome, assignment: &Assignment) -> Result<Json, AttemptError> {
        let Some(contract) = &assignment.prover().contract else {
            return Err(failed(
                FailureKind::Unavailable,
                "here are done tasks of stages with an action alone",
            ));
        };
        let call = self.call(home, contract).await.map_err(not_now)?;
        let of = |kind| assignment.inputs.iter().find(|input: &&Input| input.kind == kind);
        let (proof, block) = (of(InputKind::Proof), of(InputKind::Block));
        let block = match block.filter(|_| call.contract.names(BLOCK)) {
            Some(block) => Some(call.payload(&block.artifact).await.map_err(unread)?),
            None => None,
        };
        let task = OfTask {
            id: assignment.task.id().to_string(),
            proof: call.proof(proof.map(|proof| &proof.artifact)).await.map_err(unread)?,
            public_values: proof.and_then(|proof| proof.public_values.clone()),
            verification_key: proof.and_then(|proof| proof.verification_key.clone()),
            block,
        };
        // Two chains of a yard may have stages of one name, and one account.
        let stage = format!("{}/{}", assignment.task.id().chain(), assignment.stage().name);
        let place = Place::of_stage(&stage, journals(home));
        let acted = timeout(LONGEST_LOOK, act(&call.contract, &task, &place, &call.around)).await;
        // What it was in the middle of is found by the next look, as after a crash.
        let acted = acted.map_err(|_| failed(FailureKind::Unavailable, TOO_SLOW))?;
        acted.map_err(|failure| failed(failure.kind(), failure.reason()))
    }
}

/// One look at a task's call.
struct Look<'a> {
    proposing: &'a Proposing,
    home: &'a AwsHome,
}

impl Executor for Look<'_> {
    type Output = Vec<u8>;

    async fn prove(&mut self, assignment: &Assignment) -> Result<Proved<Vec<u8>>, AttemptError> {
        let outcome = self.proposing.came_to(self.home, assignment).await?.to_string();
        let (bytes, most) = (outcome.len() as u64, assignment.stage().limits.output_bytes);
        if bytes > most {
            let message = format!("what the call came to has {bytes} bytes, and `output_bytes` is {most}");
            return Err(failed(FailureKind::Permanent, message));
        }
        Ok(Proved {
            output: outcome.into_bytes(),
            claimed_public_values: None,
            verification_key: None,
            proof_system: None,
            security_bits: None,
            trusted_setup: None,
            cycles: None,
            list: None,
            fields: BTreeMap::new(),
            proving: None,
        })
    }

    async fn verify(&mut self, _: &Assignment, _: &Proved<Vec<u8>>) -> Result<String, AttemptError> {
        Err(failed(FailureKind::Permanent, "what a call came to is no proof"))
    }

    async fn store(&mut self, _: &Assignment, proved: &Proved<Vec<u8>>) -> Result<ArtifactRef, AttemptError> {
        stored(self.home, &proved.output).await.map_err(not_now)
    }
}

/// What is out of order here says nothing of the task, and is no better at once.
fn not_now(error: impl Into<Cause>) -> AttemptError {
    failed(FailureKind::Unavailable, with_causes(error.into().as_ref()))
}

fn unread(error: Unread) -> AttemptError {
    let message = with_causes(&error).to_string();
    match error {
        Unread::TooLarge { .. } => failed(FailureKind::Permanent, message),
        Unread::Unfetched(error) if error.is_lost() => failed(FailureKind::BadInput, message),
        Unread::Unfetched(_) => failed(FailureKind::Unavailable, message),
    }
}

fn failed(kind: FailureKind, message: impl std::fmt::Display) -> AttemptError {
    AttemptError::Failed { kind, message: message.to_string(), log: Vec::new() }
}
