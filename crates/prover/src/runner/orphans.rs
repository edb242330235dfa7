//! Processes that a prover left running after its guard was killed, which a prover of the yard's own user can do.
//!
//! A yard that adopts orphans is a child subreaper, as guards are. Then the orphans of a dead guard become the yard's
//! children, whatever they did to hide; and a child of the yard that is no guard must be an orphan.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

use crate::processes::{Process, descendants};

/// Orphans that take longer to end hang in the kernel.
const TIMEOUT: Duration = Duration::from_secs(5);
const KILL_EVERY: Duration = Duration::from_millis(2);

static ADOPTS: AtomicBool = AtomicBool::new(false);
/// The running guards. Locked while one is started, so that it is not taken for an orphan.
static GUARDS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// From now on this process, whose only children must be guards, adopts and kills what killed guards leave running.
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

/// Called once the guard's process has ended.
pub(super) fn end_guard(guard: u32) {
    guards().remove(&guard.cast_signed());
}

/// Kills all children that are no guards, with what they started.
pub(super) fn kill_orphans() {
    if !ADOPTS.load(Ordering::Acquire) {
        return;
    }
    let deadline = Instant::now() + TIMEOUT;
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
