//! What a home provides for its workers.

use std::sync::Arc;
use std::time::Duration;

use proofyard_core::error::Error;
use proofyard_core::port::Wake;
use proofyard_core::record::ResultOutcome;
use proofyard_core::state::WorkerId;
use proofyard_core::work::Assignment;
use proofyard_core::yard::Yard;

use crate::artifacts::ArtifactStore;
use crate::bell::Bell;
use crate::overhead::Sample;

/// The home of a worker: its yard, its artifacts, its bell. All threads of all its workers share it.
pub trait WorkerHome: Send + Sync + 'static {
    type Artifacts: ArtifactStore;

    fn yard(&self) -> &Yard;
    fn artifacts(&self) -> &Arc<Self::Artifacts>;

    /// Rings when tasks are listed, or idle slots should look for another reason; stops when the home does.
    fn bell(&self) -> &Bell;

    /// How often an idle slot polls its pool without a ring; see [`crate::bell::idle_look`].
    fn idle_look(&self) -> Duration;

    /// Whether the slots of a worker claim one after another: where a claim takes less time than its retry after another slot
    /// was faster.
    fn claims_in_turn(&self) -> bool {
        false
    }

    /// Runs a handler to its end on this thread. The handler may block for as long as a prover runs.
    fn block_on<F: Future>(&self, handler: F) -> F::Output;

    /// Runs everything that is done for one task, from its claim to the last step after it, as one invocation. A home whose
    /// reads are slow may pass a home with a read cache.
    fn invocation<T>(&self, work: impl FnOnce(&Self) -> T) -> T
    where
        Self: Sized,
    {
        work(self)
    }

    /// Called before a worker registers under this id.
    fn will_register(&self, _worker: &WorkerId) -> Result<(), Error> {
        Ok(())
    }

    /// Called after the worker of this id was unregistered.
    fn unregistered(&self, _worker: &WorkerId) -> Result<(), Error> {
        Ok(())
    }

    /// What this worker's machine costs an hour, all of the worker's slots together, in millionths of a US dollar, where that is
    /// known. It is looked at when the worker registers, and with each heartbeat.
    fn price_microusd_per_hour(&self) -> Option<u64> {
        None
    }

    /// Takes the steps that this wake asks for, or has another process take them.
    fn take_steps(&self, wake: &Wake);

    /// Logs an error after which the worker goes on.
    fn log_error(&self, what: &str, error: &dyn std::error::Error);

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
