//! The threads of a machine's sinks: each asks the yard what its sink is to be told next, tells it, and says how that went.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use proofyard_core::error::Cause;
use proofyard_core::pipeline::{AccountKey, BLOCK, Pipeline, Sink, SinkTarget};
use proofyard_core::state::{ArtifactRef, ChainName};
use proofyard_prover::confinement::Confinement;
use proofyard_prover::runner::{Cancel, GuardCommand, Launch, Limits, run_program};
use proofyard_sinks::{Destination, FileLog, Message, Outcome, Program, SinkOf, Teller, WaitLine};
use proofyard_worker::WorkerHome;

use super::{MachineError, Shared};
use crate::block_on;

/// The program that speaks HTTP.
const NOTIFY: &str = "proofyard-notify";
/// The program that calls contracts.
const CONTRACT: &str = "proofyard-contract";
/// See [`accounts_folder`].
const JOURNAL_FOLDER: &str = "accounts";
/// What a program does beyond its own limit before it is ended: it says by then what it waited for.
const GRACE_MS: u64 = 5_000;
/// Lines of a program's log that are kept: the last one is shown.
const LOG_LINES: usize = 16;

/// One sink of one chain.
pub(super) struct LocalSink {
    chain: ChainName,
    name: String,
    is_level: bool,
    destination: Box<dyn Destination + Send>,
    /// Stages with an action whose outcome its messages name.
    results: BTreeSet<String>,
    names_block: bool,
}

impl LocalSink {
    /// `base` is the folder of relative file names, and the one that programs run in; `cancel` ends a message that is under
    /// way.
    pub fn new(
        chain: &ChainName,
        name: &str,
        sink: &Sink,
        (base, data_dir): (&Path, &Path),
        guard: &GuardCommand,
        cancel: &Cancel,
    ) -> Result<Self, MachineError> {
        let (chain, name, is_level) = (chain.clone(), name.to_owned(), sink.is_level());
        if let SinkTarget::File { path } = &sink.target {
            let destination = Box::new(FileLog::at(base.join(path)));
            let results = BTreeSet::new();
            return Ok(Self { chain, name, is_level, destination, results, names_block: false });
        }
        let what = format!("sink {name}");
        let environment = environment_of(&what, &sink.target)?;
        let ToRun { command, time_limit_ms, target } = ToRun::of(&what, &name, &sink.target, data_dir)?;
        let limits = Limits {
            time_ms: time_limit_ms,
            grace_ms: time_limit_ms,
            log_lines: LOG_LINES,
            ..Limits::default()
        };
        let launch = Launch {
            command,
            environment,
            gpus: None,
            working_dir: Some(base.to_owned()).filter(|base| !base.as_os_str().is_empty()),
            guard: guard.clone(),
            confinement: Confinement::default(),
            limits,
        };
        if let Some(target @ SinkTarget::Contract(_)) = &target {
            check(&what, target, &launch, cancel)?;
        }
        let destination = Box::new(Program { launch, cancel: cancel.clone(), target });
        let (results, names_block) = match &sink.target {
            SinkTarget::Contract(contract) => (contract.results(), contract.names(BLOCK)),
            _ => (BTreeSet::new(), false),
        };
        Ok(Self { chain, name, is_level, destination, results, names_block })
    }

    /// Tells the sink one thing after another, until the machine stops.
    pub fn run(mut self, shared: &Shared) {
        if let Some(warning) = self.destination.warning() {
            self.log(shared, warning);
        }
        while !shared.is_stopped() {
            let rung = shared.bell().rung();
            let (chain, name, results) = (self.chain.clone(), self.name.clone(), self.results.clone());
            let sink = SinkOf {
                chain: &chain,
                name: &name,
                is_level: self.is_level,
                results: &results,
                names_block: self.names_block,
            };
            match block_on(sink.step(&shared.yard, &mut Telling { sink: &mut self, shared })) {
                Ok(true) => {}
                Ok(false) => shared.bell().wait(rung, shared.idle_look),
                Err(error) => {
                    shared.log_error(&format!("sink {}", self.name), &error);
                    shared.pause(shared.idle_look);
                }
            }
        }
    }

    fn log(&self, shared: &Shared, message: String) {
        shared.log_error(&format!("sink {}", self.name), Cause::from(message).as_ref());
    }
}

/// The program that is run for a sink.
struct ToRun {
    command: Vec<String>,
    time_limit_ms: u64,
    /// Where the program serves several kinds.
    target: Option<SinkTarget>,
}

impl ToRun {
    fn of(what: &str, name: &str, target: &SinkTarget, data_dir: &Path) -> Result<Self, MachineError> {
        let refused =
            |reason: &str| MachineError::BadSink { what: what.to_owned(), reason: reason.to_owned() };
        let own = |program: &'static str, options: Vec<String>| {
            let command = [vec![own_program(program, what)?], options].concat();
            let time_limit_ms = target.time_limit_ms().saturating_add(GRACE_MS);
            Ok(Self { command, time_limit_ms, target: Some(target.clone()) })
        };
        match target {
            SinkTarget::Command { command, time_limit_ms, .. } => {
                Ok(Self { command: command.clone(), time_limit_ms: *time_limit_ms, target: None })
            }
            SinkTarget::Webhook(_) | SinkTarget::Ethproofs(_) | SinkTarget::Beacon(_) => {
                own(NOTIFY, Vec::new())
            }
            SinkTarget::Contract(_) => {
                let journal = accounts_folder(data_dir).display().to_string();
                own(CONTRACT, ["--journal", &journal, "--sink", name].map(str::to_owned).to_vec())
            }
            SinkTarget::Aws(_) => Err(refused(
                "yards on AWS tell queues, topics and buses; put the pipeline in force there, `proofyard run PIPELINE --aws \
                 YARD`, or have a `command` that sends",
            )),
            SinkTarget::File { .. } => Err(refused("no program is run for a file")),
        }
    }
}

/// The variables that a sink's program gets.
fn environment_of(what: &str, target: &SinkTarget) -> Result<Vec<(String, String)>, MachineError> {
    let named = target.environment().into_iter().map(|name| Ok((name.clone(), variable(&name)?)));
    let named: Result<Vec<_>, String> = named.collect();
    let missing = |name| MachineError::NoVariable { what: what.to_owned(), name };
    Ok([named.map_err(missing)?, of_aws(target)].concat())
}

/// One step's way to the sink.
struct Telling<'a> {
    sink: &'a mut LocalSink,
    shared: &'a Shared,
}

impl Teller for Telling<'_> {
    async fn tell(&mut self, message: &Message) -> Outcome {
        self.sink.destination.tell(message)
    }

    /// A name that is no hash has no file: whoever reads it says so.
    fn place_of(&self, artifact: &ArtifactRef) -> PathBuf {
        let path = self.shared.artifacts.path(artifact).unwrap_or_else(|_| PathBuf::from(&artifact.sha256));
        fs::canonicalize(&path).unwrap_or(path)
    }

    fn is_stopped(&self) -> bool {
        self.shared.is_stopped()
    }

    fn log(&self, message: String) {
        self.sink.log(self.shared, message);
    }
}

/// By what AWS's clients find who they are, where a key of AWS KMS signs. All of it is the operator's, and optional.
fn of_aws(target: &SinkTarget) -> Vec<(String, String)> {
    let signs =
        matches!(target, SinkTarget::Contract(contract) if matches!(contract.key, AccountKey::Kms(_)));
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let of_aws = env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with("AWS_"));
    if signs { of_aws.collect() } else { Vec::new() }
}

/// In the data directory: what the accounts have sent by which contracts are called.
pub(super) fn accounts_folder(data_dir: &Path) -> PathBuf {
    absolute(&data_dir.join(JOURNAL_FOLDER))
}

/// All that the stages need that call contracts is there, or nothing is started.
pub(super) fn check_actions(
    pipelines: &[Pipeline],
    guard: &GuardCommand,
    cancel: &Cancel,
) -> Result<(), MachineError> {
    for (name, prover) in pipelines.iter().flat_map(|pipeline| &pipeline.provers) {
        let Some(contract) = &prover.contract else { continue };
        let what = format!("stage {name}");
        let environment = prover.environment_from.iter();
        let environment = environment.filter_map(|name| Some((name.clone(), variable(name).ok()?)));
        let launch = Launch {
            command: vec![own_program(CONTRACT, &what)?],
            environment: environment.collect(),
            gpus: None,
            working_dir: None,
            guard: guard.clone(),
            confinement: Confinement::default(),
            limits: Limits { time_ms: GRACE_MS, log_lines: LOG_LINES, ..Limits::default() },
        };
        check(&what, &SinkTarget::Contract(contract.clone()), &launch, cancel)?;
    }
    Ok(())
}

fn own_program(program: &'static str, what: &str) -> Result<String, MachineError> {
    found_program(program).ok_or_else(|| MachineError::NoSinkProgram { what: what.to_owned(), program })
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| name.to_owned())
}

/// Beside this program, else where `PATH` has it.
fn found_program(name: &str) -> Option<String> {
    let beside = env::current_exe().ok().map(|this| this.with_file_name(name));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|folder| folder.join(name));
    let found = beside.into_iter().chain(in_path).find(|program| program.is_file());
    found.map(|program| program.display().to_string())
}

/// What only the program can read is looked at before anything starts.
fn check(what: &str, target: &SinkTarget, launch: &Launch, cancel: &Cancel) -> Result<(), MachineError> {
    let bad = |reason: String| MachineError::BadSink { what: what.to_owned(), reason };
    let mut launch = launch.clone();
    launch.command.truncate(1);
    launch.command.push("--check".to_owned());
    let said = serde_json::to_vec(target).map_err(|error| bad(error.to_string()))?;
    let Err(error) = run_program(&launch, &said, cancel) else { return Ok(()) };
    let last = error.log.last().map(String::as_str).unwrap_or_default();
    let reason = serde_json::from_str::<WaitLine>(last).ok().and_then(|line| line.reason);
    Err(bad(reason.unwrap_or_else(|| error.to_string())))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
