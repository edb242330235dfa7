//! How a verb fails: what is printed, and the exit code.

use std::error::Error as StdError;
use std::process::ExitCode;

use proofyard_core::error::{Code, Coded, Diagnostic, Error};
use proofyard_core::explain::count;
use proofyard_core::pipeline::Mistake;
use proofyard_core::port::PortError;
use proofyard_embedded::machine::{AskError, MachineError};
use serde::Serialize;

/// Work failed or is parked.
const WORK: u8 = 1;
/// Bad usage, config or input.
const USAGE: u8 = 2;

/// A verb that did not come to its end.
#[derive(Debug, Serialize)]
pub struct Failure {
    error: Diagnostic,
    exit_code: u8,
    /// Of a pipeline file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mistakes: Vec<Mistake>,
    /// What people read before the error; programs have it already.
    #[serde(skip)]
    before: Option<String>,
}

impl Failure {
    pub fn usage(error: impl Coded) -> Self {
        Self::new(Diagnostic::of(&error), USAGE)
    }

    pub fn work(error: impl Coded) -> Self {
        Self::new(Diagnostic::of(&error), WORK)
    }

    /// Of what no error type says.
    pub fn usage_as(code: Code, message: impl Into<String>) -> Self {
        Self::new(Diagnostic::new(code, message), USAGE)
    }

    pub fn work_as(code: Code, message: impl Into<String>) -> Self {
        Self::new(Diagnostic::new(code, message), WORK)
    }

    /// A pipeline file with mistakes.
    pub fn mistakes(file: &str, mistakes: Vec<Mistake>) -> Self {
        let found: Vec<_> = mistakes.iter().map(|mistake| mistake.display(file).to_string()).collect();
        let message = format!("{file} has {}", count(mistakes.len() as u64, "mistake"));
        let failure = Self::usage_as(Code::PipelineMistakes, message).after(found.join("\n"));
        Self { mistakes, ..failure }
    }

    /// Asked to stop before the end, with the code that shells expect then.
    pub fn stopped(message: impl Into<String>, exit_code: u8) -> Self {
        Self::new(Diagnostic::new(Code::Stopped, message), exit_code)
    }

    #[must_use]
    pub fn caused_by(self, error: &dyn StdError) -> Self {
        Self { error: self.error.caused_by(error), ..self }
    }

    /// With what people are to read first.
    #[must_use]
    pub fn after(self, before: String) -> Self {
        Self { before: Some(before), ..self }
    }

    fn new(error: Diagnostic, exit_code: u8) -> Self {
        Self { error, exit_code, mistakes: Vec::new(), before: None }
    }

    pub fn print(self, json: bool) -> ExitCode {
        match serde_json::to_string(&self) {
            Ok(document) if json => eprintln!("{document}"),
            _ => {
                self.before.iter().for_each(|before| eprintln!("{before}"));
                match self.error.code {
                    // It is what was asked for.
                    Code::Stopped => eprintln!("{}", self.error.message),
                    _ => eprintln!("{}", self.error),
                }
            }
        }
        ExitCode::from(self.exit_code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(_) => Self::usage(error),
            _ => Self::work(error),
        }
    }
}

impl From<MachineError> for Failure {
    fn from(error: MachineError) -> Self {
        match error {
            MachineError::DataDir(_)
            | MachineError::PoolsDiffer { .. }
            | MachineError::SlotsDiffer { .. }
            | MachineError::NoVariable { .. }
            | MachineError::Isolation(_) => Self::usage(error),
            // A database of a newer version, of another program, or one that cannot be written.
            MachineError::Port(PortError::Broken(_)) => Self::usage(error),
            MachineError::Yard(error) => error.into(),
            _ => Self::work(error),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Machine(error) => error.into(),
            AskError::Yard(error) => error.into(),
            AskError::Refused(message) => Self::new(message, USAGE),
            AskError::Failed(message) => Self::new(message, WORK),
            AskError::NoAnswer(_) => Self::work(error),
        }
    }
}
