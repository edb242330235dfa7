//! The limits that are checked while a prover works: time, cancellation, output, memory.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::error::{ErrorKind, Fault};
use super::launch::Limits;
use super::output::{folder_bytes, too_large};
use crate::message::CancelReason;
use crate::processes::descendants;

/// The longest time between two checks.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Memory is measured less often: walking the process tree costs more than reading a folder.
const MEMORY_EVERY: Duration = Duration::from_millis(200);

/// Cancels a call from another thread; clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Cancelled>);

#[derive(Debug, Default)]
struct Cancelled {
    /// Whether anything is known below, so that a token that nobody cancels is asked without a lock.
    any: AtomicBool,
    when: Mutex<Option<(Instant, CancelReason)>>,
}

impl Cancel {
    /// A token that is not cancelled.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Cancels the call now.
    pub fn cancel(&self, reason: CancelReason) {
        self.cancel_at(Instant::now(), reason);
    }

    /// Cancels the call if it still runs then; of several times the earliest counts.
    pub fn cancel_at(&self, time: Instant, reason: CancelReason) {
        let mut when = self.0.when.lock().unwrap_or_else(PoisonError::into_inner);
        if when.is_none_or(|(known, _)| time < known) {
            *when = Some((time, reason));
        }
        self.0.any.store(true, Ordering::Release);
    }

    /// Whether calls with this token are cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why calls with this token are cancelled, if they are.
    pub fn reason(&self) -> Option<CancelReason> {
        if !self.0.any.load(Ordering::Acquire) {
            return None;
        }
        let when = *self.0.when.lock().unwrap_or_else(PoisonError::into_inner);
        when.filter(|(time, _)| *time <= Instant::now()).map(|(_, reason)| reason)
    }
}

pub(crate) struct Watch<'a> {
    limits: &'a Limits,
    cancel: &'a Cancel,
    guard: Pid,
    limit_ms: u64,
    deadline: Instant,
    /// The output folder, and how many bytes were in it before.
    output: Option<(&'a Path, u64)>,
    next_look: Instant,
    next_memory: Instant,
    /// It is cancelled, and has its grace period.
    winds_up: bool,
}

impl<'a> Watch<'a> {
    pub fn new(
        limits: &'a Limits,
        cancel: &'a Cancel,
        guard: Pid,
        limit_ms: u64,
        output_dir: Option<&'a Path>,
    ) -> Watch<'a> {
        let now = Instant::now();
        // A limit that is too large for the clock counts as a year.
        let limit = Duration::from_millis(limit_ms);
        let deadline = now.checked_add(limit).unwrap_or(now + Duration::from_secs(365 * 24 * 3600));
        let output = output_dir.map(|folder| (folder, folder_bytes(folder).unwrap_or(0)));
        let (next_look, next_memory) = (now + TICK, now + MEMORY_EVERY);
        let winds_up = false;
        Watch { limits, cancel, guard, limit_ms, deadline, output, next_look, next_memory, winds_up }
    }

    pub fn winds_up(&self) -> bool {
        self.winds_up
    }

    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.cancel.reason()
    }

    /// It is cancelled, and may answer within its grace period; all other limits hold on.
    pub fn wind_up(&mut self) {
        self.winds_up = true;
        self.deadline = self.deadline.min(Instant::now() + Duration::from_millis(self.limits.grace_ms));
    }

    /// How long a caller may wait before it calls `check` again.
    pub fn next_check_in(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(TICK)
    }

    /// Checks all limits, each as often as it is worth; cheap enough to be called after every event.
    pub fn check(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        if let Some(reason) = self.cancel.reason().filter(|_| !self.winds_up) {
            return Err(Fault::new(ErrorKind::Cancelled, format!("it was cancelled: {reason}")));
        }
        if now >= self.deadline {
            let limit_ms = self.limit_ms;
            let message = format!("it took longer than {limit_ms} ms");
            return Err(Fault::new(ErrorKind::TimedOut { limit_ms }, message));
        }
        if now >= self.next_look {
            self.next_look = now + TICK;
            self.check_output()?;
        }
        if now >= self.next_memory {
            self.next_memory = now + MEMORY_EVERY;
            self.check_memory()?;
        }
        Ok(())
    }

    pub fn check_output(&self) -> Result<(), Fault> {
        let Some((folder, before)) = self.output else { return Ok(()) };
        let grown = folder_bytes(folder).map(|bytes| bytes.saturating_sub(before));
        if grown.is_none_or(|grown| grown > self.limits.output_bytes) {
            return Err(too_large(self.limits));
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), Fault> {
        let Some(limit_bytes) = self.limits.memory_bytes else { return Ok(()) };
        let used: u64 = descendants(self.guard).iter().map(|process| process.resident_bytes).sum();
        if used <= limit_bytes {
            return Ok(());
        }
        let message = format!("it used {used} bytes of memory; {limit_bytes} are allowed");
        Err(Fault::new(ErrorKind::MemoryExceeded { limit_bytes }, message))
    }
}
