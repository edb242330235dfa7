//! `proofyard-node`: the half of the command that follows a node, or stands between a consensus client and its execution client.
//! `proofyard` runs it, with the arguments that it was given, as git runs its own programs. `proofyard-node witness` is the prover
//! that `[source.node.witness]` and `[source.engine.witness]` name.

mod command;
mod witness;

use std::process::ExitCode;

use clap::Subcommand;
use proofyard_cli::commands::run::{Begun, Run};
use proofyard_cli::failure::Failure;
use proofyard_core::error::Code;
use proofyard_core::pipeline::{EngineSource, NodeSource};
use proofyard_core::state::ChainName;
use proofyard_embedded::machine::{FeedError, LocalIntake};
use proofyard_engine::Listener;
use proofyard_intake::follower::Follower;
use proofyard_node::{Endpoints, RpcNodes, follow};

/// In the data directory: what came of a consensus client and is not recorded yet, and witnesses.
const ENGINE_FOLDER: &str = "engine";

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
    if let Some(source) = &pipeline.engine {
        return stand_between(run, &begun, source);
    }
    let Some(source) = pipeline.node.clone() else {
        return Err(Failure::usage_as(
            Code::BadArguments,
            "the pipeline names no source of blocks: a node, in [source.node], or a consensus client, in [source.engine]",
        ));
    };
    let endpoints = Endpoints::of_environment(&source).map_err(Failure::usage)?;
    let names = endpoints.names().collect::<Vec<_>>().join(", ");
    begun.progress.say(&format!("follows {names}"));
    let (chain, rules) = (pipeline.chain.name.clone(), begun.rules.clone());
    run.from_source(&begun, move |intake| {
        let follower = Source { chain, rules, source, endpoints };
        follower.run(intake)
    })
}

/// Proves what a consensus client has its execution client check, until it is stopped.
fn stand_between(run: &Run, begun: &Begun, source: &EngineSource) -> Result<(), Failure> {
    let listener = Listener::bind(source).map_err(Failure::usage)?;
    begun.progress.say(&format!("lets calls through from {} to {}", source.listen, source.execution));
    let (chain, rules) = (begun.checked.pipeline.chain.name.clone(), begun.rules.clone());
    let folder = run.data.join(ENGINE_FOLDER);
    run.from_source(begun, move |intake| {
        let is_stopped = || intake.is_stopped();
        listener.run(intake, &chain, &rules, &folder, is_stopped, FeedError::no_source)
    })
}

struct Source {
    chain: ChainName,
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
