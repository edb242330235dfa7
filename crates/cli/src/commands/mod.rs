//! One file for each verb: what it takes, what it does, what it answers.

pub mod bench;
pub mod check;
pub mod demo;
pub mod explain;
pub mod keep;
pub mod pause;
pub mod plan;
pub mod prover;
pub mod prover_check;
pub mod redo;
pub mod report;
pub mod resume;
pub mod retry;
pub mod run;
pub mod sink;
pub mod status;
pub mod verify;
pub mod window;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::Subcommand;
use proofyard_core::error::Code;
use proofyard_core::pipeline::{Checked, MAX_TEXT_BYTES, Mistake, parse};
use proofyard_embedded::machine::GuardCommand;

use tempfile::TempDir;

use crate::failure::Failure;
use crate::yard::{YardAccess, YardHome};

/// What may be asked of a yard, in whichever home it lives.
#[derive(Subcommand)]
pub enum YardVerb {
    Status(status::Status),
    Explain(explain::Explain),
    Verify(verify::Verify),
    Report(report::Report),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Retry(retry::Retry),
    Sink(sink::SinkCommand),
    Window(window::Window),
    Redo(redo::Redo),
    Keep(keep::Keep),
}

impl YardVerb {
    /// Where the yard is.
    pub fn home(&self) -> &YardHome {
        match self {
            Self::Status(status) => &status.yard.home,
            Self::Explain(explain) => &explain.yard.home,
            Self::Verify(verify) => &verify.yard.home,
            Self::Report(report) => &report.yard.home,
            Self::Pause(pause) => &pause.yard.home,
            Self::Resume(resume) => &resume.yard.home,
            Self::Retry(retry) => &retry.yard.home,
            Self::Sink(sink) => &sink.yard.home,
            Self::Window(window) => &window.yard.home,
            Self::Redo(redo) => &redo.yard.home,
            Self::Keep(keep) => &keep.home,
        }
    }

    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        match self {
            Self::Status(status) => status.run(access, json),
            Self::Explain(explain) => explain.run(access, json),
            Self::Verify(verify) => verify.run(access, json),
            Self::Report(report) => report.run(access, json),
            Self::Pause(pause) => pause.run(access, json),
            Self::Resume(resume) => resume.run(access, json),
            Self::Retry(retry) => retry.run(access, json),
            Self::Sink(sink) => sink.run(access, json),
            Self::Window(window) => window.run(access, json),
            Self::Redo(redo) => redo.run(access, json),
            Self::Keep(keep) => keep.run(access, json),
        }
    }
}

/// Reads a pipeline file; every mistake at once.
pub fn read_pipeline(path: &Path) -> Result<(String, Checked), Failure> {
    let file = path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|input| input.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&file, &error))?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        // What is too large may be cut within a character; its mistake is another one.
        Err(error) if error.as_bytes().len() > MAX_TEXT_BYTES => {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }
        Err(error) => {
            let mistakes = vec![not_utf8(error.as_bytes(), error.utf8_error().valid_up_to())];
            return Err(Failure::mistakes(&file, mistakes));
        }
    };
    match parse(&text) {
        Ok(checked) => Ok((text, checked)),
        Err(mistakes) => Err(Failure::mistakes(&file, mistakes)),
    }
}

fn not_utf8(bytes: &[u8], at: usize) -> Mistake {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let line = before.rsplit('\n').next().unwrap_or_default();
    Mistake {
        line: before.matches('\n').count() + 1,
        column: line.chars().count() + 1,
        message: "this is not UTF-8".to_owned(),
        help: "save the file as UTF-8 text".to_owned(),
    }
}

/// How this very program is started as a guard.
pub fn guard() -> Result<GuardCommand, Failure> {
    GuardCommand::this_program().map_err(|error| {
        Failure::work_as(Code::ProcessFault, "this program's own path is not known").caused_by(&error)
    })
}

/// A file that the command line names.
fn unreadable(file: impl std::fmt::Display, error: &io::Error) -> Failure {
    Failure::usage_as(Code::FileUnreadable, format!("{file} cannot be read")).caused_by(error)
}

fn temporary_folder(prefix: &str) -> Result<TempDir, Failure> {
    tempfile::Builder::new().prefix(prefix).tempdir().map_err(|error| no_temporary_folder(&error))
}

fn no_temporary_folder(error: &io::Error) -> Failure {
    Failure::work_as(Code::NoTemporaryFolder, "no temporary folder can be made").caused_by(error)
}
