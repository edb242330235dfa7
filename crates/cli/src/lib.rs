//! What the programs of the command have in common: `proofyard`, for yards on this machine, and those that it runs:
//! `proofyard-aws` for yards on AWS, `proofyard-node` for pipelines that follow a node. One verb, one file in `commands`; a verb that both homes have is written once, over
//! [`yard::YardAccess`].
//!
//! Exit code 0: done; 1: work failed or is parked; 2: bad usage, config or input. A run that a signal ended has 128 and
//! the signal's number.

pub mod commands;
pub mod failure;
pub mod heights;
pub mod here;
mod isolation;
pub mod output;
pub mod progress;
pub mod proving;
mod run_outcome;
pub mod siblings;
pub mod signals;
pub mod yard;

use std::process::ExitCode;

use clap::{Args, FromArgMatches, Parser, Subcommand};
use proofyard_core::error::Code;
use proofyard_prover::runner::GuardCommand;
use proofyard_report::{figures as text, table};

use crate::failure::Failure;

/// Proves a chain of blocks, in order, and survives anything.
#[derive(Parser)]
#[command(name = "proofyard", bin_name = "proofyard", version, max_term_width = 110)]
struct Arguments<V: Subcommand + FromArgMatches> {
    #[command(flatten)]
    answers: Answers,
    #[command(subcommand)]
    verb: V,
}

#[derive(Args)]
struct Answers {
    /// Answers in JSON, one document a line.
    #[arg(long, global = true)]
    json: bool,
}

/// A program's `main`: reads its arguments as one of its verbs, does that, and prints how it failed.
pub fn main<V: Subcommand>(run: impl FnOnce(V, bool) -> Result<(), Failure>) -> ExitCode {
    if let Some(ended) = GuardCommand::guard_if_asked() {
        return ended;
    }
    let Arguments { answers: Answers { json }, verb } = match Arguments::<V>::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| word == "--json") => {
            return bad_arguments(&error).print(true);
        }
        Err(help) => help.exit(),
    };
    match run(verb, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(json),
    }
}

/// What is wrong with the command line, without how it would be right: `--help` says that.
fn bad_arguments(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let said = text.split("\n\nUsage:").next().unwrap_or_default();
    Failure::usage_as(Code::BadArguments, said.trim().trim_start_matches("error: "))
}
