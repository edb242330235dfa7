//! How a prover is started, and its limits.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use super::log::LOG_LINES;
use crate::confinement::Confinement;
use crate::guard::guard_main;

/// The most of a command that messages show, so that what follows it is not lost.
const COMMAND_CHARACTERS: usize = 80;

/// How to start a prover.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program and its arguments. In `files` mode `{input}` and `{output}` stand for paths.
    pub command: Vec<String>,
    /// Added to the variables that are inherited from the yard's environment.
    pub environment: Vec<(String, String)>,
    /// The slot's GPUs, for `CUDA_VISIBLE_DEVICES`. An empty list sets the variable to nothing, so that the prover sees
    /// no GPU; none (a pool without GPUs) leaves the variable as it is.
    pub gpus: Option<Vec<u32>>,
    /// Where the prover runs; none is the yard's own folder.
    pub working_dir: Option<PathBuf>,
    /// How its guard is started.
    pub guard: GuardCommand,
    /// How its processes are isolated.
    pub confinement: Confinement,
    /// What it may use; it is killed beyond that.
    pub limits: Limits,
}

/// How to start the guard: a program that calls `guard_main` with what follows the leading arguments.
#[derive(Clone, Debug)]
pub struct GuardCommand {
    /// An absolute path.
    pub program: PathBuf,
    /// The arguments before the guard's own, by which the program becomes a guard.
    pub leading_arguments: Vec<String>,
}

impl GuardCommand {
    /// The hidden first argument under which a program of Proofyard is a guard.
    const ARGUMENT: &str = "guard";

    /// This program itself as the guard, so that only one file must be installed. Its `main` must begin with
    /// [`GuardCommand::guard_if_asked`].
    ///
    /// # Errors
    /// If the system does not say which program this is.
    pub fn this_program() -> io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self { program, leading_arguments: vec![Self::ARGUMENT.to_owned()] })
    }

    /// Runs the guard and returns its exit code, if this program was started as one by [`GuardCommand::this_program`].
    pub fn guard_if_asked() -> Option<ExitCode> {
        let mut arguments = std::env::args_os().skip(1);
        let is_asked = arguments.next().is_some_and(|first| first == Self::ARGUMENT);
        is_asked.then(|| guard_main(arguments))
    }
}

/// A user other than the yard's: it cannot read files that only the yard may read, such as credentials.
///
/// Starting a prover as another user takes root, or CAP_SETUID, CAP_SETGID and CAP_KILL; and CAP_CHOWN, CAP_DAC_OVERRIDE
/// and CAP_FOWNER for the folders that both use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Not root's.
    pub uid: u32,
    /// Its only group; not root's.
    pub gid: u32,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for User {
    type Err = String;

    /// `UID:GID`, two numbers of which none is root's.
    fn from_str(text: &str) -> Result<Self, String> {
        let ids = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        match ids {
            Some((uid, gid)) if uid != 0 && gid != 0 => Ok(Self { uid, gid }),
            Some(_) => Err(format!("{text}: root cannot be kept from anything; name another user")),
            None => Err(format!("{text} is not UID:GID, such as 10002:10002")),
        }
    }
}

/// What one prover may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one `prove` or `verify`; a request's own deadline may be shorter.
    pub time_ms: u64,
    /// For `setup`, which may load or make large keys.
    pub setup_ms: u64,
    /// For everything that is written into the output folder during a call, together. It is measured every few
    /// milliseconds, so a fast writer gets somewhat further before it is killed.
    pub output_bytes: u64,
    /// For any single file, wherever it is, enforced by the kernel (`RLIMIT_FSIZE`). A prover that caches keys needs
    /// room for them here.
    pub file_bytes: Option<u64>,
    /// For the resident memory of the prover and all that it started, summed up; pages that they share count for each.
    pub memory_bytes: Option<u64>,
    /// For one response line.
    pub line_bytes: usize,
    /// How many of the last lines of the log are kept.
    pub log_lines: usize,
    /// How long a prover may take to end after it was asked to (`Session::end`). One that is killed gets none.
    pub grace_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            time_ms: 60 * 60 * 1000,
            setup_ms: 60 * 60 * 1000,
            output_bytes: 1 << 30,
            file_bytes: None,
            memory_bytes: None,
            line_bytes: 1 << 20,
            log_lines: LOG_LINES,
            grace_ms: 2000,
        }
    }
}

impl Launch {
    /// The command as one line, for messages: its beginning, where it is long.
    pub(crate) fn command_line(&self) -> String {
        let line = self.command.join(" ");
        match line.char_indices().nth(COMMAND_CHARACTERS) {
            Some((at, _)) => format!("{}…", &line[..at]),
            None => line,
        }
    }
}
