//! A bell for idle slots, and the word that the worker stops.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rung: u64,
    stopped: bool,
}

impl Bell {
    pub fn ring(&self) {
        self.lock().rung += 1;
        self.changed.notify_all();
    }

    pub fn rung(&self) -> u64 {
        self.lock().rung
    }

    /// Waits until it has rung again since it had rung `seen` times, all stops, or the time is over.
    pub fn wait(&self, seen: u64, at_most: Duration) {
        let quiet = |state: &mut State| state.rung == seen && !state.stopped;
        drop(self.changed.wait_timeout_while(self.lock(), at_most, quiet));
    }

    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits; false if all stops meanwhile.
    pub fn pause(&self, time: Duration) -> bool {
        drop(self.changed.wait_timeout_while(self.lock(), time, |state| !state.stopped));
        !self.is_stopped()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
