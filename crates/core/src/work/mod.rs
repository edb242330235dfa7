//! Working on a claimed task: gather its inputs, prove, verify, store, record.
//!
//! The order is the promise: nothing is recorded before a verifier accepted it, and no result names an artifact that
//! is not stored. What an attempt made but never recorded, since its worker died or the store did not answer, the next
//! attempt may take up, if its home remembers it and its verifier accepts it anew. How a prover is run is the home's,
//! behind [`Executor`].

mod inputs;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::inputs::{Input, InputKind};
use crate::claim::ClaimRequest;
use crate::error::{Error, Refusal};
use crate::pipeline::{Output, Pipeline, Prover, Stage, Verify};
use crate::planted_bug::PlantedBug;
use crate::record::{FailureKind, FailureOutcome, FailureReport, ResultOutcome, ResultReport, fault};
use crate::state::{ArtifactRef, List, Metered, Task, TaskResult, WorkerId};
use crate::yard::{Yard, boxed};

/// A claimed task with all that a prover needs.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub task: Task,
    pub worker: WorkerId,
    pub slot: u32,
    pub claim: String,
    pub attempt: u32,
    pub claimed_ms: u64,
    pub pipeline: Arc<Pipeline>,
    pub stage: usize,
    pub prover_name: String,
    pub inputs: Vec<Input>,
}

impl Assignment {
    pub fn stage(&self) -> &Stage {
        &self.pipeline.stages[self.stage]
    }

    pub fn prover(&self) -> &Prover {
        &self.pipeline.provers[&self.prover_name]
    }

    /// The fields that the output must report, since later stages gather by them.
    pub fn match_fields(&self) -> Vec<String> {
        self.pipeline.match_fields(self.stage).map(str::to_owned).collect()
    }

    /// Whether a verifier must accept the output before it is recorded.
    pub fn must_verify(&self) -> bool {
        self.stage().output == Output::Proof && self.prover().verify != Verify::None
    }
}

/// What a prover says it made.
#[derive(Clone, Debug, PartialEq)]
pub struct Proved<O> {
    pub output: O,
    /// The prover's own claim; compared with what the verifier reads.
    pub claimed_public_values: Option<String>,
    pub verification_key: Option<String>,
    pub proof_system: Option<String>,
    pub security_bits: Option<u32>,
    pub trusted_setup: Option<bool>,
    pub cycles: Option<u64>,
    pub list: Option<List>,
    pub fields: BTreeMap<String, String>,
    /// `None` where its home does not tell it apart from what comes before and after it.
    pub proving: Option<Proving>,
}

/// What a prover took, without fetching its inputs and keeping its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proving {
    /// When it was asked, on its worker's clock.
    pub started_ms: u64,
    pub prove_ms: u64,
}

/// Why an attempt has no result.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptError {
    Failed {
        kind: FailureKind,
        message: String,
        log: Vec<String>,
    },
    /// Nobody needs it any more, or the worker must go; it uses up no budget.
    Cancelled,
    /// The worker's machine has a passing fault, such as a full disk; it uses up no budget.
    HostFault {
        message: String,
    },
}

impl AttemptError {
    /// Whether its output is known to be useless. A verifier that was unavailable, or died, has not judged it.
    fn refuses(&self) -> bool {
        match self {
            Self::Failed { kind, .. } => !kind.is_delay() && *kind != FailureKind::Crash,
            Self::Cancelled | Self::HostFault { .. } => false,
        }
    }
}

/// How a home runs provers and keeps artifacts.
pub trait Executor {
    /// The home's handle on what a prover wrote.
    type Output;
    fn prove(
        &mut self,
        assignment: &Assignment,
    ) -> impl Future<Output = Result<Proved<Self::Output>, AttemptError>>;
    /// In a process other than the prover's; answers the public values that are in the proof, in hex.
    fn verify(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<Self::Output>,
    ) -> impl Future<Output = Result<String, AttemptError>>;
    /// Durable when it returns.
    fn store(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<Self::Output>,
    ) -> impl Future<Output = Result<ArtifactRef, AttemptError>>;
    /// What an earlier attempt at the task stored and did not record, where the home remembers that. It is trusted no
    /// more than a prover's answer is.
    fn find_unrecorded(
        &mut self,
        _assignment: &Assignment,
    ) -> impl Future<Output = Result<Option<Proved<Self::Output>>, AttemptError>> {
        async { Ok(None) }
    }
    /// Called when the unrecorded result that was found is not used: why.
    fn reject_unrecorded(&mut self, _assignment: &Assignment, _why: &str) -> impl Future<Output = ()> {
        async {}
    }
    /// What this machine has measured since the attempt began; asked once, when it is over.
    fn metered(&mut self) -> Option<Metered> {
        None
    }
    /// Called when no later attempt can use what this one made, since it is recorded or refused.
    fn discard_unrecorded(&mut self, _assignment: &Assignment) -> impl Future<Output = ()> {
        async {}
    }
}

/// How the work on an assignment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    Recorded(ResultOutcome),
    Failed {
        message: String,
        outcome: FailureOutcome,
    },
    Released,
    /// Released because of a fault of the worker's machine; it should wait a little before it claims again.
    HostFault {
        message: String,
    },
}

impl Yard {
    /// What a claimed task is, with its inputs.
    #[boxed(?Send)]
    pub async fn assignment(&self, request: &ClaimRequest, task: Task) -> Result<Assignment, Error> {
        let unknown = || Refusal::UnknownTask(task.id().to_string());
        let attempt = task.attempt(&request.claim).cloned();
        let (number, claimed_ms) =
            attempt.map_or((task.started(), self.port.now_ms()), |a| (a.number, a.started_ms));
        let pipeline = self.pipeline(&task.id().chain(), task.pipeline()).await?;
        let stage = pipeline.stage(&task.id().stage).ok_or_else(unknown)?.0;
        let prover_name = pipeline.stages[stage].prover_at(task.height()).ok_or_else(unknown)?.to_owned();
        let inputs = self.inputs(&pipeline, task.id()).await?;
        Ok(Assignment {
            worker: request.worker.clone(),
            slot: request.slot,
            claim: request.claim.clone(),
            attempt: number,
            claimed_ms,
            pipeline,
            stage,
            prover_name,
            inputs,
            task,
        })
    }

    /// Runs one assignment to its end, and records how it ended.
    pub async fn perform<E: Executor>(
        &self,
        executor: &mut E,
        assignment: &Assignment,
    ) -> Result<Performed, Error> {
        // What acts outside by what it is given, such as a job's id or a block to make a call for, is given what is on disk.
        let is_action = assignment.prover().contract.is_some();
        if is_action || assignment.task.checkpoint().is_some() {
            self.port.sync().await?;
        }
        let attempted = self.attempt(executor, assignment).await;
        let metered = executor.metered();
        let error = match attempted {
            Ok(report) => match self.fault_of(&assignment.task, &report.result).await? {
                None => {
                    let report = ResultReport { metered, ..report };
                    let outcome = self.record_result(&report).await?;
                    executor.discard_unrecorded(assignment).await;
                    return Ok(Performed::Recorded(outcome));
                }
                Some(message) => {
                    AttemptError::Failed { kind: FailureKind::Permanent, message, log: Vec::new() }
                }
            },
            Err(error) => error,
        };
        if error.refuses() {
            executor.discard_unrecorded(assignment).await;
        }
        self.fail(assignment, error, metered).await
    }

    async fn attempt<E: Executor>(
        &self,
        executor: &mut E,
        assignment: &Assignment,
    ) -> Result<ResultReport, AttemptError> {
        if let Some(report) = self.taken_up(executor, assignment).await? {
            return Ok(report);
        }
        let started_ms = self.port.now_ms();
        let proved = executor.prove(assignment).await?;
        self.finish(executor, assignment, proved, started_ms).await
    }

    /// The result of an earlier attempt, if there is one and it stands. Anything wrong with it only means that the task
    /// is proved as usual.
    async fn taken_up<E: Executor>(
        &self,
        executor: &mut E,
        assignment: &Assignment,
    ) -> Result<Option<ResultReport>, AttemptError> {
        // What no verifier can judge is made again.
        if assignment.attempt <= 1 || !assignment.must_verify() {
            return Ok(None);
        }
        let started_ms = self.port.now_ms();
        let Some(proved) = executor.find_unrecorded(assignment).await? else { return Ok(None) };
        let why = match self.finish(executor, assignment, proved, started_ms).await {
            Ok(report) => {
                let Assignment { pipeline, stage, task, .. } = assignment;
                match fault(pipeline, *stage, task.height(), task.id().index, &report.result) {
                    None => return Ok(Some(report)),
                    Some(why) => why,
                }
            }
            Err(AttemptError::Failed { kind, message, .. }) if !kind.is_delay() => message,
            Err(passing) => return Err(passing),
        };
        executor.reject_unrecorded(assignment, &why).await;
        Ok(None)
    }

    /// Verifies and stores what was made.
    async fn finish<E: Executor>(
        &self,
        executor: &mut E,
        assignment: &Assignment,
        proved: Proved<E::Output>,
        started_ms: u64,
    ) -> Result<ResultReport, AttemptError> {
        let proved_ms = self.port.now_ms();
        let whole = Proving { started_ms, prove_ms: proved_ms.saturating_sub(started_ms) };
        // Of an earlier attempt's result, what that attempt took.
        let proving = proved.proving.unwrap_or(whole);
        let public_values =
            match assignment.must_verify() && !self.planted(PlantedBug::AcceptWithoutVerifying) {
                true => Some(verified(executor, assignment, &proved).await?),
                false if assignment.stage().output == Output::Data => None,
                false => Some(proved.claimed_public_values.clone().unwrap_or_default()),
            };
        let verified_ms = self.port.now_ms();
        let artifact = executor.store(assignment, &proved).await?;
        let result = TaskResult {
            artifact,
            public_values,
            verification_key: proved.verification_key,
            proof_system: proved.proof_system,
            security_bits: proved.security_bits,
            trusted_setup: proved.trusted_setup,
            cycles: proved.cycles,
            list: proved.list,
            fields: proved.fields,
            prover: assignment.prover_name.clone(),
            worker: assignment.worker.clone(),
            attempt: assignment.attempt,
            claimed_ms: assignment.claimed_ms,
            started_ms: Some(proving.started_ms),
            prove_ms: proving.prove_ms,
            verify_ms: verified_ms.saturating_sub(proved_ms),
            at_ms: self.port.now_ms(),
        };
        let Assignment { task, slot, claim, .. } = assignment;
        Ok(ResultReport { task: task.id().clone(), slot: *slot, claim: claim.clone(), result, metered: None })
    }

    async fn fail(
        &self,
        assignment: &Assignment,
        error: AttemptError,
        metered: Option<Metered>,
    ) -> Result<Performed, Error> {
        let Assignment { worker, slot, claim, task, .. } = assignment;
        let (kind, message, log) = match error {
            AttemptError::Failed { kind, message, log } => (kind, message, log),
            AttemptError::Cancelled => {
                self.record_metered_release(worker, *slot, claim, task.id(), metered).await?;
                return Ok(Performed::Released);
            }
            AttemptError::HostFault { message } => {
                self.record_metered_release(worker, *slot, claim, task.id(), metered).await?;
                return Ok(Performed::HostFault { message });
            }
        };
        let report = FailureReport {
            worker: worker.clone(),
            slot: *slot,
            claim: claim.clone(),
            task: task.id().clone(),
            kind,
            message: message.clone(),
            log,
            metered,
        };
        Ok(Performed::Failed { message, outcome: self.record_failure(&report).await? })
    }
}

async fn verified<E: Executor>(
    executor: &mut E,
    assignment: &Assignment,
    proved: &Proved<E::Output>,
) -> Result<String, AttemptError> {
    let public_values = executor.verify(assignment, proved).await?;
    match &proved.claimed_public_values {
        Some(claimed) if *claimed != public_values => Err(AttemptError::Failed {
            kind: FailureKind::Transient,
            message: format!("the prover claims public values {claimed}, and the proof has {public_values}"),
            log: Vec::new(),
        }),
        _ => Ok(public_values),
    }
}
