//! Virtual time: futures run one after another on one thread, and when none can go on, the clock jumps to the next timer.
//!
//! The simulation's executor draws at each step who goes on next, lets processes die, and stops at every await. Here
//! nobody dies and order means nothing, but a fleet of 10,000 machines has to run in seconds: so this one is its own, of a
//! queue and a heap. Futures that are ready go on in the order in which they became so, which makes a run deterministic.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A handle to clone. Times are microseconds from the run's beginning.
#[derive(Clone, Default)]
pub(crate) struct Executor(Rc<Inner>);

#[derive(Default)]
struct Inner {
    now_us: Cell<u64>,
    /// The task that is being polled.
    current: Cell<u64>,
    next_id: Cell<u64>,
    tasks: RefCell<HashMap<u64, Task>>,
    ready: RefCell<VecDeque<u64>>,
    /// By time, then in the order in which they were set.
    timers: RefCell<BinaryHeap<Reverse<(u64, u64, u64)>>>,
}

impl Executor {
    pub fn now_us(&self) -> u64 {
        self.0.now_us.get()
    }

    fn new_id(&self) -> u64 {
        self.0.next_id.set(self.0.next_id.get() + 1);
        self.0.next_id.get()
    }

    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let id = self.new_id();
        self.0.tasks.borrow_mut().insert(id, Box::pin(future));
        self.0.ready.borrow_mut().push_back(id);
    }

    pub fn sleep_us(&self, us: u64) -> impl Future<Output = ()> + use<> {
        self.sleep_until_us(self.now_us().saturating_add(us))
    }

    pub fn sleep_until_us(&self, at_us: u64) -> impl Future<Output = ()> + use<> {
        let executor = self.clone();
        let mut is_set = false;
        std::future::poll_fn(move |_| {
            if executor.now_us() >= at_us {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_set, true) {
                executor.wake_at(at_us);
            }
            Poll::Pending
        })
    }

    /// Sets a timer for the current task. A task that is woken for nothing only waits on.
    fn wake_at(&self, at_us: u64) {
        let order = self.new_id();
        self.0.timers.borrow_mut().push(Reverse((at_us, order, self.0.current.get())));
    }

    /// Runs until `is_over` says so, the time is up, or nothing is left that could go on.
    pub fn run(&self, until_us: u64, is_over: impl Fn() -> bool) {
        while !is_over() {
            let ready = self.0.ready.borrow_mut().pop_front();
            if let Some(id) = ready {
                self.poll(id);
                continue;
            }
            let mut timers = self.0.timers.borrow_mut();
            let Some(Reverse((at_us, _, id))) = timers.peek().copied() else { return };
            if at_us > until_us {
                self.0.now_us.set(until_us);
                return;
            }
            timers.pop();
            self.0.now_us.set(at_us);
            self.0.ready.borrow_mut().push_back(id);
        }
    }

    fn poll(&self, id: u64) {
        let taken = self.0.tasks.borrow_mut().remove(&id);
        let Some(mut task) = taken else { return };
        self.0.current.set(id);
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.0.tasks.borrow_mut().insert(id, task);
        }
    }

    /// Drops all tasks, which hold on to what holds this.
    pub fn end(&self) {
        let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
        drop(tasks);
        self.0.ready.borrow_mut().clear();
        self.0.timers.borrow_mut().clear();
    }
}

/// What tasks wait on: each ring wakes all that wait.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Cell<u64>,
    waiting: RefCell<Vec<u64>>,
}

impl Bell {
    pub fn ring(&self, executor: &Executor) {
        self.rung.set(self.rung.get() + 1);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        executor.0.ready.borrow_mut().extend(waiting);
    }

    /// How often it has rung. Read before looking for work, it is what [`Bell::wait`] takes, so that no ring is missed.
    pub fn rung(&self) -> u64 {
        self.rung.get()
    }

    /// Until it has rung more than `seen` times, or until then.
    pub async fn wait(&self, seen: u64, executor: &Executor, until_us: u64) {
        let mut is_set = false;
        std::future::poll_fn(|_| {
            if self.rung.get() != seen || executor.now_us() >= until_us {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_set, true) {
                executor.wake_at(until_us);
            }
            let current = executor.0.current.get();
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.contains(&current) {
                waiting.push(current);
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_to_whoever_is_next() {
        let executor = Executor::default();
        let seen = Rc::new(RefCell::new(Vec::new()));
        for us in [30, 10, 20] {
            let (of, seen) = (executor.clone(), Rc::clone(&seen));
            executor.spawn(async move {
                of.sleep_us(us).await;
                seen.borrow_mut().push((us, of.now_us()));
            });
        }
        executor.run(25, || false);
        assert_eq!(*seen.borrow(), [(10, 10), (20, 20)]);
        assert_eq!(executor.now_us(), 25);
        executor.run(1_000, || false);
        assert_eq!(seen.borrow().last(), Some(&(30, 30)), "what was not due yet is not lost");
    }

    #[test]
    fn a_bell_ends_a_wait_and_time_does_too() {
        let executor = Executor::default();
        let (bell, ended) = (Rc::new(Bell::default()), Rc::new(RefCell::new(Vec::new())));
        let (of, rings) = (executor.clone(), Rc::clone(&bell));
        executor.spawn(async move {
            of.sleep_us(5).await;
            rings.ring(&of);
        });
        let (of, waits, ends) = (executor.clone(), Rc::clone(&bell), Rc::clone(&ended));
        executor.spawn(async move {
            waits.wait(waits.rung(), &of, 100).await;
            ends.borrow_mut().push(of.now_us());
            waits.wait(waits.rung(), &of, 100).await;
            ends.borrow_mut().push(of.now_us());
        });
        executor.run(1_000, || false);
        assert_eq!(*ended.borrow(), [5, 100]);
    }
}
