//! `proofyard`: the command. Yards on this machine are its own work; it runs `proofyard-aws` for those on AWS, and
//! `proofyard-node` where a node is followed.

use std::process::ExitCode;

use clap::Subcommand;
use proofyard_cli::commands::{YardVerb, bench, check, demo, plan, prover, run};
use proofyard_cli::here::Here;
use proofyard_cli::siblings::{OnlyOnAws, Sibling};

#[derive(Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Check(check::Check),
    Run(run::Run),
    #[command(flatten)]
    InAYard(YardVerb),
    /// Puts all dead letters of a yard on AWS back on the queues they are from.
    Redrive(OnlyOnAws),
    /// Polls a yard's queues on AWS itself, for those who do not want Lambda.
    Serve(OnlyOnAws),
    /// Claims a pool's tasks of a yard on AWS, proves and records, until it is asked to stop.
    Worker(OnlyOnAws),
    Prover(prover::Prover),
    Bench(bench::Bench),
    Plan(Box<plan::Plan>),
    #[command(hide = true)]
    BenchProver(bench::BenchProver),
}

fn main() -> ExitCode {
    proofyard_cli::main(|verb: Verb, json| match verb {
        Verb::Run(run) if run.aws.is_some() => Err(Sibling::Aws.take_over()),
        Verb::InAYard(verb) if verb.home().aws.is_some() => Err(Sibling::Aws.take_over()),
        Verb::Redrive(_) | Verb::Serve(_) | Verb::Worker(_) => Err(Sibling::Aws.take_over()),
        Verb::Demo(demo) => demo.run(json),
        Verb::Check(check) => check.run(json),
        Verb::Run(run) if run.follows_a_node() => Err(Sibling::Node.take_over()),
        Verb::Run(run) => run.here(json),
        Verb::InAYard(verb) => verb.run(&Here { data: verb.home().data.clone() }, json),
        Verb::Prover(prover) => prover.run(json),
        Verb::Bench(bench) => bench.run(json),
        Verb::Plan(plan) => plan.run(json),
        Verb::BenchProver(prover) => prover.run(),
    })
}
