//! What a task costs its slot outside prover and verifier: claiming, gathering inputs, storing, recording, advancing.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::state::{ArtifactRef, TaskId};
use proofyard_core::work::{Assignment, Executor, Proved, Trouble};

/// Samples kept; later ones are not counted.
const MAX_SAMPLES: usize = 1_000_000;

/// Overhead of each task whose result was recorded, in this process.
#[derive(Default)]
pub struct Overheads {
    samples: Mutex<Vec<Sample>>,
}

/// One task.
#[derive(Clone, Debug)]
pub struct Sample {
    pub task: TaskId,
    /// When its slot had it.
    pub claimed: Instant,
    /// From when the slot asked for it until it was recorded and what followed was done, without prover and verifier.
    pub overhead: Duration,
}

impl Overheads {
    pub(crate) fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < MAX_SAMPLES {
            samples.push(sample);
        }
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ascending.
    pub fn sorted(&self) -> Vec<Duration> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut overheads: Vec<_> = samples.iter().map(|sample| sample.overhead).collect();
        overheads.sort_unstable();
        overheads
    }
}

/// An executor that adds up the time spent in prover and verifier.
pub(crate) struct Timed<'a, E> {
    inner: &'a E,
    in_prover: Cell<Duration>,
}

impl<'a, E> Timed<'a, E> {
    pub fn new(inner: &'a E) -> Self {
        Self { inner, in_prover: Cell::default() }
    }

    pub fn in_prover(&self) -> Duration {
        self.in_prover.get()
    }

    fn spent(&self, since: Instant) {
        self.in_prover.set(self.in_prover.get() + since.elapsed());
    }
}

impl<E: Executor> Executor for Timed<'_, E> {
    type Output = E::Output;

    async fn prove(&self, assignment: &Assignment) -> Result<Proved<E::Output>, Trouble> {
        let since = Instant::now();
        let proved = self.inner.prove(assignment).await;
        self.spent(since);
        proved
    }

    async fn verify(&self, assignment: &Assignment, proved: &Proved<E::Output>) -> Result<String, Trouble> {
        let since = Instant::now();
        let verdict = self.inner.verify(assignment, proved).await;
        self.spent(since);
        verdict
    }

    async fn store(
        &self,
        assignment: &Assignment,
        proved: &Proved<E::Output>,
    ) -> Result<ArtifactRef, Trouble> {
        self.inner.store(assignment, proved).await
    }
}
