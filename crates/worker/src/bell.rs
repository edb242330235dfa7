//! The bell of one process: a condition variable that idle slots and sinks wait on. It rings when there may be work, and
//! once for all when the process stops.
//!
//! Any thread rings it. A thread that waits reads [`Bell::rung`] before it looks for work, and gives that to
//! [`Bell::wait`], so that no ring between the look and the wait is missed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A pipeline whose tick is no longer than this is a real-time one.
const REAL_TIME_TICK_MS: u64 = 1_000;
const REAL_TIME_LOOK: Duration = Duration::from_secs(1);
const QUIET_LOOK: Duration = Duration::from_secs(20);

/// How often an idle slot or sink polls without a ring, since a wake may be lost: by the shortest tick of its pipelines.
pub fn idle_look(tick_ms: Option<u64>) -> Duration {
    match tick_ms {
        Some(..=REAL_TIME_TICK_MS) => REAL_TIME_LOOK,
        _ => QUIET_LOOK,
    }
}

#[derive(Default)]
pub struct Bell {
    state: Mutex<State>,
    /// Notified at each ring, and at the stop.
    rings: Condvar,
    /// Notified at the stop alone: heartbeats and sweeps do not wake up for each task.
    stops: Condvar,
}

#[derive(Default)]
struct State {
    rung: u64,
    stopped: bool,
}

impl Bell {
    pub fn ring(&self) {
        self.lock().rung += 1;
        self.rings.notify_all();
    }

    /// How often it has rung.
    pub fn rung(&self) -> u64 {
        self.lock().rung
    }

    /// Waits until it has rung more than `seen` times, the process stops, or the time is over.
    pub fn wait(&self, seen: u64, at_most: Duration) {
        let is_quiet = |state: &mut State| state.rung == seen && !state.stopped;
        drop(self.rings.wait_timeout_while(self.lock(), at_most, is_quiet));
    }

    pub fn stop(&self) {
        self.lock().stopped = true;
        self.rings.notify_all();
        self.stops.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits for so long; false if the process stops meanwhile.
    pub fn pause(&self, time: Duration) -> bool {
        drop(self.stops.wait_timeout_while(self.lock(), time, |state| !state.stopped));
        !self.is_stopped()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
