//! Wakes within one process: a queue of steps that any thread may take, and the bell of idle slots and sinks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use proofyard_core::port::Wake;
use proofyard_worker::bell::Bell;

/// How many wakes are queued; beyond that they are dropped, and the sweeper finds their work.
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
    /// The same wakes, so that none is queued twice.
    known: BTreeSet<Wake>,
    stopped: bool,
}

impl Wakes {
    /// Rings when tasks are listed, and when results can be handed on.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    pub fn send(&self, wakes: &[Wake]) {
        for wake in wakes {
            match wake {
                Wake::Pool { .. } | Wake::Sink { .. } => self.bell.ring(),
                // There is no judge here: a process that could forge results in this store could forge anything.
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

    /// The next queued step, if there is one.
    pub fn take(&self) -> Option<Wake> {
        self.lock().pop()
    }

    /// Waits for the next step; `None` once the machine stops.
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

    /// Stops all threads that wait for a step, for work, or for a time to pass.
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
