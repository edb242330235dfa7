//! `proofyard redo FROM`: proves every height from there on again.

use clap::Args;
use proofyard_core::operation::Operation;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardArguments};

/// Proves every height from FROM on again. What was handed on of them is retracted.
#[derive(Args)]
pub struct Redo {
    from: u64,
    #[command(flatten)]
    pub yard: YardArguments,
}

impl Redo {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let from = self.from;
        let answer = self.yard.ask(access, |chain| Operation::Redo { chain, from })?;
        if json {
            return output::json(&answer);
        }
        output::line(format!(
            "heights from {from} on are proved again, by the yard that runs or the next `proofyard run`"
        ));
        Ok(())
    }
}
