//! What runs a slot's attempts: the provers and verifiers of the pipeline, or what a measurement puts in their place.

use std::time::Duration;

use proofyard_core::work::Executor;
use proofyard_prover::runner::Cancel;

use crate::checkpoints::Checkpoints;

/// A slot's own: one attempt after another, on the slot's thread.
pub trait Attempts {
    type Attempt<'a>: TimedExecutor
    where
        Self: 'a;

    /// Begins an attempt, which ends early when this token is cancelled, and may have checkpoints kept.
    fn attempt<'a>(&'a mut self, cancel: Cancel, checkpoints: &'a dyn Checkpoints) -> Self::Attempt<'a>;
}

/// An executor that knows how long it proved.
pub trait TimedExecutor: Executor {
    /// How much of the attempt was spent in provers and verifiers.
    fn in_provers(&self) -> Duration;
}
