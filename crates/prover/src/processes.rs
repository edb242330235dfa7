//! Process trees, read from /proc.
//!
//! A process is identified by its pid and its start time, so that a reused pid is never taken for the old process. Reading
//! is racy by nature: a walk may miss what is forked while it runs, so killing repeats it until nothing is left.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process, as it was when it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub pid: Pid,
    parent: i32,
    /// In clock ticks since boot.
    pub started: u64,
    pub resident_bytes: u64,
}

impl Process {
    pub fn read(pid: Pid) -> Option<Process> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, also blanks and brackets; what follows the last bracket is numbers.
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        // proc_pid_stat(5) counts from 1 and has two fields before these: ppid is 4, starttime 22, rss 24.
        Some(Process {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            started: number(19)?,
            resident_bytes: number(21)?.saturating_mul(rustix::param::page_size() as u64),
        })
    }

    pub fn is_child_of(&self, parent: Pid) -> bool {
        self.parent == parent.as_raw_pid()
    }

    /// Sends SIGKILL to this process, never to another one with a reused pid.
    pub fn kill(&self) {
        let Ok(descriptor) = pidfd_open(self.pid, PidfdFlags::empty()) else { return };
        if Process::read(self.pid).is_some_and(|now| now.started == self.started) {
            let _ = pidfd_send_signal(&descriptor, Signal::KILL);
        }
    }
}

/// Whether a process descends from another one. A process that has ended counts as a descendant, since nobody can tell.
pub fn descends_from(process: Pid, root: Pid) -> bool {
    let mut process = process;
    while process != root {
        match Process::read(process).map(|process| Pid::from_raw(process.parent)) {
            Some(Some(parent)) if !parent.is_init() => process = parent,
            Some(_) => return false,
            None => return true,
        }
    }
    true
}

/// All processes below `root`, which is not among them.
pub(crate) fn descendants(root: Pid) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let Some(children) = children(parent) else { return descendants_by_scan(root) };
        // The tree may change while it is read; a pid that is found twice must not make the walk endless.
        let new = children.into_iter().filter(|pid| !found.iter().any(|known| known.pid == *pid));
        let new: Vec<Process> = new.filter_map(Process::read).collect();
        parents.extend(new.iter().map(|process| process.pid));
        found.extend(new);
    }
    found
}

/// The children of one process, or none where the kernel does not list them (`CONFIG_PROC_CHILDREN`).
fn children(parent: Pid) -> Option<Vec<Pid>> {
    let mut children = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Some(children) };
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(pid)),
            // A thread that ended has no folder any more; one that has a folder but no list cannot be walked.
            Err(_) if thread.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

fn descendants_by_scan(root: Pid) -> Vec<Process> {
    let all: Vec<Process> = pids().filter_map(Process::read).collect();
    let mut parents = vec![root];
    let mut found: Vec<Process> = Vec::new();
    while let Some(parent) = parents.pop() {
        let below = all.iter().filter(|process| process.parent == parent.as_raw_pid());
        let new: Vec<Process> =
            below.filter(|process| !found.iter().any(|known| known.pid == process.pid)).copied().collect();
        parents.extend(new.iter().map(|process| process.pid));
        found.extend(new);
    }
    found
}

/// All processes whose environment, as it was when their program started, holds `name=value`.
pub(crate) fn with_environment(name: &str, value: &str) -> Vec<Process> {
    let wanted = format!("{name}={value}");
    let marked = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    pids().filter(marked).filter_map(Process::read).collect()
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| pid(entry.file_name().to_str()?))
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn both_walks_find_a_child_and_its_child() {
        let script = "sleep 100 & echo $!; wait";
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
            .unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();
        let own = rustix::process::getpid();
        for found in [descendants(own), descendants_by_scan(own)] {
            let found: Vec<i32> = found.iter().map(|process| process.pid.as_raw_pid()).collect();
            assert!(found.contains(&(child.id() as i32)) && found.contains(&grandchild), "{found:?}");
        }
        descendants(own).iter().filter(|one| one.pid.as_raw_pid() == grandchild).for_each(Process::kill);
        child.wait().unwrap();
    }
}
