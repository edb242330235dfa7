//! `proofyard redrive --aws NAME`: messages that nobody could take are taken again.

use clap::Args;
use proofyard_core::explain::count;

use crate::failure::Failure;
use crate::output;
use crate::yard::{block_on, on_aws};

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
        let home = on_aws(&self.aws)?;
        let messages = block_on(home.redrive()).map_err(Failure::work)?;
        if json {
            return output::json(&serde_json::json!({ "done": "redriven", "messages": messages }));
        }
        output::line(format!("{} put back on their queues", count(messages as u64, "message")));
        Ok(())
    }
}
