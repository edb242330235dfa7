//! Runs many handlers at once on one thread, and decides by the seed which goes on next.
//!
//! Every await of a handler is a point where another may run, where simulated time may pass, and where the process
//! it belongs to may die: then all futures of that process are dropped as they stand.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use proofyard_core::port::{Key, Wake};
use proofyard_core::view::View;

use crate::counters::Counters;
use crate::faults::Faults;
use crate::random::Random;
use crate::store::{Caller, Table};
use crate::trace::{Trace, TraceMode};

pub type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId(u64);

/// What one step of the executor did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Polled,
    /// A wake arrives; the world decides who handles it.
    Wake(Wake),
    /// A process died; the world decides who comes after it.
    Died(ProcessId),
    /// Nothing is left to do.
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Ready,
    At(u64),
}

struct Task {
    process: ProcessId,
    name: &'static str,
    /// Taken out while it is polled.
    future: Option<LocalFuture>,
    /// While it is on an errand.
    errand: Option<Errand>,
    /// Timers set for an earlier wait are void.
    wait: u64,
    is_ready: bool,
    /// Calls that its handler may still make before it is cut off; none while nobody counts.
    calls_left: Option<u64>,
}

/// What a handler does for one message, as a home whose reads are far away does it: nothing is read twice, and the steps
/// it leads to are taken at once, by the same caller, in the same view.
#[derive(Default)]
pub struct Errand {
    pub view: View,
    pub wakes: BTreeSet<Wake>,
}

impl Errand {
    /// Pools and sinks have others who look after them.
    pub fn take_step(&mut self) -> Option<Wake> {
        let is_step = |wake: &&Wake| matches!(wake, Wake::Chain { .. } | Wake::Scope { .. });
        let step = self.wakes.iter().find(is_step).cloned()?;
        self.wakes.take(&step)
    }
}

#[derive(Debug)]
struct Process {
    name: String,
    frozen_until_ms: u64,
    /// How far its host's clock is off.
    clock_off_ms: i64,
    /// It is a host of its own, with a clock of its own.
    has_own_clock: bool,
    /// How slow its calls are, beside those of others.
    pace: u64,
    tasks: BTreeSet<TaskId>,
}

enum Timer {
    Task(TaskId, u64),
    Wake(Wake),
}

#[derive(Default)]
struct Schedule {
    tasks: BTreeMap<TaskId, Task>,
    ready: Vec<TaskId>,
    timers: BTreeMap<(u64, u64), Timer>,
    processes: BTreeMap<ProcessId, Process>,
    dead: Vec<ProcessId>,
    next_id: u64,
}

/// One seed's whole machine; a handle to clone.
#[derive(Clone)]
pub struct Simulation(Rc<Inner>);

struct Inner {
    now_ms: Cell<u64>,
    step: Cell<u64>,
    random: RefCell<Random>,
    faults: RefCell<Faults>,
    counters: RefCell<Counters>,
    trace: Trace,
    table: RefCell<Table>,
    schedule: RefCell<Schedule>,
    current: Cell<Option<(TaskId, ProcessId)>>,
    next: Cell<Option<Next>>,
    violation: RefCell<Option<String>>,
    /// What the due index showed to the sweeper, and how often.
    shown: RefCell<BTreeMap<Key, usize>>,
}

/// Simulated time starts here, so that no arithmetic on times goes below zero.
pub const START_MS: u64 = 100_000_000;

impl Simulation {
    pub fn new(seed: u64, faults: Faults, trace: TraceMode) -> Self {
        Self(Rc::new(Inner {
            now_ms: Cell::new(START_MS),
            step: Cell::new(0),
            random: RefCell::new(Random::new(seed)),
            faults: RefCell::new(faults),
            counters: RefCell::default(),
            trace: Trace::new(trace),
            table: RefCell::default(),
            schedule: RefCell::default(),
            current: Cell::new(None),
            next: Cell::new(None),
            violation: RefCell::default(),
            shown: RefCell::default(),
        }))
    }

    pub fn now_ms(&self) -> u64 {
        self.0.now_ms.get()
    }

    pub fn steps(&self) -> u64 {
        self.0.step.get()
    }

    pub fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.0.random.borrow_mut())
    }

    pub fn chance(&self, per_10k: u32) -> bool {
        self.random(|random| random.chance(per_10k))
    }

    pub fn faults(&self) -> std::cell::Ref<'_, Faults> {
        self.0.faults.borrow()
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.0.faults.borrow_mut() = faults;
    }

    pub fn table(&self) -> std::cell::Ref<'_, Table> {
        self.0.table.borrow()
    }

    pub fn table_mut(&self) -> std::cell::RefMut<'_, Table> {
        self.0.table.borrow_mut()
    }

    pub fn count(&self, name: &'static str) {
        self.0.counters.borrow_mut().add(name);
    }

    pub fn counters(&self) -> Counters {
        self.0.counters.borrow().clone()
    }

    pub fn trace(&self, text: impl FnOnce() -> String) {
        self.0.trace.line(self.now_ms(), self.steps(), || match self.0.current.get() {
            Some((_, process)) => format!("[{}] {}", self.process_name(process), text()),
            None => text(),
        });
    }

    pub fn digest(&self) -> u64 {
        self.0.trace.digest()
    }

    pub fn stir(&self, fact: u64) {
        self.0.trace.stir(fact);
    }

    pub fn trace_lines(&self) -> Vec<String> {
        self.0.trace.lines()
    }

    /// A promise is broken; the first one is kept.
    pub fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.trace(|| format!("VIOLATION {what}"));
        self.0.violation.borrow_mut().get_or_insert(what);
    }

    pub fn violation(&self) -> Option<String> {
        self.0.violation.borrow().clone()
    }

    /// A sweep begins.
    pub fn forget_shown(&self) {
        self.0.shown.borrow_mut().clear();
    }

    pub fn note_shown(&self, key: &Key) {
        *self.0.shown.borrow_mut().entry(key.clone()).or_default() += 1;
    }

    /// The entry that this sweep has seen most often.
    pub fn shown_most(&self) -> Option<(Key, usize)> {
        let shown = self.0.shown.borrow();
        shown.iter().max_by_key(|(_, times)| **times).map(|(key, times)| (key.clone(), *times))
    }

    // Processes.

    pub fn start_process(&self, name: impl Into<String>) -> ProcessId {
        let skew_max_ms = self.faults().clock_skew_max_ms;
        let clock_off_ms = self.random(|random| random.below(skew_max_ms + 1)) as i64;
        let pace = self.random(|random| *random.pick(&[0, 1, 1, 8]));
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.next_id += 1;
        let id = ProcessId(schedule.next_id as u32);
        let process = Process {
            name: name.into(),
            frozen_until_ms: 0,
            clock_off_ms,
            has_own_clock: false,
            pace,
            tasks: BTreeSet::new(),
        };
        schedule.processes.insert(id, process);
        id
    }

    pub fn is_alive(&self, process: ProcessId) -> bool {
        self.0.schedule.borrow().processes.contains_key(&process)
    }

    pub fn process_name(&self, process: ProcessId) -> String {
        let schedule = self.0.schedule.borrow();
        schedule
            .processes
            .get(&process)
            .map_or_else(|| format!("{process:?}"), |process| process.name.clone())
    }

    /// The clock of the process that runs now, which may be off.
    pub fn process_now_ms(&self) -> u64 {
        let schedule = self.0.schedule.borrow();
        let process = self.current_process().and_then(|process| schedule.processes.get(&process));
        self.now_ms().saturating_add_signed(process.map_or(0, |process| process.clock_off_ms))
    }

    /// The host of this process has a clock that is so far off.
    pub fn set_clock_off(&self, process: ProcessId, off_ms: i64) {
        if let Some(process) = self.0.schedule.borrow_mut().processes.get_mut(&process) {
            process.clock_off_ms = off_ms;
            process.has_own_clock = true;
        }
    }

    /// Whether the process that runs now has another clock than the yard.
    pub fn process_has_own_clock(&self) -> bool {
        let schedule = self.0.schedule.borrow();
        let process = self.current_process().and_then(|process| schedule.processes.get(&process));
        process.is_some_and(|process| process.has_own_clock)
    }

    /// How slow the process that runs now is.
    pub fn pace(&self) -> u64 {
        let schedule = self.0.schedule.borrow();
        let process = self.current_process().and_then(|process| schedule.processes.get(&process));
        process.map_or(1, |process| process.pace)
    }

    /// The process that runs now stops at its next await.
    pub fn kill_current(&self) {
        if let Some(process) = self.current_process() {
            self.kill(process);
        }
    }

    /// The process stops at once, wherever its handlers are.
    pub fn kill(&self, process: ProcessId) {
        let removed = self.0.schedule.borrow_mut().processes.remove(&process);
        let Some(removed) = removed else { return };
        self.trace(|| format!("process {} dies", removed.name));
        let mut dropped = Vec::new();
        {
            let mut schedule = self.0.schedule.borrow_mut();
            for id in &removed.tasks {
                dropped.extend(schedule.tasks.remove(id).and_then(|task| task.future));
            }
            schedule.ready.retain(|id| !removed.tasks.contains(id));
            schedule.dead.push(process);
        }
        // Dropping runs destructors, which may look at the schedule.
        drop(dropped);
    }

    /// The process does not move until then; its calls that are under way end later.
    pub fn freeze(&self, process: ProcessId, until_ms: u64) {
        if let Some(process) = self.0.schedule.borrow_mut().processes.get_mut(&process) {
            process.frozen_until_ms = until_ms;
        }
    }

    /// Every process stops; what its futures held is freed.
    pub fn end(&self) {
        let processes: Vec<ProcessId> = self.0.schedule.borrow().processes.keys().copied().collect();
        for process in processes {
            self.kill(process);
        }
        self.0.schedule.take();
    }

    pub fn current_process(&self) -> Option<ProcessId> {
        self.0.current.get().map(|(_, process)| process)
    }

    // Tasks.

    /// Nothing happens when the process is dead.
    pub fn spawn(&self, process: ProcessId, name: &'static str, future: impl Future<Output = ()> + 'static) {
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.next_id += 1;
        let id = TaskId(schedule.next_id);
        let Some(owner) = schedule.processes.get_mut(&process) else { return };
        owner.tasks.insert(id);
        let task = Task {
            process,
            name,
            future: Some(Box::pin(future)),
            errand: None,
            wait: 0,
            is_ready: true,
            calls_left: None,
        };
        schedule.tasks.insert(id, task);
        schedule.ready.push(id);
    }

    /// The task that runs now, as whoever it calls knows it.
    pub fn caller(&self) -> Caller {
        let Some((id, _)) = self.0.current.get() else { return Caller::default() };
        let schedule = self.0.schedule.borrow();
        Caller { task: id.0, name: schedule.tasks.get(&id).map_or("", |task| task.name) }
    }

    /// Runs a handler until it ends, or until it has made so many calls: then its future is dropped as it stands, and
    /// its process goes on. `None` if it was cut off.
    pub fn cut_off_after<T>(
        &self,
        calls: Option<u64>,
        handler: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        let simulation = self.clone();
        // Pinned apart, so that it can be dropped before the caller goes on.
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
        if let Some(task) = self.0.schedule.borrow_mut().tasks.get_mut(&id) {
            task.calls_left = calls;
        }
    }

    fn calls_left(&self) -> Option<u64> {
        let (id, _) = self.0.current.get()?;
        self.0.schedule.borrow().tasks.get(&id)?.calls_left
    }

    /// A handler makes a call; at its last one it waits to be cut off.
    pub fn note_call(&self) {
        if let Some(calls) = self.calls_left() {
            self.set_calls_left(Some(calls.saturating_sub(1)));
        }
    }

    /// Wakes that are under way are lost, with the memory that they were in.
    pub fn forget_wakes(&self) {
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.timers.retain(|_, timer| !matches!(timer, Timer::Wake(_)));
    }

    /// The task that runs now begins an errand, or ends it; answers what it was on.
    pub fn set_errand(&self, errand: Option<Errand>) -> Option<Errand> {
        let (id, _) = self.0.current.get()?;
        let mut schedule = self.0.schedule.borrow_mut();
        std::mem::replace(&mut schedule.tasks.get_mut(&id)?.errand, errand)
    }

    /// Asks the errand of the task that runs now, if it is on one.
    pub fn on_errand<T>(&self, ask: impl FnOnce(&mut Errand) -> T) -> Option<T> {
        let (id, _) = self.0.current.get()?;
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.tasks.get_mut(&id)?.errand.as_mut().map(ask)
    }

    pub fn send_later(&self, at_ms: u64, wake: Wake) {
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.next_id += 1;
        let order = schedule.next_id;
        schedule.timers.insert((at_ms, order), Timer::Wake(wake));
    }

    /// One thing happens: a wake arrives, a process dies, or a handler goes on to its next await.
    pub fn step(&self) -> Step {
        self.0.step.set(self.0.step.get() + 1);
        if let Some(process) = self.0.schedule.borrow_mut().dead.pop() {
            return Step::Died(process);
        }
        let is_busy = !self.0.schedule.borrow().ready.is_empty();
        if !is_busy && !self.jump_to_next_timer() {
            return Step::Idle;
        }
        if let Some(wake) = self.fire_timers() {
            return Step::Wake(wake);
        }
        if let Some(id) = self.take_ready() {
            self.poll(id);
        }
        Step::Polled
    }

    fn jump_to_next_timer(&self) -> bool {
        let next = self.0.schedule.borrow().timers.keys().next().map(|(at_ms, _)| *at_ms);
        if let Some(at_ms) = next {
            self.0.now_ms.set(at_ms.max(self.now_ms()));
        }
        next.is_some()
    }

    /// Makes the tasks ready whose time has come, up to the first wake.
    fn fire_timers(&self) -> Option<Wake> {
        let now_ms = self.now_ms();
        let mut schedule = self.0.schedule.borrow_mut();
        while let Some(entry) = schedule.timers.first_entry() {
            if entry.key().0 > now_ms {
                break;
            }
            match entry.remove() {
                Timer::Wake(wake) => return Some(wake),
                Timer::Task(id, wait) => {
                    let Schedule { tasks, ready, .. } = &mut *schedule;
                    if let Some(task) = tasks.get_mut(&id).filter(|task| task.wait == wait && !task.is_ready)
                    {
                        task.is_ready = true;
                        ready.push(id);
                    }
                }
            }
        }
        None
    }

    fn take_ready(&self) -> Option<TaskId> {
        let length = self.0.schedule.borrow().ready.len();
        if length == 0 {
            return None;
        }
        let at = self.random(|random| random.index(length));
        let now_ms = self.now_ms();
        let mut schedule = self.0.schedule.borrow_mut();
        let id = schedule.ready.swap_remove(at);
        let process = schedule.tasks.get(&id)?.process;
        let frozen_until_ms = schedule.processes.get(&process)?.frozen_until_ms;
        if frozen_until_ms > now_ms {
            schedule.wait_until(id, frozen_until_ms);
            return None;
        }
        Some(id)
    }

    fn poll(&self, id: TaskId) {
        let taken = {
            let mut schedule = self.0.schedule.borrow_mut();
            schedule.tasks.get_mut(&id).and_then(|task| {
                task.is_ready = false;
                task.wait += 1;
                Some((task.future.take()?, task.process, task.name))
            })
        };
        let Some((mut future, process, name)) = taken else { return };
        self.0.current.set(Some((id, process)));
        self.0.next.set(None);
        let outcome = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.0.current.set(None);
        self.stir(id.0 ^ self.now_ms().rotate_left(32));
        match outcome {
            Poll::Ready(()) => self.forget(id, process),
            Poll::Pending => self.park(id, future, name),
        }
    }

    fn forget(&self, id: TaskId, process: ProcessId) {
        let mut schedule = self.0.schedule.borrow_mut();
        schedule.tasks.remove(&id);
        let Some(owner) = schedule.processes.get_mut(&process) else { return };
        owner.tasks.remove(&id);
        // A process without work has ended by itself.
        if owner.tasks.is_empty() {
            schedule.processes.remove(&process);
        }
    }

    fn park(&self, id: TaskId, future: LocalFuture, name: &'static str) {
        let next = self.0.next.take();
        let mut schedule = self.0.schedule.borrow_mut();
        let Some(task) = schedule.tasks.get_mut(&id) else {
            drop(schedule);
            drop(future); // Its process died meanwhile.
            return;
        };
        task.future = Some(future);
        match next {
            Some(Next::Ready) => {
                task.is_ready = true;
                schedule.ready.push(id);
            }
            Some(Next::At(at_ms)) => schedule.wait_until(id, at_ms),
            None => {
                drop(schedule);
                self.violate(format!("task {name} waits for nothing that the simulation knows"));
            }
        }
    }

    fn wait(&self, next: Next) {
        let earlier = match (self.0.next.get(), next) {
            (Some(Next::Ready), _) | (_, Next::Ready) => Next::Ready,
            (Some(Next::At(a)), Next::At(b)) => Next::At(a.min(b)),
            (None, next) => next,
        };
        self.0.next.set(Some(earlier));
    }

    /// Lets others run.
    pub fn pause(&self) -> impl Future<Output = ()> + use<> {
        let simulation = self.clone();
        let mut is_first = true;
        std::future::poll_fn(move |_| {
            if std::mem::take(&mut is_first) {
                simulation.wait(Next::Ready);
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
            simulation.wait(Next::At(at_ms));
            Poll::Pending
        })
    }
}

impl Schedule {
    fn wait_until(&mut self, id: TaskId, at_ms: u64) {
        self.next_id += 1;
        let order = self.next_id;
        if let Some(task) = self.tasks.get_mut(&id) {
            task.is_ready = false;
            self.timers.insert((at_ms, order), Timer::Task(id, task.wait));
        }
    }
}

/// Something that tasks wait for: each notice lets all that wait go on.
#[derive(Clone, Default)]
pub struct Signal(Rc<RefCell<(u64, Vec<TaskId>)>>);

impl Signal {
    pub fn notify(&self, simulation: &Simulation) {
        let waiting = {
            let mut signal = self.0.borrow_mut();
            signal.0 += 1;
            std::mem::take(&mut signal.1)
        };
        let mut schedule = simulation.0.schedule.borrow_mut();
        for id in waiting {
            let Schedule { tasks, ready, .. } = &mut *schedule;
            // A task that is being polled right now sees the notice by itself.
            if let Some(task) = tasks.get_mut(&id).filter(|task| !task.is_ready && task.future.is_some()) {
                task.is_ready = true;
                task.wait += 1;
                ready.push(id);
            }
        }
    }

    /// How many notices there were: who looks for work asks before, so as to miss none meanwhile.
    pub fn notices(&self) -> u64 {
        self.0.borrow().0
    }

    /// Until the next notice, or until then.
    pub fn wait(&self, simulation: &Simulation, until_ms: u64) -> impl Future<Output = ()> + use<> {
        self.wait_after(self.notices(), simulation, until_ms)
    }

    /// Until there were more notices than these, or until then.
    pub fn wait_after(
        &self,
        seen: u64,
        simulation: &Simulation,
        until_ms: u64,
    ) -> impl Future<Output = ()> + use<> {
        let (signal, simulation) = (self.clone(), simulation.clone());
        std::future::poll_fn(move |_| {
            if signal.0.borrow().0 != seen || simulation.now_ms() >= until_ms {
                return Poll::Ready(());
            }
            if let Some((id, _)) = simulation.0.current.get() {
                let mut state = signal.0.borrow_mut();
                if !state.1.contains(&id) {
                    state.1.push(id);
                }
            }
            simulation.wait(Next::At(until_ms));
            Poll::Pending
        })
    }
}
