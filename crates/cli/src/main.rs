//! The `proofyard` command: one verb, one file in `commands`.
//!
//! Exit code 0: done; 1: work failed or is parked; 2: bad usage, config or input.

mod commands;
mod failure;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{check, run};

/// Proves a chain of blocks, in order, and survives anything.
#[derive(Parser)]
#[command(name = "proofyard", version, about, max_term_width = 110)]
struct Arguments {
    /// Answers in JSON, one document a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(check::Check),
    Run(run::Run),
}

fn main() -> ExitCode {
    // A prover's guard is this same program under another first argument, so that one file is all there is to install.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == commands::GUARD_ARGUMENT) {
        return proofyard_prover::guard_main(arguments);
    }
    let arguments = Arguments::parse();
    let json = arguments.json;
    let done = match arguments.verb {
        Verb::Check(check) => check.run(json),
        Verb::Run(run) => run.run(json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(json),
    }
}
