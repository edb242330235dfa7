//! `proofyard redrive --aws NAME`: messages that nobody could take are taken again.

use clap::Args;
use proofyard_cli::failure::Failure;
use proofyard_cli::output;
use proofyard_cli::yard::YardAccess;
use proofyard_core::explain::count;

use crate::yard::OnAws;

/// Puts all dead letters of a yard on AWS back on the queues they are from. Those that still cannot be taken come back
/// there, with the reason as an attribute.
#[derive(Args)]
pub struct Redrive {
    /// The yard on AWS, by its name.
    #[arg(long, value_name = "NAME")]
    aws: String,
}

impl Redrive {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let yard = OnAws::named(Some(&self.aws))?;
        let messages = yard.block_on(yard.home.redrive()).map_err(Failure::work)?;
        if json {
            return output::json(&serde_json::json!({ "done": "redriven", "messages": messages }));
        }
        output::line(format!("{} put back on their queues", count(messages as u64, "message")));
        Ok(())
    }
}
