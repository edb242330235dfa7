//! What a home gives the workers that work for it.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use proofyard_core::error::Error;
use proofyard_core::port::{Port, Wake};
use proofyard_core::record::ResultOutcome;
use proofyard_core::work::Assignment;
use proofyard_core::yard::Yard;

use crate::artifacts::ArtifactStore;
use crate::overhead::Sample;

/// The home that a worker works for: its yard, its artifacts, its time. Shared by all of its workers' threads.
pub trait Home: Send + Sync + 'static {
    type Port: Port;
    type Artifacts: ArtifactStore;

    fn yard(&self) -> &Yard<Self::Port>;
    fn artifacts(&self) -> &Arc<Self::Artifacts>;

    /// Runs a handler to its end on this thread. A prover's whole run, which blocks, may be inside.
    fn block_on<F: Future>(&self, handler: F) -> F::Output;

    /// Runs all that is done for one task, from its claim to its last step, as one invocation. A home whose reads are far
    /// away may give it a home that remembers what it has read.
    fn invocation<T>(&self, work: impl FnOnce(&Self) -> T) -> T
    where
        Self: Sized,
    {
        work(self)
    }

    /// Told before a worker registers under this id.
    fn will_register(&self, _worker: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Told after a worker gave this id up.
    fn gave_up(&self, _worker: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Takes the steps that follow, or has somebody take them.
    fn step(&self, wake: &Wake);

    /// Tells of trouble that the worker goes on after.
    fn complain(&self, what: &str, error: &dyn Display);

    fn is_stopped(&self) -> bool;

    /// Waits; false if the home stops meanwhile.
    fn pause(&self, time: Duration) -> bool;

    /// How often the bell for idle slots has rung: for tasks listed, and for whatever else they should look at.
    fn rung(&self) -> u64;

    /// Rings that bell.
    fn ring(&self);

    /// Waits until the bell rings again (after it had rung `rung` times), the home stops, it is time to look again
    /// without having been told, or `at_most` is over.
    fn wait_for_work(&self, rung: u64, at_most: Duration);

    /// Told after a task's result was recorded and its next steps were taken.
    fn recorded(&self, _finished: Finished<'_>) {}
}

/// A task whose result was recorded.
pub struct Finished<'a> {
    pub assignment: &'a Assignment,
    pub outcome: &'a ResultOutcome,
    pub sample: Sample,
}
