//! A program that says what a prover needs with a block, where no node is asked: it is started for each block, is given the
//! block's line as its input, and what it prints is kept.
//!
//! The three streams are files and pipes that it gets from here, so nothing of a witness is ever in this process' memory. What
//! it writes to stderr is this prover's log, whose last lines the yard keeps. The yard's limits hold for it as for this process:
//! the guard above kills both with all that they started.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use proofyard_node::OfBlock;
use proofyard_prover::Failure;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// `EX_TEMPFAIL` of `sysexits`: it has none of this block yet.
const LATER: i32 = 75;

pub(crate) struct Program {
    /// The program, then its arguments.
    command: Vec<String>,
}

impl Program {
    pub(crate) fn new(command: Vec<String>) -> Result<Self, Failure> {
        if command.is_empty() {
            return Err(Failure::permanent("`command` names no program"));
        }
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
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        let _ = kill_process_group(pid, Signal::KILL);
    }
    Ok(child.wait()?)
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}
