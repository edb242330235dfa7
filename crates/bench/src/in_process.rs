//! The prover that is no process: a worker's own thread sleeps, and its "proof" is an artifact that was there before.
//!
//! Such a task is claimed, accepted and followed by what it releases exactly as any other, by the same slots and handlers; it
//! only has no verifier, and nothing is written for it beside the state. That is what a task of a plain queue has.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::state::ArtifactRef;
use proofyard_core::work::{Assignment, AttemptError, Executor, Proved};
use proofyard_prover::runner::Cancel;
use proofyard_worker::{Attempts, Checkpoints, TimedExecutor};

/// How long a sleep does not see that it is cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// Of one slot.
#[derive(Clone)]
pub(crate) struct Sleeps {
    pub prove: Duration,
    /// What every task is said to have made.
    pub proof: ArtifactRef,
}

pub(crate) struct Sleep<'a> {
    sleeps: &'a Sleeps,
    cancel: Cancel,
    slept: Duration,
}

impl Attempts for Sleeps {
    type Attempt<'a> = Sleep<'a>;

    fn attempt<'a>(&'a mut self, cancel: Cancel, _checkpoints: &'a dyn Checkpoints) -> Sleep<'a> {
        Sleep { sleeps: self, cancel, slept: Duration::ZERO }
    }
}

impl TimedExecutor for Sleep<'_> {
    fn in_provers(&self) -> Duration {
        self.slept
    }
}

impl Executor for Sleep<'_> {
    type Output = ();

    async fn prove(&mut self, _assignment: &Assignment) -> Result<Proved<()>, AttemptError> {
        let began = Instant::now();
        while began.elapsed() < self.sleeps.prove {
            if self.cancel.is_cancelled() {
                return Err(AttemptError::Cancelled);
            }
            thread::sleep(self.sleeps.prove.saturating_sub(began.elapsed()).min(LOOK));
        }
        self.slept = began.elapsed();
        Ok(Proved {
            output: (),
            claimed_public_values: Some("00".to_owned()),
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

    /// Never asked: the pipeline says that there is no verifier.
    async fn verify(
        &mut self,
        _assignment: &Assignment,
        _proved: &Proved<()>,
    ) -> Result<String, AttemptError> {
        Err(AttemptError::HostFault { message: "in process nothing is verified".to_owned() })
    }

    async fn store(
        &mut self,
        _assignment: &Assignment,
        _proved: &Proved<()>,
    ) -> Result<ArtifactRef, AttemptError> {
        Ok(self.sleeps.proof.clone())
    }
}
