//! What a prover left running though its guard was killed: a prover of the yard's own user can do that.
//!
//! A yard that adopts orphans is a child subreaper, as guards are. What a dead guard leaves becomes the yard's child then,
//! whatever was done to hide it, and a child that is no guard is nobody's.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

use crate::processes::{Process, descendants};

/// Orphans that take longer to die hang in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);
const KILL_EVERY: Duration = Duration::from_millis(2);

static ADOPTS: AtomicBool = AtomicBool::new(false);
/// Held while a guard is started, so that none is taken for an orphan.
static GUARDS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// For a process whose only children are guards: from now on it gets what guards that were killed leave, and kills it.
pub fn adopt_orphans() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    ADOPTS.store(true, Ordering::Release);
    Ok(())
}

pub(super) fn start_guard(command: &mut Command) -> io::Result<Child> {
    let mut guards = guards();
    let guard = command.spawn()?;
    guards.insert(guard.id().cast_signed());
    Ok(guard)
}

/// Once its process is gone.
pub(super) fn end_guard(guard: u32) {
    guards().remove(&guard.cast_signed());
}

/// Kills all children that are no guards, with what they started.
pub(super) fn kill_orphans() {
    if !ADOPTS.load(Ordering::Acquire) {
        return;
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let guards = guards();
        let all = descendants(getpid());
        let orphans: Vec<&Process> = all
            .iter()
            .filter(|process| process.is_child_of(getpid()) && !guards.contains(&process.pid.as_raw_pid()))
            .collect();
        if orphans.is_empty() {
            return;
        }
        for orphan in orphans {
            descendants(orphan.pid).iter().for_each(Process::kill);
            orphan.kill();
            collect(orphan.pid);
        }
        drop(guards);
        thread::sleep(KILL_EVERY);
    }
}

fn collect(pid: Pid) {
    let _ = waitpid(Some(pid), WaitOptions::NOHANG);
}

fn guards() -> MutexGuard<'static, BTreeSet<i32>> {
    GUARDS.lock().unwrap_or_else(PoisonError::into_inner)
}
