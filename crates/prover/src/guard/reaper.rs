//! Collecting and killing the guard's children: the prover, and whatever it started and orphaned.

use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, wait};

use crate::processes::{Process, descendants};

/// Between two rounds of killing. SIGKILL takes effect within microseconds, unless a process is in the kernel.
const KILL_EVERY: Duration = Duration::from_millis(2);

/// Collects children that have ended, the prover and adopted ones, and keeps how the prover ended.
pub(super) struct Reaper {
    prover: Pid,
    status: Option<WaitStatus>,
}

impl Reaper {
    pub fn new(prover: Pid) -> Self {
        Self { prover, status: None }
    }

    /// How the prover ended, if it was collected.
    pub fn status(&self) -> Option<WaitStatus> {
        self.status
    }

    /// Collects the children that have ended; answers whether there is still another.
    pub fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.prover => self.status = Some(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Kills until this process has no child, and so no descendant.
    pub fn kill_all(&mut self) {
        // First the whole process group at once, so that a process that forks all the time cannot outrun the walk.
        let _ = kill_process_group(self.prover, Signal::KILL);
        while self.reap() {
            descendants(getpid()).iter().for_each(Process::kill);
            std::thread::sleep(KILL_EVERY);
        }
    }
}

/// The guard's exit code for a process that ended so.
pub(crate) fn exit_code(status: Option<WaitStatus>) -> u8 {
    let code = status.and_then(|status| {
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
    });
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
