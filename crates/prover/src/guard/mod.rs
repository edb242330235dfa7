//! The guard: a process between the yard and a prover that leaves nothing behind.
//!
//! ```text
//! yard ──stdin──> guard ──stdin──> prover ──> whatever it starts
//!                 └─ its stdout and stderr are the prover's
//! ```
//!
//! - The guard is a child subreaper: what the prover starts and orphans becomes the guard's child, also after a double
//!   fork or setsid. So when the guard has no child left, nothing that the prover started is left.
//! - Its stdin is a socket that the yard alone holds. When the yard closes it, or dies in any way, the kernel hangs it
//!   up, and the guard kills everything. When the yard only ends its half (shutdown), the prover sees the end of its
//!   stdin and has a grace period to end by itself.
//! - When the prover ends, the guard kills what it left, and exits with the prover's exit code, or 128 + signal.
//! - Before the prover's program is executed, its process is confined as the yard says ([`crate::confinement`]).
//! - If the guard itself is killed, the kernel kills the prover (its parent-death signal, set in a step between fork
//!   and exec, by executing this program once more), and the runner looks for the rest by a mark in their environment.
//!
//! The guard has one thread and never waits for anything but poll, so a prover that does not read its stdin cannot
//! keep it from seeing the yard's death.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process_group,
    pidfd_open, set_child_subreaper, set_parent_process_death_signal, setrlimit, setsid, wait,
};

use crate::confinement::{Confinement, Sandbox, Trial};
use crate::namespaces::{self, INIT};
use crate::processes::{Process, descendants};
use crate::runner::{User, is_host_fault};

/// The exit code where there is no such command; this one and the next are a shell's.
pub const EXIT_NOT_FOUND: u8 = 127;
/// The command is there and cannot be executed.
pub const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Nothing was tried: there is no memory, or no process to be had.
pub const EXIT_HOST_FAULT: u8 = 125;

/// How often orphans that ended are collected, so that their pids do not pile up.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// Between two rounds of killing; SIGKILL takes effect within microseconds unless a process is in the kernel.
const KILL_EVERY: Duration = Duration::from_millis(2);

/// What the guard was told on its command line.
#[derive(Default)]
struct Options {
    /// How long the prover may take to end after the end of its stdin.
    grace: Duration,
    /// The largest file that the prover may write, anywhere.
    file_bytes: Option<u64>,
    /// The prover's stdin is empty; the guard's own is only watched.
    no_stdin: bool,
    /// What the prover is kept from.
    confinement: Confinement,
    /// Set in the second step: become the prover, whose parent must be this process.
    become_child_of: Option<i32>,
    command: Vec<OsString>,
}

/// Before the yard's process id and start, its folder, and paths that are needed: no guard then, but a confined process
/// that tries what it can do to them.
pub(crate) const TRY: &str = "--try";

/// Runs the guard. `arguments` must be the tail of this process's own arguments, since the guard executes its own
/// program again, with the same leading arguments.
pub fn guard_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let [first, yard, folder, needed @ ..] = &arguments[..]
        && first == TRY
    {
        return tell_trial(yard, folder, needed);
    }
    let tail = arguments.len();
    let result = match arguments.split_first() {
        Some((first, command)) if first == INIT => be_init(command),
        _ => Options::parse(arguments).and_then(|options| match options.become_child_of {
            Some(parent) => become_prover(parent, &options, tail),
            None => guard(&options, tail),
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

fn tell_trial(yard: &OsString, folder: &OsString, needed: &[OsString]) -> ExitCode {
    let needed: Vec<PathBuf> = needed.iter().map(PathBuf::from).collect();
    let Some(yard) = yard.to_str() else { return ExitCode::FAILURE };
    let trial = Trial::of_this_process(yard, folder.as_ref(), &needed);
    match serde_json::to_writer(io::stdout(), &trial) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

impl Options {
    fn parse(arguments: Vec<OsString>) -> io::Result<Options> {
        let mut options = Options::default();
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            match argument.to_str() {
                Some("--grace-ms") => options.grace = Duration::from_millis(number(rest.next())?),
                Some("--file-bytes") => options.file_bytes = Some(number(rest.next())?),
                Some("--no-stdin") => options.no_stdin = true,
                Some("--become-child-of") => options.become_child_of = Some(number(rest.next())?),
                Some("--") => break,
                Some(option) if options.confinement.take(option, &mut rest)? => {}
                _ => return Err(usage()),
            }
        }
        options.command = rest.collect();
        if options.command.is_empty() { Err(usage()) } else { Ok(options) }
    }
}

fn number<T: std::str::FromStr>(text: Option<OsString>) -> io::Result<T> {
    text.and_then(|text| text.to_str()?.parse().ok()).ok_or_else(usage)
}

fn usage() -> io::Error {
    io::Error::other(
        "usage: [--grace-ms N] [--file-bytes N] [--no-stdin] [--user UID:GID] [--landlock | --namespaces] [--writable FOLDER]... \
         -- COMMAND...",
    )
}

fn guard(options: &Options, tail: usize) -> io::Result<u8> {
    set_child_subreaper(Some(getpid()))?;
    let (prover, prover_stdin) = start_prover(options, tail)?;
    let ended = pidfd_open(prover, PidfdFlags::empty())?;
    let mut reaper = Reaper { prover, status: None };
    let mut relay = Relay::new(prover_stdin)?;
    // Whatever goes wrong while waiting, the prover must not outlive it.
    let waited = wait_for_the_end(options, &ended, &mut relay, &mut reaper);
    drop(relay);
    reaper.kill_all();
    waited?;
    Ok(exit_code(reaper.status))
}

fn start_prover(options: &Options, tail: usize) -> io::Result<(Pid, Option<ChildStdin>)> {
    let mut command = own_program(tail);
    command.arg("--become-child-of").arg(getpid().to_string());
    if let Some(bytes) = options.file_bytes {
        command.arg("--file-bytes").arg(bytes.to_string());
    }
    command.args(options.confinement.to_arguments());
    if let Some(user) = options.confinement.user {
        // In this step and not in the second: changing user takes the parent-death signal away.
        command.uid(user.uid).gid(user.gid);
    }
    command.arg("--").args(&options.command);
    command.stdin(if options.no_stdin { Stdio::null() } else { Stdio::piped() });
    let mut child = command.spawn().map_err(|error| cannot_become(options.confinement.user, error))?;
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("no pid"))?;
    Ok((pid, child.stdin.take()))
}

fn cannot_become(user: Option<User>, error: io::Error) -> io::Error {
    match user {
        Some(user) if error.kind() == ErrorKind::PermissionDenied => {
            let need = "it takes root, or CAP_SETUID, CAP_SETGID and CAP_KILL";
            io::Error::new(error.kind(), format!("cannot start a process of user {user}: {error}; {need}"))
        }
        _ => error,
    }
}

/// The step between fork and exec, without unsafe code: sets what must hold in the prover's process, then turns into
/// the prover. Returns only if that fails; or, where the prover is to be in namespaces, with its exit code.
fn become_prover(parent: i32, options: &Options, tail: usize) -> io::Result<u8> {
    let is_in_namespaces = options.confinement.sandbox == Some(Sandbox::Namespaces);
    let prepared = || -> io::Result<()> {
        if !is_in_namespaces {
            options.confinement.enter()?;
        }
        // A session, and so a group, of its own: without the operator's terminal, whose input it could make up.
        setsid()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The guard may have died before the signal was asked for.
        if getppid().map(Pid::as_raw_pid) != Some(parent) {
            return Err(io::Error::other("the guard is gone"));
        }
        if let Some(bytes) = options.file_bytes {
            setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
        }
        // A dump of a prover's memory can fill the disk.
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        Ok(())
    };
    let Some((program, arguments)) = options.command.split_first() else { return Err(usage()) };
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display()))
    };
    prepared().map_err(named)?;
    if is_in_namespaces {
        return namespaces::run(&options.confinement.writable, own_program(tail), &options.command)
            .map_err(|error| io::Error::other(format!("namespaces: {error}")));
    }
    Err(named(Command::new(program).args(arguments).exec()))
}

/// This program, with the arguments that make it a guard.
fn own_program(tail: usize) -> Command {
    // By this path it is the running program, even if the file was replaced or deleted since.
    let mut command = Command::new("/proc/self/exe");
    let leading = std::env::args_os().len().saturating_sub(tail + 1);
    command.args(std::env::args_os().skip(1).take(leading));
    command
}

/// The first process of a prover's namespaces.
fn be_init(command: &[OsString]) -> io::Result<u8> {
    let Some((program, arguments)) = command.split_first() else { return Err(usage()) };
    let mut prover = Command::new(program);
    prover.args(arguments);
    let confinement = Confinement { sandbox: Some(Sandbox::Namespaces), ..Confinement::default() };
    namespaces::init(prover, || confinement.enter())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display())))
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
        match relay.turn(ended, timeout)? {
            Turn::ProverEnded | Turn::YardGone => return Ok(()),
            Turn::StdinEnded => kill_at = Some(Instant::now() + options.grace),
            Turn::Idle => _ = reaper.reap(),
        }
        if kill_at.is_some_and(|at| Instant::now() >= at) {
            return Ok(());
        }
    }
}

/// Copies our stdin to the prover's, and sees what ends.
struct Relay {
    prover_stdin: Option<ChildStdin>,
    stdin_open: bool,
    buffer: Vec<u8>,
}

enum Turn {
    Idle,
    /// The yard has ended its half; it is still there.
    StdinEnded,
    YardGone,
    ProverEnded,
}

impl Relay {
    fn new(prover_stdin: Option<ChildStdin>) -> io::Result<Relay> {
        if let Some(pipe) = &prover_stdin {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
        }
        Ok(Relay { prover_stdin, stdin_open: true, buffer: Vec::new() })
    }

    /// Waits for one thing to happen, and deals with it.
    fn turn(&mut self, ended: &OwnedFd, timeout: Duration) -> io::Result<Turn> {
        let stdin = io::stdin();
        let wanted = |flag, wanted| if wanted { flag } else { PollFlags::empty() };
        let reads = self.stdin_open && self.buffer.is_empty();
        let mut watched = vec![
            PollFd::new(ended, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin.as_fd(), wanted(PollFlags::IN, reads)),
        ];
        if let Some(pipe) = &self.prover_stdin {
            watched.push(PollFd::new(pipe, wanted(PollFlags::OUT, !self.buffer.is_empty())));
        }
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        if let Err(error) = poll(&mut watched, Some(&timeout)) {
            return if error == rustix::io::Errno::INTR { Ok(Turn::Idle) } else { Err(error.into()) };
        }
        let happened: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
        if !happened[0].is_empty() {
            return Ok(Turn::ProverEnded);
        }
        if happened[1].intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Ok(Turn::YardGone);
        }
        match happened.get(2) {
            Some(flags) if flags.contains(PollFlags::ERR) => self.close(),
            Some(flags) if !flags.is_empty() => self.write(),
            _ => {}
        }
        if reads && happened[1].contains(PollFlags::IN) && self.read()? == 0 {
            self.stdin_open = false;
            self.prover_stdin = None;
            return Ok(Turn::StdinEnded);
        }
        Ok(Turn::Idle)
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 << 10];
        // Not through std's buffered handle, which could hold bytes back that poll does not see.
        let read = rustix::io::read(io::stdin().as_fd(), &mut chunk)?;
        if self.prover_stdin.is_some() {
            self.buffer.extend_from_slice(&chunk[..read]);
            self.write();
        }
        Ok(read)
    }

    /// Passes on what the prover's pipe takes.
    fn write(&mut self) {
        let Some(pipe) = &mut self.prover_stdin else { return };
        match pipe.write(&self.buffer) {
            Ok(written) => _ = self.buffer.drain(..written),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.close(),
        }
    }

    /// A prover that closed its stdin gets nothing more; what comes is read and dropped.
    fn close(&mut self) {
        self.prover_stdin = None;
        self.buffer.clear();
    }
}

/// Collects children that ended, our own and adopted ones, and keeps how the prover did.
struct Reaper {
    prover: Pid,
    status: Option<WaitStatus>,
}

impl Reaper {
    /// Says whether there is still a child.
    fn reap(&mut self) -> bool {
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
    fn kill_all(&mut self) {
        // At once for the whole group, so that one which forks as fast as it can does not outrun the walk.
        let _ = kill_process_group(self.prover, Signal::KILL);
        while self.reap() {
            descendants(getpid()).iter().for_each(Process::kill);
            std::thread::sleep(KILL_EVERY);
        }
    }
}

pub(crate) fn exit_code(status: Option<WaitStatus>) -> u8 {
    let code = status.and_then(|status| {
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
    });
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
