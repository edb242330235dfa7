//! `proofyard-node witness`: what a prover needs with a block, as a stream prover whose output is data. Nodes are asked for it, or a
//! program is.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use proofyard_core::error::with_causes;
use proofyard_core::pipeline::NodeSource;
use proofyard_engine::{GuestBlock, GuestInputError, write_guest_input};
use proofyard_node::{Endpoints, OfBlock, Witness, WitnessError};
use proofyard_prover::{
    Failure, FailureKind, InputKind, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk,
    VerifyRequest, Work, serve,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::command::Program;

/// In the output folder.
const WITNESS: &str = "witness";
const WRITE_BYTES: usize = 1 << 20;

pub fn run() -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            serve(Fetcher { runtime, from: Source::Nodes { witnesses: Vec::new(), guest_chain_id: None } })
        }
        Err(error) => {
            eprintln!("proofyard-node: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Fetcher {
    runtime: Runtime,
    from: Source,
}

enum Source {
    /// Asked one after another.
    Nodes {
        witnesses: Vec<Witness>,
        guest_chain_id: Option<u64>,
    },
    Program(Program),
}

/// As [source.node.witness] says it where it names a program.
#[derive(Deserialize)]
struct ProgramArguments {
    command: Vec<String>,
}

/// As [source.node.witness] or [source.engine.witness] says it otherwise.
#[derive(Deserialize)]
struct NodeArguments {
    #[serde(flatten)]
    first: Asked,
    /// Who is asked for what the first do not have.
    otherwise: Option<Asked>,
    /// Where what provers get is the input of EIP-8025's guest.
    guest_chain_id: Option<u64>,
    time_limit_ms: u64,
}

#[derive(Deserialize)]
struct Asked {
    rpc: Vec<String>,
    rpc_from: Vec<String>,
    method: String,
    params: Value,
}

/// A line of blocks.
#[derive(Deserialize)]
struct Line {
    block: OfBlock,
}

impl Prover for Fetcher {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        let arguments = Value::Object(request.arguments.clone());
        self.from = if request.arguments.contains_key("command") {
            let told: ProgramArguments = serde_json::from_value(arguments).map_err(Failure::permanent)?;
            Source::Program(Program::new(told.command)?)
        } else {
            nodes(serde_json::from_value(arguments).map_err(Failure::permanent)?)?
        };
        Ok(SetupOk::default())
    }

    fn prove(&mut self, request: &ProveRequest, _: &mut Work<'_>) -> Result<ProveOk, Failure> {
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
        let (witnesses, guest_chain_id) = match &self.from {
            Source::Nodes { witnesses, guest_chain_id } => (witnesses, *guest_chain_id),
            Source::Program(program) => {
                program.fetch(&block, &input.path, &output)?;
                return Ok(ProveOk { proof: output, ..ProveOk::default() });
            }
        };
        // A block that is no guest's input is none with any witness.
        let guest = match guest_chain_id {
            None => None,
            Some(chain_id) => {
                let line = fs::read(&input.path).map_err(|error| unreadable(&error))?;
                Some((GuestBlock::of_line(&line).map_err(Failure::permanent)?, chain_id))
            }
        };
        let mut failed = None;
        for witness in witnesses {
            let fetched = self.runtime.block_on(witness.fetch(&block, &output, &request.output_dir));
            let done = fetched.map_err(|error| failure(&error)).and_then(|_| match &guest {
                Some((block, chain_id)) => in_place_of(&output, block, *chain_id),
                None => Ok(()),
            });
            match done {
                Ok(()) => return Ok(ProveOk { proof: output, ..ProveOk::default() }),
                Err(error) => failed = Some(and_then(failed, error)),
            }
        }
        Err(failed.unwrap_or_else(|| Failure::permanent("it was not set up")))
    }

    fn verify(&mut self, _: &VerifyRequest) -> Result<VerifyOk, Failure> {
        Err(Failure::permanent("a witness is no proof: whoever proves with it finds out whether it is right"))
    }
}

fn nodes(told: NodeArguments) -> Result<Source, Failure> {
    let mut all = Vec::new();
    for Asked { rpc, rpc_from, method, params } in [Some(told.first), told.otherwise].into_iter().flatten() {
        let source = NodeSource { rpc, rpc_from, ..NodeSource::default() };
        let endpoints = Endpoints::of_environment(&source).map_err(Failure::permanent)?;
        all.push((endpoints.rpc, method, params));
    }
    // So that each node may be asked within the limit.
    let nodes = u64::try_from(all.iter().map(|(urls, ..)| urls.len()).sum::<usize>()).unwrap_or(1).max(1);
    let silence = Duration::from_millis((told.time_limit_ms / nodes).saturating_sub(1_000).max(1_000));
    // One for each node: where the witness of one is not fit for a guest, the next is asked.
    let witnesses = all.into_iter().flat_map(|(urls, method, params)| {
        urls.into_iter().map(move |url| Witness::new(vec![url], method.clone(), params.clone(), silence))
    });
    let witnesses = witnesses.collect::<Result<_, _>>().map_err(Failure::permanent)?;
    Ok(Source::Nodes { witnesses, guest_chain_id: told.guest_chain_id })
}

/// Makes the guest's input of a witness and its block, and puts it where the witness was. That one is read without its name
/// meanwhile, so that it counts for nothing in a folder whose size is limited.
fn in_place_of(witness: &Path, block: &GuestBlock, chain_id: u64) -> Result<(), Failure> {
    let came = File::open(witness)?;
    fs::remove_file(witness)?;
    let mut output = BufWriter::with_capacity(WRITE_BYTES, File::create_new(witness)?);
    let written = write_guest_input(block, &came, chain_id, &mut output);
    written.map(drop).map_err(|error| match error {
        GuestInputError::Block(_) => Failure::permanent(error),
        GuestInputError::Witness(_) | GuestInputError::Io(_) => Failure::transient(with_causes(&error)),
    })
}

/// What two who were asked come to: it is hopeless only where both say so.
fn and_then(first: Option<Failure>, second: Failure) -> Failure {
    let Some(first) = first else { return second };
    let message = format!("{}; and {}", first.message, second.message);
    match [first.kind, second.kind] {
        kinds if kinds.contains(&FailureKind::Unavailable) => Failure::unavailable(message),
        kinds if kinds.contains(&FailureKind::Transient) => Failure::transient(message),
        _ => Failure::permanent(message),
    }
}

fn failure(error: &WitnessError) -> Failure {
    match error {
        WitnessError::Unavailable { .. } => Failure::unavailable(with_causes(error)),
        WitnessError::Missing { .. } | WitnessError::Io(_) => Failure::transient(with_causes(error)),
        WitnessError::NotKnown { .. } => Failure::permanent(with_causes(error)),
    }
}
