//! One attempt at a task: fetch its inputs, prove, verify in another process, store the proof. Or, where an earlier
//! attempt stored a proof whose result was never recorded: verify that one, and prove nothing.
//!
//! [`Attempt`] is the [`Executor`] that `core` drives. It lives as long as the attempt, and it alone changes what it
//! holds; another thread only cancels it.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use proofyard_core::committed::CommittedProof;
use proofyard_core::error::with_causes;
use proofyard_core::pipeline::{Protocol, Verify};
use proofyard_core::record::{self, FailureKind};
use proofyard_core::state::{ArtifactRef, List, Metered};
use proofyard_core::work::{Assignment, AttemptError, Executor, Input, InputKind, Proved, Proving};
use proofyard_prover::message::{
    self, CHECKPOINT_BYTES, Input as PathInput, InputKind as PathInputKind, PROOF_SYSTEM_BYTES,
    PUBLIC_VALUES_BYTES, VERIFICATION_KEY_BYTES,
};
use proofyard_prover::runner::{
    self, Cancel, Launch, Payload, ProverError, count_list, prove_files, verify_files,
};
use proofyard_prover::{ProveRequest, VerifyOk, VerifyRequest};

use super::SlotProvers;
use super::blame::{self, artifact_error, input_error, lasting, prover_error, verifier_error};
use super::job::Job;
use super::verification_key::{accepted_key, bare_hex, key_of_file};
use crate::artifacts::{ArtifactError, ArtifactStore, Draft};
use crate::attempts::TimedExecutor;
use crate::checkpoints::Checkpoints;
use crate::energy::Measuring;
use crate::host::system_now_ms;
use crate::isolation::Role;
use crate::unrecorded_result::UnrecordedResult;

// What a prover may answer fits what the state may hold.
const _: () = {
    assert!(PUBLIC_VALUES_BYTES == record::MAX_PUBLIC_VALUES_BYTES);
    assert!(VERIFICATION_KEY_BYTES == proofyard_core::pipeline::MAX_VERIFICATION_KEY_BYTES);
    assert!(PROOF_SYSTEM_BYTES == record::MAX_PROOF_SYSTEM_BYTES);
    assert!(runner::LOG_LINES == record::LOG_LINES && runner::LOG_LINE_BYTES == record::LOG_LINE_BYTES);
    assert!(runner::MESSAGE_BYTES == record::MESSAGE_BYTES);
    assert!(CHECKPOINT_BYTES == record::MAX_CHECKPOINT_BYTES);
};

/// A proof that took less time than this is not set aside before it is verified: it is cheaper to prove it again.
const WORTH_SETTING_ASIDE_MS: u64 = 100;

/// One attempt of a slot.
pub(crate) struct Attempt<'a, A> {
    slot: &'a mut SlotProvers<A>,
    cancel: Cancel,
    checkpoints: &'a dyn Checkpoints,
    /// Time spent in provers and verifiers.
    in_provers: Duration,
    measuring: Measuring,
}

/// A proof, where its prover cannot change it, and its inputs.
pub(crate) struct Output {
    proof: Proof,
    inputs: Vec<PathInput>,
}

enum Proof {
    Draft(Draft),
    /// By an earlier attempt.
    Stored {
        path: PathBuf,
        artifact: ArtifactRef,
    },
}

impl<'a, A: ArtifactStore> Attempt<'a, A> {
    pub(super) fn new(
        slot: &'a mut SlotProvers<A>,
        cancel: Cancel,
        checkpoints: &'a dyn Checkpoints,
    ) -> Self {
        let plan = &slot.launcher.plan;
        let measuring = plan.energy.begin(plan.gpus.as_deref().unwrap_or_default());
        Self { slot, cancel, checkpoints, in_provers: Duration::ZERO, measuring }
    }

    /// Verifies a committed proof from the artifacts alone; answers its public values.
    pub fn verify_committed(&mut self, committed: &CommittedProof) -> Result<String, AttemptError> {
        let proof = self.slot.artifacts.fetch(&committed.proof.artifact).map_err(artifact_error)?;
        let job = Job::from(committed);
        let folder = self.slot.launcher.folder(Role::Verify)?;
        let request = VerifyRequest {
            proof,
            verification_key: accepted_key(committed.prover(), committed.proof.verification_key.as_deref()),
            inputs: self.inputs(job)?,
            output_dir: folder.out(),
        };
        self.ask_verifier(job, &request, committed.proof.proof_system.as_deref())
    }

    /// Refuses a strict pipeline on a host without isolation: it may have come into force after this worker started.
    fn expect_isolation(&self, assignment: &Assignment) -> Result<(), AttemptError> {
        match self.slot.launcher.plan.isolation.warning() {
            Some(warning) if assignment.pipeline.chain.strict => {
                let message = format!("{warning}; the pipeline is strict, so nothing is proved here");
                Err(AttemptError::HostFault { message })
            }
            _ => Ok(()),
        }
    }

    fn inputs(&self, job: Job<'_>) -> Result<Vec<PathInput>, AttemptError> {
        job.inputs.iter().map(|input| self.input(input)).collect()
    }

    fn input(&self, input: &Input) -> Result<PathInput, AttemptError> {
        Ok(PathInput {
            kind: match input.kind {
                InputKind::Block => PathInputKind::Block,
                InputKind::Proof => PathInputKind::Proof,
                InputKind::Data => PathInputKind::Data,
            },
            path: self.slot.artifacts.fetch(&input.artifact).map_err(input_error)?,
            index: input.index,
            stage: input.stage.clone(),
            task_index: input.task_index,
            public_values: input.public_values.clone(),
            verification_key: input.verification_key.clone(),
        })
    }

    /// Runs the prover; answers also when, and how long it took.
    fn ask_prover(
        &mut self,
        assignment: &Assignment,
        launch: &Launch,
        request: &ProveRequest,
    ) -> Result<(runner::Proved, Proving), AttemptError> {
        let (job, cancel, checkpoints) = (Job::from(assignment), &self.cancel, self.checkpoints);
        let (started_ms, began) = (system_now_ms(), Instant::now());
        let proved = match payload(job.prover.protocol) {
            Some(payload) => prove_files(launch, payload, &assignment.match_fields(), request, cancel),
            None => self.slot.sessions.ask(job, Role::Prove, launch, cancel, |session| {
                session.prove_heard(request, cancel, &mut Keeps(checkpoints))
            }),
        };
        let took = began.elapsed();
        self.in_provers += took;
        let proved = proved.map_err(|error| self.on_this_host(prover_error(error)))?;
        Ok((proved, Proving { started_ms, prove_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) }))
    }

    /// Copies the prover's output, from the file that was checked and is still open: the prover may have put another one
    /// at its path.
    fn copied(&self, proved: runner::Proved) -> Result<(Draft, message::ProveOk), AttemptError> {
        let runner::Proved { ok, output } = proved;
        let draft = self
            .slot
            .artifacts
            .draft(output.file.take(output.bytes), output.bytes, &output.path)
            .map_err(artifact_error)?;
        expect_list(&draft, ok.list)?;
        Ok((draft, ok))
    }

    /// The public values, if the verifier accepts the proof and its proof system is the one that was claimed.
    fn ask_verifier(
        &mut self,
        job: Job<'_>,
        request: &VerifyRequest,
        claimed_system: Option<&str>,
    ) -> Result<String, AttemptError> {
        let command = match &job.prover.verify {
            Verify::Command(command) => command,
            Verify::Same | Verify::None => &job.prover.command,
        };
        let SlotProvers { launcher, artifacts, .. } = &mut *self.slot;
        let launch = launcher.launch(&**artifacts, job, Role::Verify, command)?;
        let began = Instant::now();
        let verdict = self.verdict(job, &launch, request);
        self.in_provers += began.elapsed();
        let ok = verdict.map_err(|error| self.on_this_host(verifier_error(error)))?;
        match claimed_system.zip(ok.proof_system.as_deref()) {
            Some((claimed, system)) if claimed != system => Err(AttemptError::Failed {
                kind: FailureKind::Transient,
                message: format!(
                    "prover {} calls its proof one of {claimed}, and the verifier that accepts it is of {system}",
                    job.prover_name
                ),
                log: Vec::new(),
            }),
            _ => Ok(bare_hex(&ok.public_values)),
        }
    }

    fn verdict(
        &mut self,
        job: Job<'_>,
        launch: &Launch,
        request: &VerifyRequest,
    ) -> Result<VerifyOk, ProverError> {
        let cancel = &self.cancel;
        match payload(job.prover.protocol) {
            Some(_) => verify_files(launch, request, cancel),
            None => self
                .slot
                .sessions
                .ask(job, Role::Verify, launch, cancel, |session| session.verify(request, cancel)),
        }
    }

    fn on_this_host(&self, error: AttemptError) -> AttemptError {
        let plan = &self.slot.launcher.plan;
        blame::on_this_host(error, &plan.work_dir, &plan.isolation)
    }

    /// An earlier attempt's result cannot be used: this attempt proves the task itself.
    fn rejected(&self, assignment: &Assignment, why: &str) -> Option<Proved<Output>> {
        self.slot.artifacts.reject_unrecorded(assignment.task.id(), why);
        None
    }

    fn rejected_unless_passing(
        &self,
        assignment: &Assignment,
        error: ArtifactError,
    ) -> Result<Option<Proved<Output>>, AttemptError> {
        match error.passes() {
            true => Err(artifact_error(error)),
            false => Ok(self.rejected(assignment, &with_causes(&error).to_string())),
        }
    }
}

impl<A: ArtifactStore> TimedExecutor for Attempt<'_, A> {
    fn in_provers(&self) -> Duration {
        self.in_provers
    }
}

impl<A: ArtifactStore> Executor for Attempt<'_, A> {
    type Output = Output;

    async fn prove(&mut self, assignment: &Assignment) -> Result<Proved<Output>, AttemptError> {
        self.expect_isolation(assignment)?;
        let job = Job::from(assignment);
        let folder = self.slot.launcher.folder(Role::Prove)?;
        let request = ProveRequest {
            task: assignment.task.id().to_string(),
            attempt: assignment.attempt,
            output_dir: folder.out(),
            inputs: self.inputs(job)?,
            gpus: self.slot.launcher.plan.gpus.clone().unwrap_or_default(),
            deadline_ms: assignment.stage().limits.time_limit_ms,
            resume: assignment.task.checkpoint().map(str::to_owned),
        };
        let SlotProvers { launcher, artifacts, .. } = &mut *self.slot;
        let launch = launcher.launch(&**artifacts, job, Role::Prove, &job.prover.command)?;
        let (proved, proving) = self.ask_prover(assignment, &launch, &request)?;
        let (draft, ok) = self.copied(proved)?;
        let sha256 = draft.artifact().sha256.clone();
        let verification_key = ok.verification_key.or_else(|| key_of_file(job.prover, draft.path()));
        Ok(Proved {
            output: Output { proof: Proof::Draft(draft), inputs: request.inputs },
            claimed_public_values: ok.public_values.map(|value| bare_hex(&value)),
            verification_key,
            proof_system: ok.proof_system,
            security_bits: ok.security_bits,
            trusted_setup: ok.trusted_setup,
            cycles: ok.cycles,
            list: ok.list.map(|list| List { count: list.count, sha256 }),
            fields: ok.fields,
            proving: Some(proving),
        })
    }

    async fn verify(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<Output>,
    ) -> Result<String, AttemptError> {
        let Output { proof, inputs } = &proved.output;
        let folder = self.slot.launcher.folder(Role::Verify)?;
        let path = match proof {
            Proof::Draft(draft) => {
                if proved.proving.is_some_and(|proving| proving.prove_ms >= WORTH_SETTING_ASIDE_MS) {
                    let result = UnrecordedResult::of(assignment, proved, draft.artifact()).to_json();
                    let artifacts = &self.slot.artifacts;
                    artifacts.set_aside(draft, assignment.task.id(), result).map_err(artifact_error)?;
                }
                draft.begin_sync(&self.slot.syncer);
                draft.path()
            }
            Proof::Stored { path, .. } => path,
        };
        let request = VerifyRequest {
            proof: path.to_owned(),
            verification_key: accepted_key(assignment.prover(), proved.verification_key.as_deref()),
            inputs: inputs.clone(),
            output_dir: folder.out(),
        };
        self.ask_verifier(Job::from(assignment), &request, proved.proof_system.as_deref())
    }

    async fn store(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<Output>,
    ) -> Result<ArtifactRef, AttemptError> {
        // After a draft nothing more is made; one that was stored may yet be rejected, and the task proved.
        if let Proof::Draft(_) = &proved.output.proof {
            self.measuring.stop();
        }
        let artifacts = &self.slot.artifacts;
        let stored = match &proved.output.proof {
            Proof::Stored { artifact, .. } => Ok(artifact.clone()),
            // A later attempt does not use a result that no verifier can check.
            Proof::Draft(draft) if assignment.must_verify() => {
                let result = UnrecordedResult::of(assignment, proved, draft.artifact()).to_json();
                artifacts.keep_unrecorded(draft, assignment.task.id(), result)
            }
            Proof::Draft(draft) => artifacts.keep(draft),
        };
        stored.map_err(artifact_error)
    }

    async fn find_unrecorded(
        &mut self,
        assignment: &Assignment,
    ) -> Result<Option<Proved<Output>>, AttemptError> {
        let result = match self.slot.artifacts.unrecorded(assignment.task.id()) {
            Ok(Some(result)) => result,
            Ok(None) => return Ok(None),
            Err(error) => return self.rejected_unless_passing(assignment, error),
        };
        let result = match UnrecordedResult::read(&result, assignment) {
            Ok(result) => result,
            Err(why) => return Ok(self.rejected(assignment, &why)),
        };
        let artifact = result.artifact.clone();
        let path = match self.slot.artifacts.fetch(&artifact) {
            Ok(path) => path,
            Err(error) => return self.rejected_unless_passing(assignment, error),
        };
        let inputs = self.inputs(Job::from(assignment))?;
        let proof = Proof::Stored { path, artifact };
        Ok(Some(result.into_proved(Output { proof, inputs })))
    }

    fn metered(&mut self) -> Option<Metered> {
        self.measuring.end()
    }

    async fn reject_unrecorded(&mut self, assignment: &Assignment, why: &str) {
        self.slot.artifacts.reject_unrecorded(assignment.task.id(), why);
    }

    async fn discard_unrecorded(&mut self, assignment: &Assignment) {
        if assignment.must_verify() {
            self.slot.artifacts.discard_unrecorded(assignment.task.id());
        }
    }
}

/// Hears a prover at work, and has its checkpoints kept.
struct Keeps<'a>(&'a dyn Checkpoints);

impl runner::Listener for Keeps<'_> {
    fn checkpoint(&mut self, text: String) -> Receiver<()> {
        self.0.keep(text)
    }
}

/// What a files prover is given as input; `None` for a `stream` prover.
fn payload(protocol: Protocol) -> Option<Payload> {
    match protocol {
        Protocol::Stream => None,
        Protocol::Files => Some(Payload::Request),
        Protocol::FilesBare => Some(Payload::Bare),
        Protocol::FilesHeight => Some(Payload::Height),
        Protocol::FilesList => Some(Payload::List),
    }
}

/// The list that was counted when the prover answered must be the one that was copied: the prover may have gone on
/// writing.
fn expect_list(draft: &Draft, list: Option<message::List>) -> Result<(), AttemptError> {
    let Some(list) = list else { return Ok(()) };
    let content = fs::File::open(draft.path()).map_err(|error| lasting(error.to_string()))?;
    match count_list(content) {
        Some(count) if count == list.count => Ok(()),
        _ => Err(lasting("its list changed while it was copied".to_owned())),
    }
}
