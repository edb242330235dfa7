//! `proofyard worker --aws NAME --pool POOL`: a worker for a yard on AWS, on any machine that reaches it.

use clap::Args;
use proofyard_batch_worker::{WorkerArguments, log_in_json, work};
use proofyard_cli::commands::guard;
use proofyard_cli::failure::Failure;

/// Claims a pool's tasks of a yard on AWS, proves and records, until it is asked to stop. Its log is JSON.
#[derive(Args)]
pub struct Worker {
    /// The yard on AWS, by its name.
    #[arg(long, value_name = "NAME")]
    aws: String,
    #[command(flatten)]
    worker: WorkerArguments,
}

impl Worker {
    pub fn run(&self) -> Result<(), Failure> {
        log_in_json();
        work(&self.worker, Some(&self.aws), guard()?).map_err(Failure::work)
    }
}
