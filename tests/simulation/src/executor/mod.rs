//! The executor: runs many handlers concurrently on one thread; the seed decides which of them goes on next.
//!
//! Every await of a handler is a point where another handler may run, where simulated time may pass, and where the
//! handler's process may die: then all futures of that process are dropped as they stand.
//!
//! This file holds the state of one simulation, and takes one step after another. The rest is apart:
//! [`processes`] (who may die), [`futures`] (what runs in them), [`waiting`] (what they wait for), and
//! [`invocation`] (one message and the steps it leads to).

mod futures;
mod invocation;
mod processes;
mod waiting;

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use proofyard_core::port::{Key, Wake};

pub use self::invocation::Invocation;
pub use self::processes::ProcessId;
pub use self::waiting::Signal;

use self::futures::{FutureId, Running};
use self::processes::Process;
use self::waiting::{Timer, WaitsFor};
use crate::counters::Counters;
use crate::faults::Faults;
use crate::store::Table;
use crate::trace::{Trace, TraceMode};
use proofyard_memory_store::Random;

/// What one step of the executor did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A future was polled, or timers were fired.
    Polled,
    /// A wake is delivered; the world decides who handles it.
    Wake(Wake),
    /// A process died; the world decides who replaces it.
    Died(ProcessId),
    /// No future can run, and no timer is set.
    Idle,
}

#[derive(Default)]
struct Schedule {
    futures: BTreeMap<FutureId, Running>,
    ready: Vec<FutureId>,
    /// By time, then in the order in which they were set.
    timers: BTreeMap<(u64, u64), Timer>,
    processes: BTreeMap<ProcessId, Process>,
    /// Died, and not yet reported by a step.
    dead: Vec<ProcessId>,
    next_id: u64,
}

/// All state of one seed's run; a handle to clone.
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
    /// The future that is being polled, and its process.
    current: Cell<Option<(FutureId, ProcessId)>>,
    /// What the future that is being polled waits for.
    waits_for: Cell<Option<WaitsFor>>,
    violation: RefCell<Option<String>>,
    /// How often the current sweep has read each entry of the due index.
    due_reads: RefCell<BTreeMap<(u64, Key), usize>>,
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
            waits_for: Cell::new(None),
            violation: RefCell::default(),
            due_reads: RefCell::default(),
        }))
    }

    /// Simulated time; a process's own clock may differ.
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

    pub fn faults(&self) -> Ref<'_, Faults> {
        self.0.faults.borrow()
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.0.faults.borrow_mut() = faults;
    }

    pub fn table(&self) -> Ref<'_, Table> {
        self.0.table.borrow()
    }

    pub fn table_mut(&self) -> RefMut<'_, Table> {
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

    pub fn trace_lines(&self) -> Vec<String> {
        self.0.trace.lines()
    }

    /// Records that an invariant is violated. Only the first violation is kept.
    pub fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.trace(|| format!("VIOLATION {what}"));
        self.0.violation.borrow_mut().get_or_insert(what);
    }

    pub fn violation(&self) -> Option<String> {
        self.0.violation.borrow().clone()
    }

    /// Starts counting anew how often a sweep reads each due entry.
    pub fn reset_due_reads(&self) {
        self.0.due_reads.borrow_mut().clear();
    }

    /// One sweep may end a round and make another: each looks at what was due by another time.
    pub fn note_due_read(&self, until_ms: u64, key: &Key) {
        *self.0.due_reads.borrow_mut().entry((until_ms, key.clone())).or_default() += 1;
    }

    /// The entry that the current sweep has read most often in one round, and how often.
    pub fn most_due_reads(&self) -> Option<(Key, usize)> {
        let reads = self.0.due_reads.borrow();
        reads.iter().max_by_key(|(_, times)| **times).map(|((_, key), times)| (key.clone(), *times))
    }

    /// One thing happens: a wake is delivered, a process's death is reported, or a future runs to its next await.
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

    /// Kills every process, and frees what its futures held.
    pub fn end(&self) {
        let processes: Vec<ProcessId> = self.0.schedule.borrow().processes.keys().copied().collect();
        for process in processes {
            self.kill(process);
        }
        self.0.schedule.take();
    }
}
