//! What all threads of a running yard share: the handlers, the artifacts, the wakes, and the counters. It is the home of the
//! machine's workers.
//!
//! After the start only the wakes, the counters and, behind the port, the store change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proofyard_core::Yard;
use proofyard_core::error::{Error, with_causes};
use proofyard_core::pipeline::Output;
use proofyard_core::port::Wake;
use proofyard_core::record::ResultOutcome;
use proofyard_core::state::WorkerId;
use proofyard_worker::artifacts::Artifacts;
use proofyard_worker::bell::Bell;
use proofyard_worker::{Finished, Overheads, WorkerHome};

use super::local_workers::{forget_worker, remember_worker};
use super::wakes::Wakes;
use crate::{LocalPort, block_on};

/// Called with each error after which the machine goes on.
pub type OnError = dyn Fn(&str) + Send + Sync;

/// Called after steps were taken, on the thread that took them.
pub type OnSteps = dyn Fn(&Yard<LocalPort>) + Send + Sync;

/// What all threads share.
pub(crate) struct Shared {
    pub yard: Yard<LocalPort>,
    pub artifacts: Arc<Artifacts>,
    pub wakes: Arc<Wakes>,
    pub overheads: Overheads,
    pub proofs_accepted: AtomicU64,
    pub idle_look: Duration,
    pub on_error: Box<OnError>,
    pub on_steps: OnceLock<Box<OnSteps>>,
}

impl Shared {
    /// Takes all queued steps.
    pub fn take_queued_steps(&self) {
        while let Some(wake) = self.wakes.take() {
            self.take_steps(&wake);
        }
    }
}

impl WorkerHome for Shared {
    type Artifacts = Artifacts;

    fn yard(&self) -> &Yard {
        &self.yard
    }

    fn artifacts(&self) -> &Arc<Artifacts> {
        &self.artifacts
    }

    fn bell(&self) -> &Bell {
        self.wakes.bell()
    }

    fn idle_look(&self) -> Duration {
        self.idle_look
    }

    fn claims_in_turn(&self) -> bool {
        true
    }

    fn block_on<F: Future>(&self, handler: F) -> F::Output {
        block_on(handler)
    }

    fn will_register(&self, worker: &WorkerId) -> Result<(), Error> {
        block_on(remember_worker(&self.yard.port, worker))
    }

    fn unregistered(&self, worker: &WorkerId) -> Result<(), Error> {
        block_on(forget_worker(&self.yard.port, worker))
    }

    fn take_steps(&self, wake: &Wake) {
        let _taking = self.wakes.begin(wake);
        if let Err(error) = block_on(self.yard.advance(wake)) {
            // The scope stays due: the sweeper retries.
            self.log_error("advance", &error);
        }
        if let Some(on_steps) = self.on_steps.get() {
            on_steps(&self.yard);
        }
    }

    fn log_error(&self, what: &str, error: &dyn std::error::Error) {
        (self.on_error)(&format!("{what}: {}", with_causes(error)));
    }

    fn recorded(&self, finished: Finished<'_>) {
        let is_proof = finished.assignment.stage().output == Output::Proof;
        if is_proof && *finished.outcome == ResultOutcome::Accepted {
            self.proofs_accepted.fetch_add(1, Ordering::Relaxed);
        }
        self.overheads.add(finished.sample);
    }
}
