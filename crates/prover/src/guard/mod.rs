//! The guard: a process between the yard and a prover, which makes sure that nothing of the prover is left running.
//!
//! ```text
//! yard ──stdin──> guard ──stdin──> prover ──> whatever it starts
//!                 └─ its stdout and stderr are the prover's
//! ```
//!
//! - The guard is a child subreaper: a process that the prover orphans becomes the guard's child, also after a double
//!   fork or setsid. So when the guard has no child left, nothing that the prover started is left.
//! - Its stdin is a socket whose other end only the yard holds. When the yard closes it, or dies in any way, the guard sees
//!   a hang-up and kills everything. When the yard only shuts its half down, the prover sees the end of its stdin and has a
//!   grace period to end by itself.
//! - When the prover ends, the guard kills what it left running, and exits with the prover's exit code, or 128 + signal.
//! - Before the prover's program is executed, its process is confined ([`crate::confinement`]).
//! - If the guard itself is killed, the kernel kills the prover by its parent-death signal, which is set between fork and
//!   exec ([`starting`]); and the runner finds the rest by a mark in their environment.
//!
//! The guard has one thread and never waits for anything but poll ([`relay`]), so a prover that does not read its stdin
//! cannot keep it from noticing the yard's death.

mod options;
mod reaper;
mod relay;
mod starting;

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, getpid, pidfd_open, set_child_subreaper};

use self::options::Options;
use self::reaper::Reaper;
pub(crate) use self::reaper::exit_code;
use self::relay::{Happened, Relay};
use self::starting::{become_init, become_prover, start_prover};
use crate::confinement::Trial;
use crate::namespaces::INIT;
use crate::runner::is_host_fault;

/// The exit code where there is no such command; this one and the next are a shell's.
pub const EXIT_NOT_FOUND: u8 = 127;
/// The exit code where the command cannot be executed.
pub const EXIT_NOT_EXECUTABLE: u8 = 126;
/// The exit code where the host has no memory or no process for the command: nothing was tried.
pub const EXIT_HOST_FAULT: u8 = 125;

/// How often orphans that have ended are collected, so that their pids do not pile up.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// The option of a trial, followed by the yard's process id and start time, its folder, and the paths that provers need.
/// Then this program is no guard, but a confined process that tries what it can do to them.
pub(crate) const TRY: &str = "--try";

/// Runs the guard. `arguments` must be the last of this process's own arguments, since the guard executes its own program
/// again, with the same leading arguments.
pub fn guard_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let [first, yard, folder, needed @ ..] = &arguments[..]
        && first == TRY
    {
        return print_trial(yard, folder, needed);
    }
    let count = arguments.len();
    let result = match arguments.split_first() {
        Some((first, command)) if first == INIT => become_init(command),
        _ => Options::parse(arguments).and_then(|options| match options.become_child_of {
            Some(parent) => become_prover(parent, &options, count),
            None => guard(&options, count),
        }),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("proofyard guard: {error}");
            ExitCode::from(match error.kind() {
                ErrorKind::NotFound => EXIT_NOT_FOUND,
                _ if is_host_fault(&error) => EXIT_HOST_FAULT,
                _ => EXIT_NOT_EXECUTABLE,
            })
        }
    }
}

fn print_trial(yard: &OsString, folder: &OsString, needed: &[OsString]) -> ExitCode {
    let needed: Vec<PathBuf> = needed.iter().map(PathBuf::from).collect();
    let Some(yard) = yard.to_str() else { return ExitCode::FAILURE };
    let trial = Trial::of_this_process(yard, folder.as_ref(), &needed);
    match serde_json::to_writer(io::stdout(), &trial) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn guard(options: &Options, own_arguments: usize) -> io::Result<u8> {
    set_child_subreaper(Some(getpid()))?;
    let (prover, prover_stdin) = start_prover(options, own_arguments)?;
    let ended = pidfd_open(prover, PidfdFlags::empty())?;
    let mut reaper = Reaper::new(prover);
    let mut relay = Relay::new(prover_stdin)?;
    // Also after an error, the prover must not outlive the wait.
    let waited = wait_for_the_end(options, &ended, &mut relay, &mut reaper);
    drop(relay);
    reaper.kill_all();
    waited?;
    Ok(exit_code(reaper.status()))
}

/// Returns when the prover has ended, the yard is gone, or the grace period is over.
fn wait_for_the_end(
    options: &Options,
    ended: &OwnedFd,
    relay: &mut Relay,
    reaper: &mut Reaper,
) -> io::Result<()> {
    let mut kill_at: Option<Instant> = None;
    loop {
        let timeout =
            kill_at.map_or(REAP_EVERY, |at| at.saturating_duration_since(Instant::now()).min(REAP_EVERY));
        match relay.wait(ended, timeout)? {
            Happened::ProverEnded | Happened::YardGone => return Ok(()),
            Happened::StdinEnded => kill_at = Some(Instant::now() + options.grace),
            Happened::Idle => _ = reaper.reap(),
        }
        if kill_at.is_some_and(|at| Instant::now() >= at) {
            return Ok(());
        }
    }
}
