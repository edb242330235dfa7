//! `proofyard prover check -- COMMAND...`: the conformance kit.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use proofyard_blocks::{Line, Reader, Rules};
use proofyard_core::error::Code;
use proofyard_prover::conformance::{
    CheckReport, Protocol, ProverUnderTest, Report, Result as Tried, Verifier, check,
};
use proofyard_prover::runner::{Limits, Payload};
use proofyard_prover::{Input, InputKind};
use serde_json::json;

use super::demo::BLOCKS;
use super::{guard, temporary_folder, unreadable};
use crate::failure::Failure;
use crate::output;
use crate::text::duration;

/// Two tasks are all that the kit looks at.
const TASKS: usize = 2;
/// A list of inputs; each is described in less than 4 KiB.
const MAX_TASK_BYTES: u64 = 16 << 20;
/// Log lines shown with a failure; `--json` has all that are kept.
const LOG_SHOWN: usize = 8;

/// Tries whether a program keeps to the prover protocol (docs/prover-protocol.md): good requests, bad ones, spoilt
/// proofs, being killed, several at once.
///
/// Exit code 0: it conforms; 1: it does not; 2: bad usage.
#[derive(Args)]
pub struct ProverCheck {
    /// The prover, and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// A blocks file; the first two blocks that fit are the tasks. By default recorded blocks that are built in.
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// The tasks are this segment of two blocks, not the whole blocks.
    #[arg(long, value_name = "INDEX")]
    segment: Option<u32>,
    /// A task of any kind: a file with the list of inputs that a prove request would have. Paths in it begin at its own
    /// folder. Give two.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "segment"])]
    task: Vec<PathBuf>,
    /// How the program is asked.
    #[arg(long, value_enum, default_value = "stream")]
    protocol: Asked,
    /// What a files prover finds in its input file.
    #[arg(long, value_enum, value_name = "FORM")]
    payload: Option<Form>,
    /// The verifier, if it is another command: "PROGRAM ARGUMENT ..." or a list as in a pipeline file; or "none".
    #[arg(long, value_name = "COMMAND")]
    verify: Option<String>,
    /// For each request; also for loading keys.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    time_limit_s: u64,
    /// How many prove side by side; 1 leaves that out.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    at_once: u8,
    /// Keeps what was written, proofs too, in this new folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asked {
    Stream,
    Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Request,
    Bare,
    Height,
    List,
}

impl ProverCheck {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let protocol = self.protocol()?;
        let verifier = self.verifier()?;
        let temporary = temporary_folder("proofyard-check-")?;
        let folder = match &self.keep {
            Some(folder) => new_folder(folder)?,
            None => temporary.path().to_owned(),
        };
        let subject = ProverUnderTest {
            tasks: self.tasks(&folder)?,
            command: self.command.clone(),
            protocol,
            verifier,
            environment: environment()?,
            guard: guard()?,
            limits: Limits {
                time_ms: self.time_limit_s * 1_000,
                setup_ms: self.time_limit_s * 1_000,
                ..Limits::default()
            },
            at_once: usize::from(self.at_once),
            folder,
        };
        let mut group = "";
        let report = check(&subject, &mut |checked| {
            if !json {
                print_check(checked, &mut group);
            }
        });
        let report = report.map_err(|error| {
            let message = format!("{} cannot be used", subject.folder.display());
            Failure::work_as(Code::FileUnwritable, message).caused_by(&error)
        })?;
        if json {
            output::json(&document(&report))?;
        }
        match report.conforms() {
            true => {
                if !json {
                    output::line(format!("\n{}: it conforms", counts(&report)));
                }
                Ok(())
            }
            false => {
                let message = format!("{}: it does not conform", counts(&report));
                Err(Failure::work_as(Code::ProverDoesNotConform, message))
            }
        }
    }

    fn protocol(&self) -> Result<Protocol, Failure> {
        let payload = match self.payload {
            None | Some(Form::Request) => Payload::Request,
            Some(Form::Bare) => Payload::Bare,
            Some(Form::Height) => Payload::Height,
            Some(Form::List) => Payload::List,
        };
        match self.protocol {
            Asked::Stream if self.payload.is_some() => {
                Err(bad_arguments("--payload is for --protocol files; a stream's requests have one form"))
            }
            Asked::Stream => Ok(Protocol::Stream),
            Asked::Files => {
                check_placeholders("COMMAND", &self.command)?;
                Ok(Protocol::Files(payload))
            }
        }
    }

    fn verifier(&self) -> Result<Verifier, Failure> {
        let command: Vec<String> = match self.verify.as_deref().map(str::trim) {
            None => return Ok(Verifier::Same),
            Some("none") => return Ok(Verifier::None),
            Some(list) if list.starts_with('[') => serde_json::from_str(list)
                .map_err(|error| bad_arguments("--verify is no list of texts").caused_by(&error))?,
            Some(line) => line.split_whitespace().map(str::to_owned).collect(),
        };
        if command.is_empty() {
            return Err(bad_arguments("--verify names no program; write \"none\" if there is no verifier"));
        }
        if self.protocol == Asked::Files {
            check_placeholders("--verify", &command)?;
        }
        Ok(Verifier::Command(command))
    }

    fn tasks(&self, folder: &Path) -> Result<Vec<Vec<Input>>, Failure> {
        if !self.task.is_empty() {
            return self.task.iter().take(TASKS).map(|file| read_task(file)).collect();
        }
        let mut tasks = Vec::new();
        for (index, payload) in self.blocks()?.into_iter().enumerate() {
            let path = folder.join(format!("block-{}", index + 1));
            fs::write(&path, payload).map_err(|error| {
                let message = format!("{} cannot be written", path.display());
                Failure::work_as(Code::FileUnwritable, message).caused_by(&error)
            })?;
            tasks.push(vec![input(path, self.segment)]);
        }
        Ok(tasks)
    }

    /// The first two blocks that have the segment which is asked for.
    fn blocks(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let mut found = Vec::new();
        if self.input.is_empty() {
            self.take_blocks("the built-in blocks", BLOCKS.as_bytes(), &mut found)?;
        }
        for file in &self.input {
            let name = file.display().to_string();
            let opened = File::open(file).map_err(|error| unreadable(&name, &error))?;
            self.take_blocks(&name, BufReader::new(opened), &mut found)?;
        }
        if found.len() == TASKS {
            return Ok(found);
        }
        let fits = match self.segment {
            Some(index) => format!("blocks with a segment {index}"),
            None => "blocks".to_owned(),
        };
        let message = format!(
            "{TASKS} {fits} are needed, so that a proof of one can be shown with the other; {} found",
            found.len()
        );
        Err(Failure::usage_as(Code::BadTrial, message))
    }

    fn take_blocks(
        &self,
        name: &str,
        lines: impl std::io::BufRead,
        found: &mut Vec<Vec<u8>>,
    ) -> Result<(), Failure> {
        // Whether they are blocks is not what is tried here.
        let mut reader = Reader::new(name, lines, Rules::lenient());
        while found.len() < TASKS {
            match reader.next().transpose().map_err(Failure::usage)? {
                None => return Ok(()),
                Some((_, Line::Reorg { .. })) => {}
                Some((_, Line::Block(block))) => {
                    let fits = self.segment.is_none_or(|index| index < block.segments);
                    if fits && !found.contains(&block.payload) {
                        found.push(block.payload);
                    }
                }
            }
        }
        Ok(())
    }
}

fn bad_arguments(message: impl Into<String>) -> Failure {
    Failure::usage_as(Code::BadArguments, message)
}

fn input(path: PathBuf, index: Option<u32>) -> Input {
    let (kind, stage, public_values, verification_key) = (InputKind::Block, None, None, None);
    Input { kind, path, index, stage, task_index: 0, public_values, verification_key }
}

fn read_task(file: &Path) -> Result<Vec<Input>, Failure> {
    let name = file.display();
    let mut content = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(MAX_TASK_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| unreadable(&name, &error))?;
    if content.len() as u64 > MAX_TASK_BYTES {
        let message = format!("{name} has more than {MAX_TASK_BYTES} bytes");
        return Err(Failure::usage_as(Code::BadTrial, message));
    }
    let mut inputs: Vec<Input> = serde_json::from_slice(&content).map_err(|error| {
        let message =
            format!("{name} is no list of inputs; write [{{\"kind\":\"block\",\"path\":\"block.json\"}}]");
        Failure::usage_as(Code::BadTrial, message).caused_by(&error)
    })?;
    let base = file.parent().unwrap_or(Path::new(""));
    for input in &mut inputs {
        let path = base.join(&input.path);
        input.path = fs::canonicalize(&path)
            .map_err(|error| unreadable(format_args!("{name}: {}", path.display()), &error))?;
    }
    Ok(inputs)
}

fn check_placeholders(what: &str, command: &[String]) -> Result<(), Failure> {
    match ["{input}", "{output}"].iter().find(|part| !command.iter().any(|word| word.contains(**part))) {
        None => Ok(()),
        Some(part) => Err(bad_arguments(format!(
            "{what} does not say where {part} goes; a files prover is given its two files"
        ))),
    }
}

fn new_folder(folder: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("{} cannot be made; name a new folder", folder.display());
        Failure::usage_as(Code::FileUnwritable, message).caused_by(&error)
    };
    fs::create_dir(folder).map_err(failed)?;
    fs::canonicalize(folder).map_err(failed)
}

/// Provers that are installed beside this program are found without being on the PATH, as in a yard.
fn environment() -> Result<Vec<(String, String)>, Failure> {
    let here = guard()?.program.parent().map(Path::to_path_buf);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(here.into_iter().chain(std::env::split_paths(&path)));
    let path = path.ok().and_then(|path| path.into_string().ok());
    Ok(path.map(|path| ("PATH".to_owned(), path)).into_iter().collect())
}

/// One line for a check; for one that failed, what to do about it.
fn print_check(checked: &CheckReport, group: &mut &'static str) {
    if *group != checked.group {
        let newline = if group.is_empty() { "" } else { "\n" };
        output::line(format!("{newline}{}", checked.group));
        *group = checked.group;
    }
    let (result, note) = match checked.result {
        Tried::Passed => ("passed", checked.note.clone()),
        Tried::Failed => ("FAILED", checked.note.clone()),
        Tried::Untried => ("-", format!("cannot be tried: {}", checked.note)),
    };
    output::line(format!("  {result:6}  {:15}  {}: {note}", checked.name, checked.asks));
    if checked.result == Tried::Failed {
        output::line(format!("          to mend:  {}", checked.mend));
        let skipped = checked.log.len().saturating_sub(LOG_SHOWN);
        for line in checked.log.iter().skip(skipped) {
            output::line(format!("          its log:  {line}"));
        }
    }
}

fn counts(report: &Report) -> String {
    let took = report.checks.iter().map(|check| std::time::Duration::from_millis(check.took_ms)).sum();
    format!(
        "{} passed, {} failed, {} could not be tried, in {}",
        report.count(Tried::Passed),
        report.count(Tried::Failed),
        report.count(Tried::Untried),
        duration(took)
    )
}

fn document(report: &Report) -> serde_json::Value {
    json!({ "conforms": report.conforms(), "command": report.command, "checks": report.checks })
}
