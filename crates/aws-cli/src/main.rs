//! `proofyard-aws`: the half of the command that is about yards on AWS. `proofyard` runs it, with the arguments that it was
//! given, as git runs its own programs; the verbs that both homes have are the same, over [`yard::OnAws`].

mod redrive;
mod run;
mod serve;
mod worker;
mod yard;

use std::process::ExitCode;

use clap::Subcommand;
use proofyard_cli::commands::YardVerb;
use proofyard_cli::commands::run::Run;

use crate::yard::OnAws;

#[derive(Subcommand)]
enum Verb {
    Run(Run),
    #[command(flatten)]
    InAYard(YardVerb),
    Redrive(redrive::Redrive),
    Serve(serve::Serve),
    Worker(worker::Worker),
}

fn main() -> ExitCode {
    proofyard_cli::main(|verb: Verb, json| match verb {
        Verb::Run(run) => run::run(&run, json),
        Verb::InAYard(verb) => verb.run(&OnAws::named(verb.home().aws.as_deref())?, json),
        Verb::Redrive(redrive) => redrive.run(json),
        Verb::Serve(serve) => serve.run(),
        Verb::Worker(worker) => worker.run(),
    })
}
