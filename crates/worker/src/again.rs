//! Checking committed proofs again, from the artifacts alone, in a process of its own beside any yard.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use proofyard_core::committed::CommittedProof;
use proofyard_core::pipeline::{Output, Verify};
use proofyard_core::work::Trouble;
use proofyard_prover::runner::GuardCommand;

use crate::artifacts::ArtifactStore;
use crate::isolation::Isolation;
use crate::provers::{SlotPlan, SlotProvers};
use crate::work_dir::WorkDir;

/// What a second look at a committed proof can say for it.
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

/// Keeps its verifiers alive from one proof to the next; none of them ever proved anything.
pub struct Verifier<A> {
    artifacts: Arc<A>,
    provers: SlotProvers<A>,
}

impl<A: ArtifactStore> Verifier<A> {
    /// Verifiers write below `scratch`, which is the caller's to remove.
    pub fn new(artifacts: Arc<A>, guard: GuardCommand, scratch: PathBuf) -> io::Result<Self> {
        let work_dir = Arc::new(WorkDir::new(scratch)?);
        // No prover runs beside them.
        let isolation = Arc::new(Isolation::nothing());
        let plan = SlotPlan { guard, work_dir, gpus: None, isolation, slot: 0 };
        let provers = SlotProvers::new(Arc::clone(&artifacts), plan);
        Ok(Self { artifacts, provers })
    }

    pub fn check(&self, committed: &CommittedProof) -> Result<Verdict, Refuted> {
        let proof = &committed.proof;
        let name = self.artifacts.name_of(&proof.artifact);
        let refuted = |message: String, log| Refuted { artifact: name.clone(), message, log };
        if committed.prover().verify == Verify::None || committed.stage().output == Output::Data {
            let whole = self.artifacts.fetch(&proof.artifact);
            return whole.map(|_| Verdict::OnlyWhole).map_err(|error| refuted(error.to_string(), Vec::new()));
        }
        let found = self.provers.verify_again(committed).map_err(|trouble| match trouble {
            Trouble::Failed { message, log, .. } => refuted(message, log),
            Trouble::Hindered { message } => refuted(message, Vec::new()),
            Trouble::Dropped => refuted("its verification was cancelled".into(), Vec::new()),
        })?;
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
