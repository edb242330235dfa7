//! How a verb fails: what is told, and the exit code.

use std::process::ExitCode;

/// A verb that did not come to its end.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1: work failed or is parked.
    Work(String),
    /// Exit code 2: bad usage, config or input.
    Usage(String),
}

impl Failure {
    pub fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    pub fn work(error: impl std::fmt::Display) -> Self {
        Self::Work(error.to_string())
    }

    pub fn tell(self, json: bool) -> ExitCode {
        let (message, code) = match self {
            Self::Work(message) => (message, 1),
            Self::Usage(message) => (message, 2),
        };
        if json {
            eprintln!("{}", serde_json::json!({ "error": message, "exit_code": code }));
        } else {
            eprintln!("{message}");
        }
        ExitCode::from(code)
    }
}
