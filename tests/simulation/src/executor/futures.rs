//! The futures that run in processes: handlers, and the loops of workers, sinks and operators that call them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::waiting::WaitsFor;
use super::{Invocation, ProcessId, Simulation};
use crate::store::Caller;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FutureId(u64);

pub(super) struct Running {
    process: ProcessId,
    /// What it does; checks tell callers apart by it.
    name: &'static str,
    /// Taken out while it is polled.
    pub(super) future: Option<LocalFuture>,
    pub(super) invocation: Option<Invocation>,
    /// Counts its waits, so that timers set for an earlier wait have no effect.
    pub(super) wait: u64,
    pub(super) is_ready: bool,
    /// How many more calls its handler may make before it is cut off; `None` for no limit.
    calls_left: Option<u64>,
}

impl Simulation {
    /// Runs a future in a process; without effect when the process is dead.
    pub fn spawn(&self, process: ProcessId, name: &'static str, future: impl Future<Output = ()> + 'static) {
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.next_id += 1;
        let id = FutureId(schedule.next_id);
        let Some(owner) = schedule.processes.get_mut(&process) else { return };
        owner.futures.insert(id);
        let running = Running {
            process,
            name,
            future: Some(Box::pin(future)),
            invocation: None,
            wait: 0,
            is_ready: true,
            calls_left: None,
        };
        schedule.futures.insert(id, running);
        schedule.ready.push(id);
    }

    /// The current future, as the store records who made a commit.
    pub fn caller(&self) -> Caller {
        let Some((id, _)) = self.0.current.get() else { return Caller::default() };
        let schedule = self.0.schedule.borrow();
        Caller { future: id.0, name: schedule.futures.get(&id).map_or("", |running| running.name) }
    }

    /// Runs a handler until it ends, or until it has made so many calls: then its future is dropped as it stands, and
    /// its process goes on. `None` if it was cut off.
    pub fn cut_off_after<T>(
        &self,
        calls: Option<u64>,
        handler: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        let simulation = self.clone();
        // Boxed, so that it can be dropped before the caller goes on.
        let mut handler = Some(Box::pin(handler));
        let mut is_first = true;
        std::future::poll_fn(move |context| {
            if std::mem::take(&mut is_first) {
                simulation.set_calls_left(calls);
            }
            let Some(running) = handler.as_mut() else { return Poll::Ready(None) };
            match running.as_mut().poll(context) {
                Poll::Ready(value) => {
                    simulation.set_calls_left(None);
                    Poll::Ready(Some(value))
                }
                Poll::Pending if simulation.calls_left() == Some(0) => {
                    simulation.count("fault: handler cut off");
                    simulation.trace(|| "its handler is cut off".into());
                    simulation.set_calls_left(None);
                    handler = None;
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            }
        })
    }

    fn set_calls_left(&self, calls: Option<u64>) {
        let Some((id, _)) = self.0.current.get() else { return };
        if let Some(running) = self.0.schedule.borrow_mut().futures.get_mut(&id) {
            running.calls_left = calls;
        }
    }

    fn calls_left(&self) -> Option<u64> {
        let (id, _) = self.0.current.get()?;
        self.0.schedule.borrow().futures.get(&id)?.calls_left
    }

    /// Called for each port call of a handler. At its last one the handler stays pending until it is cut off.
    pub fn note_call(&self) {
        if let Some(calls) = self.calls_left() {
            self.set_calls_left(Some(calls.saturating_sub(1)));
        }
    }

    /// Draws the next future to poll; `None` if the one drawn belongs to a frozen process.
    pub(super) fn take_ready(&self) -> Option<FutureId> {
        let length = self.0.schedule.borrow().ready.len();
        if length == 0 {
            return None;
        }
        let at = self.random(|random| random.index(length));
        let now_ms = self.now_ms();
        let mut schedule = self.0.schedule.borrow_mut();
        let id = schedule.ready.swap_remove(at);
        let process = schedule.futures.get(&id)?.process;
        let frozen_until_ms = schedule.processes.get(&process)?.frozen_until_ms;
        if frozen_until_ms > now_ms {
            schedule.wait_until(id, frozen_until_ms);
            return None;
        }
        Some(id)
    }

    pub(super) fn poll(&self, id: FutureId) {
        let taken = {
            let mut schedule = self.0.schedule.borrow_mut();
            schedule.futures.get_mut(&id).and_then(|running| {
                running.is_ready = false;
                running.wait += 1;
                Some((running.future.take()?, running.process, running.name))
            })
        };
        let Some((mut future, process, name)) = taken else { return };
        self.0.current.set(Some((id, process)));
        self.0.waits_for.set(None);
        let outcome = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.0.current.set(None);
        self.0.trace.mix(id.0 ^ self.now_ms().rotate_left(32));
        match outcome {
            Poll::Ready(()) => self.remove(id, process),
            Poll::Pending => self.suspend(id, future, name),
        }
    }

    /// The future has ended; a process without any other has ended too.
    fn remove(&self, id: FutureId, process: ProcessId) {
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.futures.remove(&id);
        let Some(owner) = schedule.processes.get_mut(&process) else { return };
        owner.futures.remove(&id);
        if owner.futures.is_empty() {
            schedule.processes.remove(&process);
        }
    }

    /// The future is pending: it becomes ready again by what it waits for.
    fn suspend(&self, id: FutureId, future: LocalFuture, name: &'static str) {
        let waits_for = self.0.waits_for.take();
        let mut schedule = self.0.schedule.borrow_mut();
        let Some(running) = schedule.futures.get_mut(&id) else {
            drop(schedule);
            drop(future); // Its process died meanwhile.
            return;
        };
        running.future = Some(future);
        match waits_for {
            Some(WaitsFor::NextTurn) => {
                running.is_ready = true;
                schedule.ready.push(id);
            }
            Some(WaitsFor::Time(at_ms)) => schedule.wait_until(id, at_ms),
            None => {
                drop(schedule);
                self.violate(format!("{name} waits for nothing that the simulation knows"));
            }
        }
    }
}
