//! The `proofyard` command: one verb, one file in `commands`.
//!
//! Exit code 0: done; 1: work failed or is parked; 2: bad usage, config or input. A run that a signal ended has 128 and
//! the signal's number.

mod commands;
mod either;
mod elsewhere;
mod ending;
mod failure;
mod heights;
mod output;
mod progress;
mod proving;
mod signals;
mod yard;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use proofyard_report::{figures as text, table};

use crate::commands::{
    check, demo, explain, keep, pause, prover, redo, redrive, report, resume, retry, run, serve, status,
    verify, window, worker,
};

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
    Demo(demo::Demo),
    Check(check::Check),
    Run(run::Run),
    Status(status::Status),
    Explain(explain::Explain),
    Verify(verify::Verify),
    Report(report::Report),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Retry(retry::Retry),
    Window(window::Window),
    Keep(keep::Keep),
    Redrive(redrive::Redrive),
    Serve(serve::Serve),
    Worker(worker::Worker),
    Redo(redo::Redo),
    Prover(prover::Prover),
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
        Verb::Demo(demo) => demo.run(json),
        Verb::Check(check) => check.run(json),
        Verb::Run(run) => run.run(json),
        Verb::Status(status) => status.run(json),
        Verb::Explain(explain) => explain.run(json),
        Verb::Verify(verify) => verify.run(json),
        Verb::Report(report) => report.run(json),
        Verb::Pause(pause) => pause.run(json),
        Verb::Resume(resume) => resume.run(json),
        Verb::Retry(retry) => retry.run(json),
        Verb::Window(window) => window.run(json),
        Verb::Keep(keep) => keep.run(json),
        Verb::Redrive(redrive) => redrive.run(json),
        Verb::Serve(serve) => serve.run(),
        Verb::Worker(worker) => worker.run(),
        Verb::Redo(redo) => redo.run(json),
        Verb::Prover(prover) => prover.run(json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(json),
    }
}
