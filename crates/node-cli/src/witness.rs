//! `proofyard-node witness`: what a prover needs with a block, as a stream prover whose output is data.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use proofyard_core::pipeline::NodeSource;
use proofyard_node::{Endpoints, OfBlock, Witness, WitnessError};
use proofyard_prover::{
    Failure, InputKind, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, Work,
    serve,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

/// In the output folder.
const WITNESS: &str = "witness.json";

pub fn run() -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => serve(Fetcher { runtime, witness: None }),
        Err(error) => {
            eprintln!("proofyard-node: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Fetcher {
    runtime: Runtime,
    witness: Option<Witness>,
}

/// As [source.node.witness] says it.
#[derive(Deserialize)]
struct Told {
    rpc: Vec<String>,
    rpc_from: Vec<String>,
    method: String,
    params: Value,
    time_limit_ms: u64,
}

/// A line of blocks.
#[derive(Deserialize)]
struct Line {
    block: OfBlock,
}

impl Prover for Fetcher {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        let told: Told =
            serde_json::from_value(Value::Object(request.arguments.clone())).map_err(Failure::permanent)?;
        let source = NodeSource { rpc: told.rpc, rpc_from: told.rpc_from, ..NodeSource::default() };
        let endpoints =
            Endpoints::of(&source, |name| std::env::var(name).ok()).map_err(Failure::permanent)?;
        // So that each node may be asked within the limit.
        let nodes = u64::try_from(endpoints.rpc.len()).unwrap_or(1).max(1);
        let silence = Duration::from_millis((told.time_limit_ms / nodes).saturating_sub(1_000).max(1_000));
        let witness =
            Witness::new(endpoints.rpc, told.method, told.params, silence).map_err(Failure::permanent)?;
        self.witness = Some(witness);
        Ok(SetupOk::default())
    }

    fn prove(&mut self, request: &ProveRequest, _: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let Some(witness) = &self.witness else {
            return Err(Failure::permanent("it was not set up"));
        };
        let [input] = request.inputs.as_slice() else {
            return Err(Failure::permanent("a witness is of one block"));
        };
        if input.kind != InputKind::Block {
            return Err(Failure::permanent("a witness is of a block"));
        }
        let unreadable =
            |error: &dyn std::fmt::Display| Failure::permanent(format!("the block cannot be read: {error}"));
        let file = File::open(&input.path).map_err(|error| unreadable(&error))?;
        let Line { block } =
            serde_json::from_reader(BufReader::new(file)).map_err(|error| unreadable(&error))?;
        let output: PathBuf = request.output_dir.join(WITNESS);
        let fetched = self.runtime.block_on(witness.fetch(&block, &output, &request.output_dir));
        match fetched {
            Ok(_) => Ok(ProveOk { proof: output, ..ProveOk::default() }),
            Err(error) => Err(failure(&error)),
        }
    }

    fn verify(&mut self, _: &VerifyRequest) -> Result<VerifyOk, Failure> {
        Err(Failure::permanent("a witness is no proof: whoever proves with it finds out whether it is right"))
    }
}

fn failure(error: &WitnessError) -> Failure {
    match error {
        WitnessError::Unavailable { .. } => Failure::unavailable(error),
        WitnessError::Missing { .. } | WitnessError::Io(_) => Failure::transient(error),
        WitnessError::NotKnown { .. } => Failure::permanent(error),
    }
}
