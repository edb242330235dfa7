//! `proofyard-node`: the half of the command that follows a node. `proofyard` runs it, with the arguments that it was given, as
//! git runs its own programs. `proofyard-node witness` is the prover that
//! `[source.node.witness]` names.

mod witness;

use std::process::ExitCode;

use clap::Subcommand;
use proofyard_cli::commands::run::Run;
use proofyard_cli::failure::Failure;
use proofyard_core::error::Code;
use proofyard_core::pipeline::NodeSource;
use proofyard_embedded::machine::{FeedError, LocalIntake};
use proofyard_intake::follower::Follower;
use proofyard_node::{Endpoints, RpcNodes, follow};

#[derive(Subcommand)]
enum Verb {
    Run(Run),
}

fn main() -> ExitCode {
    // A prover: it has no other output than its protocol's.
    if std::env::args().nth(1).as_deref() == Some("witness") {
        return witness::run();
    }
    proofyard_cli::main(|verb: Verb, json| match verb {
        Verb::Run(run) => follow_here(&run, json),
    })
}

/// Proves what the pipeline's node has, in a directory of this machine, until it is stopped.
fn follow_here(run: &Run, json: bool) -> Result<(), Failure> {
    let begun = run.begin(json)?;
    let pipeline = &begun.checked.pipeline;
    let Some(source) = pipeline.node.clone() else {
        return Err(Failure::usage_as(
            Code::BadArguments,
            "the pipeline names no node to follow, in [source.node]",
        ));
    };
    let endpoints = Endpoints::of(&source, |name| std::env::var(name).ok()).map_err(Failure::usage)?;
    let names = endpoints.names().collect::<Vec<_>>().join(", ");
    begun.progress.say(&format!("follows {names}"));
    let (chain, rules) = (pipeline.chain.name.clone(), begun.rules.clone());
    run.from_source(&begun, move |intake| {
        let follower = Source { chain, rules, source, endpoints };
        follower.run(intake)
    })
}

struct Source {
    chain: String,
    rules: proofyard_blocks::Rules,
    source: NodeSource,
    endpoints: Endpoints,
}

impl Source {
    fn run(&self, intake: &LocalIntake) -> Result<(), FeedError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(FeedError::no_source)?;
        let nodes = RpcNodes::new(&self.endpoints, &self.source).map_err(FeedError::no_source)?;
        runtime.block_on(async {
            let (rules, source) = (self.rules.clone(), &self.source);
            let mut follower = Follower::begin(intake.clone(), nodes, &self.chain, rules, source).await?;
            follow(&mut follower, &self.endpoints, source, || intake.is_stopped()).await
        })
    }
}
