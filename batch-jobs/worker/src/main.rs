//! `proofyard-worker`: the program of a job of AWS Batch. `proofyard worker` is the same from anywhere else.

use std::process::ExitCode;

use clap::Parser;
use proofyard_batch_worker::{WorkerArguments, log_in_json, work};
use proofyard_prover::runner::GuardCommand;

/// The first argument under which this program is a prover's guard.
const GUARD_ARGUMENT: &str = "guard";

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
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == GUARD_ARGUMENT) {
        return proofyard_prover::guard_main(arguments);
    }
    let arguments = Arguments::parse();
    log_in_json();
    let worked = std::env::current_exe().map_err(|error| error.to_string()).and_then(|program| {
        let guard = GuardCommand { program, leading_arguments: vec![GUARD_ARGUMENT.to_owned()] };
        work(&arguments.worker, arguments.aws.as_deref(), guard).map_err(|error| error.to_string())
    });
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the worker cannot go on");
            ExitCode::FAILURE
        }
    }
}
