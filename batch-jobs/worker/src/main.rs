//! `proofyard-worker`: the program of a job of AWS Batch. `proofyard worker` is the same from anywhere else.

use std::process::ExitCode;

use clap::Parser;
use proofyard_batch_worker::{WorkerArguments, WorkerError, log_in_json, work};
use proofyard_core::error::{Coded, with_causes};
use proofyard_prover::runner::GuardCommand;

#[derive(Parser)]
#[command(name = "proofyard-worker", version, about = "Proves the tasks of one pool of a yard on AWS")]
struct Arguments {
    /// Which yard; PROOFYARD_YARD names it where this does not.
    #[arg(long, value_name = "NAME")]
    aws: Option<String>,
    #[command(flatten)]
    worker: WorkerArguments,
}

fn main() -> ExitCode {
    if let Some(ended) = GuardCommand::guard_if_asked() {
        return ended;
    }
    let arguments = Arguments::parse();
    log_in_json();
    let worked = GuardCommand::this_program()
        .map_err(WorkerError::no_program)
        .and_then(|guard| work(&arguments.worker, arguments.aws.as_deref(), guard));
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(code = %error.code(), error = %with_causes(&error), "the worker cannot go on");
            ExitCode::FAILURE
        }
    }
}
