//! `proofyard explain HEIGHT`: why a block is not committed, or how it was.

use clap::Args;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardArguments, block_on};

/// Why a block waits: for what, who holds it since when, what was tried, and what would move it.
#[derive(Args)]
pub struct Explain {
    height: u64,
    #[command(flatten)]
    yard: YardArguments,
}

impl Explain {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let yard = self.yard.look()?;
        let explanation = block_on(yard.explain(&self.yard.one_chain(&yard)?, self.height))?;
        if json {
            return output::json(&explanation);
        }
        output::line(explanation.to_string().trim_end());
        Ok(())
    }
}
