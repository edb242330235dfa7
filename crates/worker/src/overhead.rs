//! What a task costs its slot outside prover and verifier: claiming, gathering inputs, storing, recording, advancing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::state::TaskId;

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
    /// Of its block, or of the first of its cut.
    pub height: u64,
    /// Since when its slot had nothing to do.
    pub slot_free: Instant,
    /// When its slot had claimed it.
    pub claimed: Instant,
    /// How long claiming took.
    pub claiming: Duration,
    /// When its result was recorded, and the next tasks were listed.
    pub recorded: Instant,
    /// From the claim until the result was recorded and the next tasks were listed, without the time in prover and verifier.
    pub working: Duration,
}

impl Overheads {
    pub fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < MAX_SAMPLES {
            samples.push(sample);
        }
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Each task's overhead, ascending.
    pub fn sorted(&self) -> Vec<Duration> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut overheads: Vec<_> = samples.iter().map(|sample| sample.claiming + sample.working).collect();
        overheads.sort_unstable();
        overheads
    }
}
