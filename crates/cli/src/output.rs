//! What goes to stdout. A reader who went away (`| head`) does not end the work.

use std::fmt::Display;
use std::io::{Write, stdout};

use serde::Serialize;

use crate::failure::Failure;

pub fn line(text: impl Display) {
    let _ = writeln!(stdout().lock(), "{text}");
}

/// One JSON document on one line.
pub fn json(document: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(document).map_err(Failure::work)?);
    Ok(())
}
