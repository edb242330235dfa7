//! A `files` prover: started anew for each task, with the paths of an input and an output JSON file.
//!
//! Exit code 0 and an output file mean success; exit code 75 (`EX_TEMPFAIL` of `sysexits`) means that the prover is
//! unavailable and tried nothing; anything else is a failed attempt. What it prints, to stdout or stderr, is its log.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, Fault, ProverError};
use super::guarded::{Guarded, Stdin, how_it_ended};
use super::launch::Launch;
use super::log::Log;
use super::output::{OutputFile, Proved, open_output};
use super::output_content::{check_proof_system, check_public_values, list_count, read_fields};
use super::watch::{Cancel, Watch};
use crate::artifact::InputError;
use crate::message::{Failure, Input, InputKind, List, ProveOk, ProveRequest, VerifyOk, VerifyRequest};

const LOG_TIMEOUT: Duration = Duration::from_millis(500);

/// `EX_TEMPFAIL`.
pub(super) const EXIT_UNAVAILABLE: i32 = 75;

/// What a `files` prover finds in its input file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// The prove request, as a `stream` prover gets it.
    Request,
    /// The one input's content (the selected element where `index` is set), or a JSON list of them when there are
    /// several.
    Bare,
    /// As `Bare`, but a whole block is given as its height alone.
    Height,
    /// As `Bare`, but always a list, also of one input.
    List,
}

/// Runs one task. The file that the program wrote is the artifact; those of its top-level members that `fields` names
/// are the output's match fields.
pub fn prove_files(
    launch: &Launch,
    payload: Payload,
    fields: &[String],
    request: &ProveRequest,
    cancel: &Cancel,
) -> Result<Proved, ProverError> {
    let limit_ms = request.deadline_ms.min(launch.limits.time_ms);
    let run = Run { launch, output_dir: &absolute(launch, &request.output_dir)?, limit_ms, cancel };
    run.with_log(|log| {
        let cannot = |error| Fault::new(ErrorKind::Io, error);
        let request =
            ProveRequest { deadline_ms: limit_ms, ..request.with_absolute_paths().map_err(cannot)? };
        let write = |path: &Path| match payload {
            Payload::Request => write_json(path, &request),
            Payload::Bare | Payload::Height | Payload::List => write_bare(path, &request.inputs, payload),
        };
        run.to_success(write, log)?;
        let output = open_output(&request.output_dir, &run.output_path(), &launch.limits)?;
        let list = list_count(&output)?.map(|count| List { count });
        let fields = read_fields(&output, fields)?;
        let ok = ProveOk { proof: output.path.clone(), list, fields, ..ProveOk::default() };
        Ok(Proved { ok, output })
    })
}

/// Verifies one proof: the input file is the verify request, the output file `{"public_values":"hex"}` or
/// `{"error":...}`. A program that ends with another exit code than 0 refuses the proof.
pub fn verify_files(
    launch: &Launch,
    request: &VerifyRequest,
    cancel: &Cancel,
) -> Result<VerifyOk, ProverError> {
    let limit_ms = launch.limits.time_ms;
    let run = Run { launch, output_dir: &absolute(launch, &request.output_dir)?, limit_ms, cancel };
    run.with_log(|log| {
        let request = request.with_absolute_paths().map_err(|error| Fault::new(ErrorKind::Io, error))?;
        let refused = |fault: Fault| match fault.kind {
            ErrorKind::Died { exit: Some(exit), .. } => {
                Fault::new(ErrorKind::Permanent, format!("it refused the proof (exit code {exit})"))
            }
            _ => fault,
        };
        run.to_success(|path| write_json(path, &request), log).map_err(refused)?;
        let output = open_output(&request.output_dir, &run.output_path(), &launch.limits)?;
        read_verdict(output, launch.limits.line_bytes)
    })
}

fn absolute(launch: &Launch, folder: &Path) -> Result<PathBuf, ProverError> {
    std::path::absolute(folder).map_err(|error| {
        let (kind, message, command) = (ErrorKind::Io, error.to_string(), launch.command_line());
        ProverError { kind, message, command, log: Vec::new() }
    })
}

/// One start of the program.
struct Run<'a> {
    launch: &'a Launch,
    output_dir: &'a Path,
    limit_ms: u64,
    cancel: &'a Cancel,
}

impl Run<'_> {
    fn output_path(&self) -> PathBuf {
        self.output_dir.join("output.json")
    }

    fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, Fault>) -> Result<T, ProverError> {
        let mut log = Log::new(self.launch.limits.log_lines);
        work(&mut log).map_err(|Fault { kind, message, .. }| {
            log.wait_for_end(LOG_TIMEOUT);
            ProverError { kind, message, command: self.launch.command_line(), log: log.last_lines() }
        })
    }

    fn to_success(
        &self,
        write_input: impl FnOnce(&Path) -> Result<(), Fault>,
        log: &mut Log,
    ) -> Result<(), Fault> {
        let input_path = self.output_dir.join("input.json");
        write_input(&input_path)?;
        // A file that another run left there is not this run's output.
        let _ = fs::remove_file(self.output_path());
        let arguments = self.arguments(&input_path)?;
        let cannot = |error| Fault::new(ErrorKind::CouldNotStart, error);
        let (mut guarded, stdout, stderr) = Guarded::start(self.launch, &arguments, Stdin::Closed)?;
        log.follow(stdout).map_err(cannot)?;
        log.follow(stderr).map_err(cannot)?;
        let status = self.wait(&mut guarded)?;
        match status.code() {
            Some(0) => Ok(()),
            Some(EXIT_UNAVAILABLE) => {
                let message = format!("it is unavailable (exit code {EXIT_UNAVAILABLE})");
                Err(Fault::new(ErrorKind::Unavailable, message))
            }
            _ => Err(how_it_ended(Some(status), false, &self.launch.limits)),
        }
    }

    /// On a fault the caller drops `guarded`, which kills the program.
    fn wait(&self, guarded: &mut Guarded) -> Result<ExitStatus, Fault> {
        let limits = &self.launch.limits;
        let mut watch = Watch::new(limits, self.cancel, guarded.pid()?, self.limit_ms, Some(self.output_dir));
        loop {
            watch.check()?;
            if let Some(status) = guarded.wait(watch.next_check_in()) {
                watch.check_output()?;
                return Ok(status);
            }
        }
    }

    fn arguments(&self, input_path: &Path) -> Result<Vec<String>, Fault> {
        let text = |path: &Path| {
            let text = path.to_str().map(str::to_string);
            text.ok_or_else(|| Fault::new(ErrorKind::BadInput, format!("{} is not UTF-8", path.display())))
        };
        let (input, output) = (text(input_path)?, text(&self.output_path())?);
        // Both placeholders at once, so that a placeholder's text within a path is left alone.
        let fill = |argument: &String| {
            let pieces: Vec<String> =
                argument.split("{input}").map(|piece| piece.replace("{output}", &output)).collect();
            pieces.join(&input)
        };
        Ok(self.launch.command.iter().map(fill).collect())
    }
}

fn bad_input(error: impl std::fmt::Display) -> Fault {
    Fault::new(ErrorKind::BadInput, format!("its input cannot be written: {error}"))
}

fn unwritten(error: io::Error) -> Fault {
    Fault::of_io(ErrorKind::Io, &error, format!("its input cannot be written: {error}"))
}

fn unusable(error: InputError) -> Fault {
    match error {
        InputError::Unreadable { .. } => {
            Fault::new(ErrorKind::Io, format!("its input cannot be written: {}", error.with_source()))
        }
        _ => bad_input(error.with_source()),
    }
}

fn write_json(path: &Path, request: &impl Serialize) -> Result<(), Fault> {
    let content = serde_json::to_vec(request).map_err(bad_input)?;
    new_file(path)?.write_all(&content).map_err(unwritten)
}

/// In a folder that another prover of the slot may write to as well: what it put there is neither written to nor followed.
fn new_file(path: &Path) -> Result<File, Fault> {
    let _ = fs::remove_file(path);
    File::create_new(path).map_err(unwritten)
}

fn write_bare(path: &Path, inputs: &[Input], payload: Payload) -> Result<(), Fault> {
    match inputs {
        [input] if payload != Payload::List && input.index.is_none() && !is_height(input, payload) => {
            let mut content = File::open(&input.path).map_err(unwritten)?;
            io::copy(&mut content, &mut new_file(path)?).map(|_| ()).map_err(unwritten)
        }
        [input] if payload != Payload::List => {
            new_file(path)?.write_all(&bare(input, payload)?).map_err(unwritten)
        }
        inputs => {
            let mut list = BufWriter::new(new_file(path)?);
            write_list(&mut list, inputs, payload)?;
            list.flush().map_err(unwritten)
        }
    }
}

fn bare(input: &Input, payload: Payload) -> Result<Vec<u8>, Fault> {
    if is_height(input, payload) {
        return input.read_height().map(|height| height.to_string().into_bytes()).map_err(unusable);
    }
    input.read().map_err(unusable)
}

/// Only a whole block is given as its height: for a segment, the height would not say which one.
fn is_height(input: &Input, payload: Payload) -> bool {
    payload == Payload::Height && input.kind == InputKind::Block && input.index.is_none()
}

/// Writes one element after another, so that only one is in memory.
fn write_list(list: &mut impl Write, inputs: &[Input], payload: Payload) -> Result<(), Fault> {
    let mut write = |bytes: &[u8]| -> Result<(), io::Error> { list.write_all(bytes) };
    write(b"[").map_err(unwritten)?;
    for (index, input) in inputs.iter().enumerate() {
        let content = bare(input, payload)?;
        let not_json = |error| bad_input(format!("{} is not JSON: {error}", input.path.display()));
        serde_json::from_slice::<IgnoredAny>(&content).map_err(not_json)?;
        write(if index == 0 { b"" } else { b"," }).map_err(unwritten)?;
        write(&content).map_err(unwritten)?;
    }
    write(b"]").map_err(unwritten)
}

fn read_verdict(output: OutputFile, limit_bytes: usize) -> Result<VerifyOk, Fault> {
    #[derive(Deserialize)]
    struct Verdict {
        public_values: Option<String>,
        proof_system: Option<String>,
        error: Option<serde_json::Value>,
    }
    let mut content = Vec::new();
    output.file.take(limit_bytes as u64 + 1).read_to_end(&mut content).map_err(Fault::bad_output)?;
    if content.len() > limit_bytes {
        return Err(Fault::protocol_violation(format!("its verdict is longer than {limit_bytes} bytes")));
    }
    let verdict: Verdict = serde_json::from_slice(&content)
        .map_err(|error| Fault::protocol_violation(format!("its output is no verdict: {error}")))?;
    match (verdict.public_values, verdict.error) {
        (Some(public_values), None) => {
            check_public_values(Some(&public_values))?;
            check_proof_system(verdict.proof_system.as_deref())?;
            Ok(VerifyOk { public_values, proof_system: verdict.proof_system })
        }
        (None, Some(error)) => Err(refusal(error).into()),
        _ => Err(Fault::protocol_violation("its output must have one of public_values, error")),
    }
}

/// The error of a verdict: as in a response, or any other JSON.
fn refusal(error: serde_json::Value) -> Failure {
    let plain = error.as_str().map(str::to_string).unwrap_or_else(|| error.to_string());
    serde_json::from_value(error).unwrap_or_else(|_| Failure::permanent(plain))
}
