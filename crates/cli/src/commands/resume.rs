//! `proofyard resume`: ends a pause, or a halt.

use clap::Args;
use proofyard_core::operation::Operation;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardArguments};

/// Ends a pause, or a halt once its cause is settled.
#[derive(Args)]
pub struct Resume {
    #[command(flatten)]
    pub yard: YardArguments,
}

impl Resume {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let answer = self.yard.ask(access, |chain| Operation::Resume { chain })?;
        if json {
            return output::json(&answer);
        }
        output::line("resumed");
        Ok(())
    }
}
