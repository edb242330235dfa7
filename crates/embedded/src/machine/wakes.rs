//! Wakes within one process: a queue that any thread may drain, and a bell for idle slots and sinks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proofyard_core::port::Wake;

/// Wakes that wait; beyond this they are dropped, and the sweeper finds their work.
const MAX_WAITING: usize = 65_536;

#[derive(Default)]
pub(crate) struct Wakes {
    state: Mutex<State>,
    /// Rung for steps to take.
    steps: Condvar,
    /// Rung for tasks listed and results to hand on.
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Wake>,
    known: BTreeSet<Wake>,
    /// Moves with every bell, so that none is missed between a look and a wait.
    rung: u64,
    stopped: bool,
}

impl Wakes {
    pub fn send(&self, wakes: &[Wake]) {
        let mut state = self.lock();
        for wake in wakes {
            match wake {
                Wake::Pool { .. } | Wake::Sink { .. } => {
                    state.rung += 1;
                    self.work.notify_all();
                }
                // There is none: who could write to this store could write anything else.
                Wake::Judge { .. } => {}
                Wake::Chain { .. } | Wake::Scope { .. } => {
                    if state.waiting.len() < MAX_WAITING && state.known.insert(wake.clone()) {
                        state.waiting.push_back(wake.clone());
                        self.steps.notify_one();
                    }
                }
            }
        }
    }

    /// The next step to take, if one waits.
    pub fn take(&self) -> Option<Wake> {
        let mut state = self.lock();
        Self::pop(&mut state)
    }

    /// The next step to take; `None` once the machine stops.
    pub fn wait_for_step(&self) -> Option<Wake> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(wake) = Self::pop(&mut state) {
                return Some(wake);
            }
            state = self.steps.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn pop(state: &mut State) -> Option<Wake> {
        let wake = state.waiting.pop_front()?;
        state.known.remove(&wake);
        Some(wake)
    }

    /// Rings the bell for whoever waits for work.
    pub fn ring(&self) {
        self.lock().rung += 1;
        self.work.notify_all();
    }

    /// How often the bell has rung; give it to [`Wakes::wait_for_work`] after having looked.
    pub fn rung(&self) -> u64 {
        self.lock().rung
    }

    /// Waits until the bell rings again, the machine stops, or the time is over.
    pub fn wait_for_work(&self, seen: u64, timeout: Duration) {
        let state = self.lock();
        let quiet = |state: &mut State| state.rung == seen && !state.stopped;
        drop(self.work.wait_timeout_while(state, timeout, quiet));
    }

    pub fn stop(&self) {
        self.lock().stopped = true;
        self.steps.notify_all();
        self.work.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
