//! How a verb fails: what is told, and the exit code.

use std::process::ExitCode;

use proofyard_core::error::Error;
use proofyard_core::pipeline::Mistake;
use proofyard_core::port::PortError;
use proofyard_embedded::machine::{AskError, MachineError};

/// A verb that did not come to its end.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1: work failed or is parked.
    Work(String),
    /// Exit code 2: bad usage, config or input.
    Usage(String),
    /// Exit code 2: a pipeline file with mistakes.
    Mistakes { file: String, mistakes: Vec<Mistake> },
    /// Asked to stop before the end, with the code that shells expect then.
    Stopped { message: String, exit_code: u8 },
}

impl Failure {
    pub fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    pub fn work(error: impl std::fmt::Display) -> Self {
        Self::Work(error.to_string())
    }

    pub fn tell(self, json: bool) -> ExitCode {
        let mut listed = Vec::new();
        let (message, code) = match self {
            Self::Work(message) => (message, 1),
            Self::Usage(message) => (message, 2),
            Self::Mistakes { file, mistakes } => {
                let told: Vec<_> =
                    mistakes.iter().map(|mistake| mistake.display(&file).to_string()).collect();
                listed = mistakes;
                (told.join("\n"), 2)
            }
            Self::Stopped { message, exit_code } => (message, exit_code),
        };
        if json {
            let mut document = serde_json::json!({ "error": message, "exit_code": code });
            if !listed.is_empty() {
                document["mistakes"] = serde_json::json!(listed);
            }
            eprintln!("{document}");
        } else {
            eprintln!("{message}");
        }
        ExitCode::from(code)
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
            AskError::Refused(_) => Self::usage(error),
            AskError::Failed(_) | AskError::NoAnswer(_) => Self::work(error),
        }
    }
}
