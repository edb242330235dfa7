//! Wakes within one process: a queue of steps that any thread may take, and the bell of idle slots and sinks.
//!
//! A wake waits while its steps are being taken: another thread would read the same, and at best do the same. It is taken
//! afterwards, since what it speaks of may have come too late to be seen. A thread that takes steps without having been asked,
//! as slots do for their own block, has done what was queued until then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// In their order; one that is not in `wanted` any more was taken by a thread that had not been asked.
    waiting: VecDeque<Wake>,
    /// So that none is queued twice.
    wanted: BTreeSet<Wake>,
    /// Whose steps are being taken, and by how many threads.
    taken: BTreeMap<Wake, u32>,
    stopped: bool,
}

/// While this lives, the steps of its wake are being taken.
pub(crate) struct Taking<'a> {
    wakes: &'a Wakes,
    wake: &'a Wake,
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
        if queue.waiting.len() < MAX_WAITING && queue.wanted.insert(wake.clone()) {
            queue.waiting.push_back(wake.clone());
            if !queue.taken.contains_key(wake) {
                self.steps.notify_one();
            }
        }
    }

    /// From here on a thread takes the steps of this wake.
    pub fn begin<'a>(&'a self, wake: &'a Wake) -> Taking<'a> {
        let mut queue = self.lock();
        queue.wanted.remove(wake);
        *queue.taken.entry(wake.clone()).or_default() += 1;
        Taking { wakes: self, wake }
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
    /// The first that nobody is at.
    fn pop(&mut self) -> Option<Wake> {
        let Self { waiting, wanted, taken, .. } = self;
        while waiting.front().is_some_and(|wake| !wanted.contains(wake)) {
            waiting.pop_front();
        }
        let is_free = |wake: &Wake| wanted.contains(wake) && !taken.contains_key(wake);
        let wake = waiting.remove(waiting.iter().position(is_free)?)?;
        wanted.remove(&wake);
        Some(wake)
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        let mut queue = self.wakes.lock();
        if let Some(threads) = queue.taken.get_mut(self.wake) {
            *threads -= 1;
            if *threads == 0 {
                queue.taken.remove(self.wake);
            }
        }
        if queue.wanted.contains(self.wake) {
            self.wakes.steps.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wake(chain: &str) -> Wake {
        Wake::Chain { chain: chain.parse().unwrap() }
    }

    #[test]
    fn what_comes_while_its_steps_are_taken_waits_for_their_end() {
        let wakes = Wakes::default();
        wakes.send(&[wake("a"), wake("b"), wake("a")]);
        let first = wakes.take().unwrap();
        assert_eq!(first, wake("a"));
        let taking = wakes.begin(&first);
        wakes.send(&[wake("a")]);
        assert_eq!((wakes.take(), wakes.take()), (Some(wake("b")), None));
        let also = wakes.begin(&first);
        drop(also);
        assert_eq!(wakes.take(), None, "another thread is at it still");
        wakes.send(&[wake("a")]);
        drop(taking);
        assert_eq!((wakes.take(), wakes.take()), (Some(wake("a")), None));
    }

    #[test]
    fn what_was_queued_before_a_thread_took_it_unasked_is_done() {
        let wakes = Wakes::default();
        wakes.send(&[wake("a"), wake("b")]);
        drop(wakes.begin(&wake("a")));
        assert_eq!(wakes.take(), Some(wake("b")));
        wakes.send(&[wake("a")]);
        assert_eq!((wakes.take(), wakes.take()), (Some(wake("a")), None));
        assert!(wakes.lock().waiting.is_empty());
    }
}
