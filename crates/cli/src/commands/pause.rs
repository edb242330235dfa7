//! `proofyard pause`: nothing new starts until `resume`.

use clap::Args;
use proofyard_core::operation::Operation;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardArguments};

/// Nothing new is opened or claimed until `resume`; running work ends, and commits go on.
#[derive(Args)]
pub struct Pause {
    #[command(flatten)]
    pub yard: YardArguments,
}

impl Pause {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let answer = self.yard.ask(access, |chain| Operation::Pause { chain })?;
        if json {
            return output::json(&answer);
        }
        output::line("paused: running work ends, nothing new starts; `proofyard resume` goes on");
        Ok(())
    }
}
