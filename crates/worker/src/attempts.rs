//! What runs a slot's attempts: the provers and verifiers of the pipeline, or what a measurement puts in their place.

use std::time::Duration;

use proofyard_core::work::Executor;
use proofyard_prover::runner::Cancel;

/// A slot's own: one attempt after another, on the slot's thread.
pub trait Attempts {
    type Attempt<'a>: TimedExecutor
    where
        Self: 'a;

    /// Begins an attempt, which ends early when this token is cancelled.
    fn attempt(&mut self, cancel: Cancel) -> Self::Attempt<'_>;
}

/// An executor that knows how long it proved.
pub trait TimedExecutor: Executor {
    /// How much of the attempt was spent in provers and verifiers.
    fn in_provers(&self) -> Duration;
}
