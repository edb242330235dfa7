//! What goes to stdout. A reader who went away (`| head`) does not end the work.

use std::fmt::Display;
use std::io::{Write, stdout};

use proofyard_core::error::Code;
use serde::Serialize;

use crate::failure::Failure;

pub fn line(text: impl Display) {
    let _ = writeln!(stdout().lock(), "{text}");
}

/// One JSON document on one line.
pub fn json(document: &impl Serialize) -> Result<(), Failure> {
    match serde_json::to_string(document) {
        Ok(document) => line(document),
        Err(error) => {
            return Err(Failure::work_as(Code::Defect, "an answer cannot be written").caused_by(&error));
        }
    }
    Ok(())
}
