//! `proofyard window N`: how many heights may be in work at once.

use clap::Args;
use proofyard_core::operation::Operation;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardArguments};

/// Sets how many heights from the frontier may be in work at once; 1 is one block after the other.
#[derive(Args)]
pub struct Window {
    heights: u64,
    #[command(flatten)]
    pub yard: YardArguments,
}

impl Window {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let window = self.heights;
        let answer = self.yard.ask(access, |chain| Operation::Window { chain, window })?;
        if json {
            return output::json(&answer);
        }
        output::line(format!("the window is {window} now, until another pipeline file is run"));
        Ok(())
    }
}
