//! When each block was committed, as those who take steps see it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::Pipeline;
use proofyard_embedded::block_on;
use proofyard_embedded::machine::Machine;

/// A commit that nobody was notified of by then counts as of now: the sweeper tells of none.
const LATEST: Duration = Duration::from_millis(200);

/// Shared with the machine's threads; only grows.
#[derive(Clone)]
pub(crate) struct Commits {
    first: u64,
    times: Arc<Mutex<Vec<Instant>>>,
}

impl Commits {
    /// Of this height and those after it. A commit's time is when the steps ended in which it was made.
    pub fn watch(machine: &Machine, pipeline: &Pipeline, first: u64) -> Self {
        let commits = Self { first, times: Arc::default() };
        let (watching, chain) = (commits.clone(), pipeline.chain.name.clone());
        machine.on_steps(move |yard| {
            if let Ok(frontier) = block_on(yard.frontier(&chain)) {
                watching.reached(frontier.height);
            }
        });
        commits
    }

    fn reached(&self, frontier: u64) {
        let mut times = self.lock();
        let committed = usize::try_from(frontier.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if times.len() < committed {
            times.resize(committed, Instant::now());
        }
    }

    /// In the order of heights; all of these are committed. Whoever made the last commits may be about to tell of them.
    pub fn times(&self, heights: usize) -> Vec<Instant> {
        let began = Instant::now();
        while self.lock().len() < heights && began.elapsed() < LATEST {
            thread::sleep(LATEST / 100);
        }
        self.reached(self.first.saturating_add(heights as u64));
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
