//! `proofyard explain HEIGHT`: why a block is not committed, or how it was.

use clap::Args;

use crate::failure::Failure;
use crate::output;
use crate::yard::{YardAccess, YardArguments};

/// Why a block waits: for what, who holds it since when, what was tried, and what would move it.
#[derive(Args)]
pub struct Explain {
    height: u64,
    #[command(flatten)]
    pub yard: YardArguments,
}

impl Explain {
    pub fn run<Y: YardAccess>(&self, access: &Y, json: bool) -> Result<(), Failure> {
        let yard = access.look()?;
        let explanation = access.block_on(yard.explain(&self.yard.one_chain(access, &yard)?, self.height))?;
        if json {
            return output::json(&explanation);
        }
        output::line(explanation.to_string().trim_end());
        Ok(())
    }
}
