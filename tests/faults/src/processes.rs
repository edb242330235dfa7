//! Processes of one place, found by a mark that they inherit in their environment.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_for;

/// Names the variable; its value is the place's folder.
pub const MARK: &str = "PROOFYARD_FAULTS";

/// All living processes with the mark.
pub fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let bears = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(bears).collect()
}

/// Waits until a dead yard's provers, and what they started, are gone.
pub fn wait_for_none(mark: &str) {
    wait_for("the end of all that the yard started", || marked(mark).is_empty().then_some(()));
}

pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}
