//! The provers and verifiers of one slot.
//!
//! | file | holds |
//! | --- | --- |
//! | `job` | what a prover is asked about: a claimed task, or a committed proof |
//! | `attempt` | one attempt: fetch the inputs, prove, verify, store |
//! | `sessions` | the processes that stay from one attempt to the next |
//! | `launching` | how a process is started: command, environment, files, limits, isolation |
//! | `verification_key` | which key counts, and who names it |
//! | `blame` | whose fault a failure is: this host's, the prover's, or an input's |
//!
//! A slot runs one attempt at a time, so all of this belongs to the slot's thread; nothing here is shared or locked. What
//! lasts longer than an attempt (sessions, work folders, prover files) is in [`SlotProvers`]; what belongs to one attempt is
//! in [`Attempt`], which borrows it.

mod attempt;
mod blame;
mod job;
mod launching;
mod sessions;
mod verification_key;

use std::path::PathBuf;
use std::sync::Arc;

use proofyard_core::state::ArtifactRef;
use proofyard_core::work::AttemptError;
use proofyard_prover::runner::{Cancel, GuardCommand};

pub(crate) use self::attempt::Attempt;
use self::launching::Launcher;
use self::sessions::Sessions;
use crate::artifacts::{ArtifactStore, Syncer};
use crate::attempts::Attempts;
use crate::checkpoints::Checkpoints;
use crate::energy::EnergyMeter;
use crate::isolation::Isolation;
use crate::work_dir::WorkDir;

/// A slot of this machine, and how its processes are isolated.
pub(crate) struct SlotPlan {
    pub guard: GuardCommand,
    pub work_dir: Arc<WorkDir>,
    /// The slot's GPUs, by index; `None` in a pool without GPUs.
    pub gpus: Option<Vec<u32>>,
    pub isolation: Arc<Isolation>,
    pub energy: Arc<EnergyMeter>,
    /// Its number among all slots of this process, over all pools.
    pub slot: u32,
    /// Where what accounts have sent is kept.
    pub accounts: Option<PathBuf>,
}

/// The provers and verifiers of one slot: never the same process, and isolated from each other.
pub(crate) struct SlotProvers<A> {
    artifacts: Arc<A>,
    launcher: Launcher,
    sessions: Sessions,
    syncer: Syncer,
}

impl<A: ArtifactStore> SlotProvers<A> {
    pub fn new(artifacts: Arc<A>, plan: SlotPlan) -> Self {
        Self {
            artifacts,
            launcher: Launcher::new(plan),
            sessions: Sessions::default(),
            syncer: Syncer::start(),
        }
    }

    /// Whether the store has the artifact, unchanged.
    pub fn expect_whole(&self, artifact: &ArtifactRef) -> Result<(), AttemptError> {
        self.artifacts.fetch(artifact).map(drop).map_err(blame::artifact_error)
    }
}

impl<A: ArtifactStore> Attempts for SlotProvers<A> {
    type Attempt<'a> = Attempt<'a, A>;

    fn attempt<'a>(&'a mut self, cancel: Cancel, checkpoints: &'a dyn Checkpoints) -> Attempt<'a, A> {
        Attempt::new(self, cancel, checkpoints)
    }
}
