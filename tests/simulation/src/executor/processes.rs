//! Processes: each runs some futures, has a clock and a pace of its own, and may freeze or die.

use std::collections::BTreeSet;

use super::Simulation;
use super::futures::FutureId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId(pub u32);

#[derive(Debug)]
pub(super) struct Process {
    name: String,
    pub(super) frozen_until_ms: u64,
    /// How far its host's clock is off.
    clock_off_ms: i64,
    /// It runs on a host of its own, so that its clock is not the yard's.
    has_own_clock: bool,
    /// How slow its calls are: a factor on their latency.
    pace: u64,
    pub(super) futures: BTreeSet<FutureId>,
}

impl Simulation {
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
            futures: BTreeSet::new(),
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

    /// The process whose future is being polled.
    pub fn current_process(&self) -> Option<ProcessId> {
        self.0.current.get().map(|(_, process)| process)
    }

    fn of_current<T>(&self, read: impl FnOnce(&Process) -> T) -> Option<T> {
        let schedule = self.0.schedule.borrow();
        self.current_process().and_then(|process| schedule.processes.get(&process)).map(read)
    }

    /// What the current process's clock shows.
    pub fn process_now_ms(&self) -> u64 {
        let off_ms = self.of_current(|process| process.clock_off_ms).unwrap_or(0);
        self.now_ms().saturating_add_signed(off_ms)
    }

    /// Whether the current process's clock is another than the yard's.
    pub fn process_has_own_clock(&self) -> bool {
        self.of_current(|process| process.has_own_clock).unwrap_or(false)
    }

    /// The factor on the latency of the current process's calls.
    pub fn pace(&self) -> u64 {
        self.of_current(|process| process.pace).unwrap_or(1)
    }

    /// Moves the process to a host of its own, whose clock is off by this much.
    pub fn set_clock_off(&self, process: ProcessId, off_ms: i64) {
        if let Some(process) = self.0.schedule.borrow_mut().processes.get_mut(&process) {
            process.clock_off_ms = off_ms;
            process.has_own_clock = true;
        }
    }

    /// Kills the current process: it stops at its next await.
    pub fn kill_current(&self) {
        if let Some(process) = self.current_process() {
            self.kill(process);
        }
    }

    /// Kills the process, wherever its handlers are.
    pub fn kill(&self, process: ProcessId) {
        let removed = self.0.schedule.borrow_mut().processes.remove(&process);
        let Some(removed) = removed else { return };
        self.trace(|| format!("process {} dies", removed.name));
        let mut dropped = Vec::new();
        {
            let mut schedule = self.0.schedule.borrow_mut();
            for id in &removed.futures {
                dropped.extend(schedule.futures.remove(id).and_then(|running| running.future));
            }
            schedule.ready.retain(|id| !removed.futures.contains(id));
            schedule.dead.push(process);
        }
        // Dropping runs destructors, which may look at the schedule.
        drop(dropped);
    }

    /// None of the process's futures runs until then; calls that are under way return later.
    pub fn freeze(&self, process: ProcessId, until_ms: u64) {
        if let Some(process) = self.0.schedule.borrow_mut().processes.get_mut(&process) {
            process.frozen_until_ms = until_ms;
        }
    }
}
