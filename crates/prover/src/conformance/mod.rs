//! The conformance kit: tests whether a program keeps to the prover protocol.
//!
//! [`check`] starts the program again and again, as a yard would and through the same runner, and sends it common requests
//! and rare ones. Each [`Check`] is declared with what it requires of the prover, and what to do if it fails; one file holds
//! one group of them.
//!
//! - `starting`: keys are loaded, and the end of stdin is the end;
//! - `proving`: a proof, the same again, another one, nothing on stdout and nothing outside of the output folder;
//! - `refusing`: bad requests are answered, and the prover stays alive;
//! - `verifying`: another process accepts the good proof, and no other file, input or key;
//! - `killing`: cancelled and late work leaves nothing behind that would hinder the next start;
//! - `sharing`: several at once.
//!
//! A check that does not apply (a files prover has no second request, data has no verifier) says why. A prover
//! conforms if no check failed.

mod bench;
mod killing;
mod proving;
mod refusing;
mod report;
mod sharing;
mod starting;
mod tampering;
mod verifying;

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use crate::message::Input;
use crate::runner::{GuardCommand, Limits, Payload, ProverError};
use bench::Bench;
pub use report::{CheckReport, Report, Result};

/// The variable that marks all processes of one run of the kit.
const MARK: &str = "PROOFYARD_CHECK";

/// What is checked, and with what.
#[derive(Clone, Debug)]
pub struct ProverUnderTest {
    /// The prover's program and its arguments.
    pub command: Vec<String>,
    /// How the program takes requests.
    pub protocol: Protocol,
    /// Who verifies what it proves.
    pub verifier: Verifier,
    /// The inputs of a first task, and of a second one that differs.
    pub tasks: Vec<Vec<Input>>,
    /// Added to this process's own environment.
    pub environment: Vec<(String, String)>,
    /// How the guard of its processes is started.
    pub guard: GuardCommand,
    /// The limits of each request.
    pub limits: Limits,
    /// How many processes prove at once in the check of `sharing`.
    pub at_once: usize,
    /// An existing folder, in which everything is written.
    pub folder: PathBuf,
}

/// How the program takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// It stays, and answers one JSON request on each line.
    Stream,
    /// It is started for each task, with this in its input file.
    Files(Payload),
}

/// Who verifies what it proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verifier {
    /// The same command in another process.
    Same,
    /// Another program and its arguments.
    Command(Vec<String>),
    /// Nobody: it writes data, or its proofs are trusted.
    None,
}

/// One requirement.
pub struct Check {
    /// Its name in reports and in the documentation.
    pub name: &'static str,
    /// What a prover that passes does.
    pub asks: &'static str,
    /// What to do about one that does not.
    pub mend: &'static str,
    run: fn(&mut Bench<'_>) -> Outcome,
}

/// Checks that belong together.
pub struct Group {
    /// Its name in reports.
    pub name: &'static str,
    /// In the order in which they are tried.
    pub checks: &'static [Check],
}

/// In the order in which they are tried.
pub const GROUPS: &[Group] = &[
    Group { name: "starting", checks: starting::CHECKS },
    Group { name: "proving", checks: proving::CHECKS },
    Group { name: "bad requests", checks: refusing::CHECKS },
    Group { name: "verifying", checks: verifying::CHECKS },
    Group { name: "being killed", checks: killing::CHECKS },
    Group { name: "several at once", checks: sharing::CHECKS },
];

/// A note of a check that passed; or why it did not pass.
type Outcome = std::result::Result<String, Stop>;

/// Why a check did not pass.
#[derive(Debug)]
enum Stop {
    Untried(String),
    Failed {
        why: String,
        log: Vec<String>,
    },
    /// The kit itself has failed, for instance on a full disk.
    Broken(io::Error),
}

impl Stop {
    fn untried(why: impl Into<String>) -> Stop {
        Stop::Untried(why.into())
    }

    fn failed(why: impl Into<String>) -> Stop {
        Stop::Failed { why: why.into(), log: Vec::new() }
    }

    /// Says what was tried when it failed.
    fn after(self, what: &str) -> Stop {
        match self {
            Stop::Failed { why, log } => Stop::Failed { why: format!("{what}: {why}"), log },
            other => other,
        }
    }
}

impl From<ProverError> for Stop {
    fn from(error: ProverError) -> Stop {
        Stop::Failed { why: error.message, log: error.log }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Broken(error)
    }
}

/// Runs all checks; calls `on_check` after each.
pub fn check(subject: &ProverUnderTest, on_check: &mut dyn FnMut(&CheckReport)) -> io::Result<Report> {
    let mut bench = Bench::new(subject)?;
    let mut report = Report { command: subject.command.clone(), checks: Vec::new() };
    for group in GROUPS {
        for check in group.checks {
            let began = Instant::now();
            let (result, note, log) = match (check.run)(bench.begin(check.name)) {
                Ok(note) => (Result::Passed, note, Vec::new()),
                Err(Stop::Untried(why)) => (Result::Untried, why, Vec::new()),
                Err(Stop::Failed { why, log }) => (Result::Failed, why, log),
                Err(Stop::Broken(error)) => return Err(error),
            };
            let (name, asks, mend) = (check.name, check.asks, check.mend);
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let checked = CheckReport { group: group.name, name, asks, result, note, mend, log, took_ms };
            on_check(&checked);
            report.checks.push(checked);
        }
    }
    Ok(report)
}
