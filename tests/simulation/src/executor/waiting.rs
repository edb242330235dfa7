//! What futures wait for: a turn, a time, or a signal; and the timers by which time passes and wakes are delivered.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

use proofyard_core::port::Wake;

use super::futures::FutureId;
use super::{Schedule, Simulation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Only lets others run.
    NextTurn,
    /// Until then at the latest.
    Time(u64),
}

pub(super) enum Timer {
    /// A future's wait of this number is over.
    Future(FutureId, u64),
    /// A message arrives.
    Wake(Wake),
}

impl Simulation {
    pub fn send_later(&self, at_ms: u64, wake: Wake) {
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.next_id += 1;
        let order = schedule.next_id;
        schedule.timers.insert((at_ms, order), Timer::Wake(wake));
    }

    /// Loses all wakes that are under way.
    pub fn drop_wakes(&self) {
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.timers.retain(|_, timer| !matches!(timer, Timer::Wake(_)));
    }

    /// Moves simulated time to the next timer; false if there is none.
    pub(super) fn jump_to_next_timer(&self) -> bool {
        let next = self.0.schedule.borrow().timers.keys().next().map(|(at_ms, _)| *at_ms);
        if let Some(at_ms) = next {
            self.0.now_ms.set(at_ms.max(self.now_ms()));
        }
        next.is_some()
    }

    /// Makes the futures ready whose time has come, up to the first wake.
    pub(super) fn fire_timers(&self) -> Option<Wake> {
        let now_ms = self.now_ms();
        let mut schedule = self.0.schedule.borrow_mut();
        while let Some(entry) = schedule.timers.first_entry() {
            if entry.key().0 > now_ms {
                break;
            }
            match entry.remove() {
                Timer::Wake(wake) => return Some(wake),
                Timer::Future(id, wait) => {
                    let Schedule { futures, ready, .. } = &mut *schedule;
                    let waits = futures.get_mut(&id).filter(|running| running.wait == wait);
                    if let Some(running) = waits.filter(|running| !running.is_ready) {
                        running.is_ready = true;
                        ready.push(id);
                    }
                }
            }
        }
        None
    }

    /// Notes what the current future waits for; of several, whichever comes first.
    fn wait_for(&self, other: WaitsFor) {
        let first = match (self.0.waits_for.get(), other) {
            (Some(WaitsFor::NextTurn), _) | (_, WaitsFor::NextTurn) => WaitsFor::NextTurn,
            (Some(WaitsFor::Time(a)), WaitsFor::Time(b)) => WaitsFor::Time(a.min(b)),
            (None, other) => other,
        };
        self.0.waits_for.set(Some(first));
    }

    /// Lets others run.
    pub fn pause(&self) -> impl Future<Output = ()> + use<> {
        let simulation = self.clone();
        let mut is_first = true;
        std::future::poll_fn(move |_| {
            if std::mem::take(&mut is_first) {
                simulation.wait_for(WaitsFor::NextTurn);
                return Poll::Pending;
            }
            Poll::Ready(())
        })
    }

    pub fn sleep(&self, ms: u64) -> impl Future<Output = ()> + use<> {
        self.sleep_until(self.now_ms() + ms)
    }

    pub fn sleep_until(&self, at_ms: u64) -> impl Future<Output = ()> + use<> {
        let simulation = self.clone();
        std::future::poll_fn(move |_| {
            if simulation.now_ms() >= at_ms {
                return Poll::Ready(());
            }
            simulation.wait_for(WaitsFor::Time(at_ms));
            Poll::Pending
        })
    }
}

impl Schedule {
    pub(super) fn wait_until(&mut self, id: FutureId, at_ms: u64) {
        self.next_id += 1;
        let order = self.next_id;
        if let Some(running) = self.futures.get_mut(&id) {
            running.is_ready = false;
            self.timers.insert((at_ms, order), Timer::Future(id, running.wait));
        }
    }
}

/// Something that futures wait for: each notice makes all that wait ready.
#[derive(Clone, Default)]
pub struct Signal(Rc<RefCell<SignalState>>);

#[derive(Default)]
struct SignalState {
    notices: u64,
    waiting: Vec<FutureId>,
}

impl Signal {
    pub fn notify(&self, simulation: &Simulation) {
        let waiting = {
            let mut signal = self.0.borrow_mut();
            signal.notices += 1;
            std::mem::take(&mut signal.waiting)
        };
        let mut schedule = simulation.0.schedule.borrow_mut();
        for id in waiting {
            let Schedule { futures, ready, .. } = &mut *schedule;
            let waits = futures.get_mut(&id).filter(|running| !running.is_ready);
            // A future that is being polled right now sees the notice by itself.
            if let Some(running) = waits.filter(|running| running.future.is_some()) {
                running.is_ready = true;
                running.wait += 1;
                ready.push(id);
            }
        }
    }

    /// How many notices there were. Read before looking for work, it is what [`Signal::wait_after`] takes, so that no
    /// notice between the look and the wait is missed.
    pub fn notices(&self) -> u64 {
        self.0.borrow().notices
    }

    /// Until the next notice, or until then.
    pub fn wait(&self, simulation: &Simulation, until_ms: u64) -> impl Future<Output = ()> + use<> {
        self.wait_after(self.notices(), simulation, until_ms)
    }

    /// Until there were more notices than `seen`, or until then.
    pub fn wait_after(
        &self,
        seen: u64,
        simulation: &Simulation,
        until_ms: u64,
    ) -> impl Future<Output = ()> + use<> {
        let (signal, simulation) = (self.clone(), simulation.clone());
        std::future::poll_fn(move |_| {
            if signal.notices() != seen || simulation.now_ms() >= until_ms {
                return Poll::Ready(());
            }
            if let Some((id, _)) = simulation.0.current.get() {
                let mut state = signal.0.borrow_mut();
                if !state.waiting.contains(&id) {
                    state.waiting.push(id);
                }
            }
            simulation.wait_for(WaitsFor::Time(until_ms));
            Poll::Pending
        })
    }
}
