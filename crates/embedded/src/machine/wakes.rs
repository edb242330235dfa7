//! Wakes within one process: a queue of steps that any thread may take, and the bell for idle slots and sinks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use proofyard_core::port::Wake;
use proofyard_worker::bell::Bell;

/// Wakes that wait; beyond this they are dropped, and the sweeper finds their work.
const MAX_WAITING: usize = 65_536;

#[derive(Default)]
pub(crate) struct Wakes {
    queue: Mutex<Queue>,
    /// Notified for each step that is queued, and when the machine stops.
    steps: Condvar,
    bell: Bell,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Wake>,
    /// What waits, so that it waits once.
    known: BTreeSet<Wake>,
    stopped: bool,
}

impl Wakes {
    /// Rings for tasks listed and results to hand on.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    pub fn send(&self, wakes: &[Wake]) {
        for wake in wakes {
            match wake {
                Wake::Pool { .. } | Wake::Sink { .. } => self.bell.ring(),
                // There is none: who could write to this store could write anything else.
                Wake::Judge { .. } => {}
                Wake::Chain { .. } | Wake::Scope { .. } => self.queue_step(wake),
            }
        }
    }

    fn queue_step(&self, wake: &Wake) {
        let mut queue = self.lock();
        if queue.waiting.len() < MAX_WAITING && queue.known.insert(wake.clone()) {
            queue.waiting.push_back(wake.clone());
            self.steps.notify_one();
        }
    }

    /// The next step to take, if one waits.
    pub fn take(&self) -> Option<Wake> {
        self.lock().pop()
    }

    /// The next step to take; `None` once the machine stops.
    pub fn wait_for_step(&self) -> Option<Wake> {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(wake) = queue.pop() {
                return Some(wake);
            }
            queue = self.steps.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Stops whoever waits for a step, for work, or for a time to pass.
    pub fn stop(&self) {
        self.bell.stop();
        self.lock().stopped = true;
        self.steps.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Wake> {
        let wake = self.waiting.pop_front()?;
        self.known.remove(&wake);
        Some(wake)
    }
}
