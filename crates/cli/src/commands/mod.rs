//! One file for each verb: what it takes, what it does, what it answers.

pub mod check;
pub mod demo;
pub mod explain;
pub mod pause;
pub mod redo;
pub mod resume;
pub mod retry;
pub mod run;
pub mod status;
pub mod verify;
pub mod window;

use std::fs;
use std::path::Path;

use proofyard_core::pipeline::{Checked, parse};
use proofyard_embedded::machine::GuardCommand;

use crate::failure::Failure;

/// The hidden first argument under which this program is a prover's guard.
pub const GUARD_ARGUMENT: &str = "guard";

/// Reads a pipeline file; every mistake at once.
pub fn read_pipeline(path: &Path) -> Result<(String, Checked), Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    match parse(&text) {
        Ok(checked) => Ok((text, checked)),
        Err(mistakes) => {
            let told: Vec<_> = mistakes.iter().map(|mistake| mistake.display(&name).to_string()).collect();
            Err(Failure::Usage(told.join("\n")))
        }
    }
}

/// How this very program is started as a guard.
pub fn guard() -> Result<GuardCommand, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::work(format!("this program's own path: {error}")))?;
    Ok(GuardCommand { program, leading_arguments: vec![GUARD_ARGUMENT.to_owned()] })
}
