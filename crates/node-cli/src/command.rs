//! A program that says what a prover needs with a block, where no node is asked: it is started for each block, is given the
//! block's line as its input, and what it prints is kept.
//!
//! The three streams are files and pipes that it gets from here, so nothing of a witness is ever in this process' memory. What
//! it writes to stderr is this prover's log, whose last lines the yard keeps. The yard's limits hold for it as for this process:
//! the guard above kills both with all that they started.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_node::OfBlock;
use proofyard_prover::Failure;
use proofyard_prover::runner::adopt_orphans;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, kill_process_group, wait, waitid,
};

/// `EX_TEMPFAIL` of `sysexits`: it has none of this block yet.
const LATER: i32 = 75;
/// Processes that take longer to end hang in the kernel.
const END_WITHIN: Duration = Duration::from_secs(5);
const KILL_EVERY: Duration = Duration::from_millis(2);

pub(crate) struct Program {
    /// The program, then its arguments.
    command: Vec<String>,
}

impl Program {
    pub(crate) fn new(command: Vec<String>) -> Result<Self, Failure> {
        if command.is_empty() {
            return Err(Failure::permanent("`command` names no program"));
        }
        adopt_orphans()?;
        Ok(Self { command })
    }

    /// Writes what it prints for this block, whose line is in the file `line`, into `output`.
    pub(crate) fn fetch(&self, block: &OfBlock, line: &Path, output: &Path) -> Result<(), Failure> {
        let program = &self.command[0];
        let filled = |word: &String| word.replace("{height}", &block.number).replace("{hash}", &block.hash);
        let mut command = Command::new(program);
        command.args(self.command[1..].iter().map(filled));
        // A group of its own, so that what it leaves behind can be ended with it.
        command.stdin(File::open(line)?).stdout(File::create(output)?).process_group(0);
        let started = command.spawn();
        let child =
            started.map_err(|error| Failure::transient(format!("{program} cannot be started: {error}")))?;
        let status = ended(child)?;
        match status.code() {
            Some(0) if output.metadata()?.len() == 0 => Err(Failure::transient(format!(
                "{program} ended well and printed nothing for block {}",
                block.number
            ))),
            Some(0) => Ok(()),
            Some(LATER) => Err(Failure::unavailable(format!(
                "{program} says later of block {} (exit code {LATER})",
                block.number
            ))),
            _ => Err(Failure::transient(format!(
                "{program} failed for block {}: {}",
                block.number,
                how(status)
            ))),
        }
    }
}

/// Waits for the program's end, and ends what it has left running: nobody may write into a witness that is already taken.
fn ended(mut child: Child) -> Result<ExitStatus, Failure> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Not reaped yet, so its number is nobody else's.
        while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
        }
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let status = child.wait()?;
    end_orphans()?;
    Ok(status)
}

/// Kills what left the program's group as well: it is this process' child by now, which has no other.
fn end_orphans() -> Result<(), Failure> {
    let until = Instant::now() + END_WITHIN;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Ok(None) => {}
            Err(_) => return Ok(()),
        }
        if Instant::now() >= until {
            return Err(Failure::transient("it has left processes running that cannot be ended"));
        }
        for child in children()? {
            let _ = kill_process(child, Signal::KILL);
        }
        thread::sleep(KILL_EVERY);
    }
}

/// Of this process, which has not waited for them yet: so their numbers are nobody else's.
fn children() -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for thread in fs::read_dir("/proc/self/task")?.flatten() {
        // A thread that has ended has no list any more.
        let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    Ok(children)
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}
