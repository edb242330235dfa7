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
use crate::bell::Bell;
use crate::overhead::Sample;

/// The home that a worker works for: its yard, its artifacts, its bell. Shared by all of its workers' threads.
pub trait WorkerHome: Send + Sync + 'static {
    type Port: Port;
    type Artifacts: ArtifactStore;

    fn yard(&self) -> &Yard<Self::Port>;
    fn artifacts(&self) -> &Arc<Self::Artifacts>;

    /// Rings for tasks listed, and for whatever else idle slots should look at; stops when the home does.
    fn bell(&self) -> &Bell;

    /// How often an idle slot looks at its pool without the bell; see [`crate::bell::idle_look`].
    fn idle_look(&self) -> Duration;

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

    /// Called before a worker registers under this id.
    fn will_register(&self, _worker: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Called after a worker gave this id up.
    fn gave_up(&self, _worker: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Takes the steps that follow, or has another process take them.
    fn step(&self, wake: &Wake);

    /// Logs an error that the worker goes on after.
    fn complain(&self, what: &str, error: &dyn Display);

    /// Called after a task's result was recorded and its next steps were taken.
    fn recorded(&self, _finished: Finished<'_>) {}

    fn is_stopped(&self) -> bool {
        self.bell().is_stopped()
    }

    /// Waits; false if the home stops meanwhile.
    fn pause(&self, time: Duration) -> bool {
        self.bell().pause(time)
    }
}

/// A task whose result was recorded.
pub struct Finished<'a> {
    pub assignment: &'a Assignment,
    pub outcome: &'a ResultOutcome,
    pub sample: Sample,
}
