//! Verifying proofs again, from the artifacts alone: committed ones for an operator, and for the judge those that are to be
//! handed on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use proofyard_core::committed::CommittedProof;
use proofyard_core::judge::Verifies;
use proofyard_core::pipeline::{Output, Verify};
use proofyard_core::work::AttemptError;
use proofyard_prover::runner::{Cancel, GuardCommand};

use crate::artifacts::ArtifactStore;
use crate::attempts::Attempts;
use crate::checkpoints::NoCheckpoints;
use crate::isolation::Isolation;
use crate::provers::{SlotPlan, SlotProvers};
use crate::work_dir::WorkDir;

/// What verifying a committed proof again has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its verifier accepts it, with the public values that were recorded.
    Verified,
    /// The pipeline names no verifier; the artifact is whole.
    OnlyWhole,
}

/// Why a committed proof does not stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("artifact {artifact}: {message}")]
pub struct Refuted {
    /// As its store names it.
    pub artifact: String,
    pub message: String,
    /// The verifier's last log lines.
    pub log: Vec<String>,
}

/// Runs verifiers, which stay alive from one proof to the next; no prover ever runs in their processes.
pub struct Verifier<A> {
    artifacts: Arc<A>,
    provers: SlotProvers<A>,
}

impl<A: ArtifactStore> Verifier<A> {
    /// Verifiers write below `scratch`, which is the caller's to remove.
    pub fn new(artifacts: Arc<A>, guard: GuardCommand, scratch: PathBuf) -> io::Result<Self> {
        let work_dir = Arc::new(WorkDir::new(scratch)?);
        // No prover runs beside them.
        Ok(Self::isolated(artifacts, guard, work_dir, Arc::new(Isolation::nothing()), 0))
    }

    /// Its verifiers are isolated from other processes, in a slot of their own.
    pub fn isolated(
        artifacts: Arc<A>,
        guard: GuardCommand,
        work_dir: Arc<WorkDir>,
        isolation: Arc<Isolation>,
        slot: u32,
    ) -> Self {
        let energy = Arc::default();
        // A call is not verified.
        let plan = SlotPlan { guard, work_dir, gpus: None, isolation, energy, slot, accounts: None };
        let provers = SlotProvers::new(Arc::clone(&artifacts), plan);
        Self { artifacts, provers }
    }

    /// The public values that are in a proof; `None` if it has no verifier, and its artifact is whole.
    fn values_of(&mut self, committed: &CommittedProof) -> Result<Option<String>, AttemptError> {
        if committed.prover().verify == Verify::None || committed.stage().output == Output::Data {
            return self.provers.expect_whole(&committed.proof.artifact).map(|()| None);
        }
        self.provers.attempt(Cancel::new(), &NoCheckpoints).verify_committed(committed).map(Some)
    }

    pub fn check(&mut self, committed: &CommittedProof) -> Result<Verdict, Refuted> {
        let proof = &committed.proof;
        let name = self.artifacts.name_of(&proof.artifact);
        let refuted = |message: String, log| Refuted { artifact: name.clone(), message, log };
        let found = self.values_of(committed).map_err(|error| match error {
            AttemptError::Failed { message, log, .. } => refuted(message, log),
            AttemptError::HostFault { message } => refuted(message, Vec::new()),
            AttemptError::Cancelled => refuted("its verification was cancelled".into(), Vec::new()),
        })?;
        let Some(found) = found else { return Ok(Verdict::OnlyWhole) };
        match &proof.public_values {
            Some(recorded) if *recorded == found => Ok(Verdict::Verified),
            recorded => {
                let recorded = recorded.as_deref().unwrap_or("none");
                let message = format!("it has public values {found}, and those recorded are {recorded}");
                Err(refuted(message, Vec::new()))
            }
        }
    }
}

impl<A: ArtifactStore> Verifies for Verifier<A> {
    async fn verify(&mut self, proof: &CommittedProof) -> Result<Option<String>, AttemptError> {
        self.values_of(proof)
    }
}
