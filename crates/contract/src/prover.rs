//! The program as a stage's prover: a stream prover whose output is what a call came to.

use std::process::ExitCode;
use std::time::Duration;

use proofyard_contract::{OfTask, Place, act};
use proofyard_core::pipeline::Contract;
use proofyard_core::state::FailureKind;
use proofyard_prover::{
    Failure, InputKind, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, Work,
    serve, write_output,
};
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::Here;

/// In the output folder.
const OUTCOME: &str = "outcome.json";
/// Of an attempt's time, what is left for saying for what it waited.
const LEFT_MS: u64 = 2_000;

pub fn run(place: Place) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => serve(Caller { here: Here::default(), runtime, place, told: None }),
        Err(error) => {
            eprintln!("proofyard-contract: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Caller {
    here: Here,
    runtime: Runtime,
    place: Place,
    told: Option<SetupArguments>,
}

/// As the stage says it.
#[derive(Deserialize)]
struct SetupArguments {
    contract: Contract,
}

impl Prover for Caller {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        let told = serde_json::from_value(request.arguments.clone().into());
        self.told = Some(told.map_err(Failure::permanent)?);
        Ok(SetupOk::default())
    }

    fn prove(&mut self, request: &ProveRequest, _: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let told = self.told.as_ref().ok_or_else(|| Failure::permanent("it was not set up"))?;
        let proof = request.inputs.iter().find(|input| input.kind == InputKind::Proof);
        let block = request.inputs.iter().find(|input| input.kind == InputKind::Block);
        let task = OfTask {
            id: request.task.clone(),
            proof: proof.map(|proof| proof.path.clone()),
            public_values: proof.and_then(|proof| proof.public_values.clone()),
            verification_key: proof.and_then(|proof| proof.verification_key.clone()),
            block: block.map(|block| block.path.clone()),
        };
        let left_ms = LEFT_MS.min(request.deadline_ms / 4);
        let contract =
            Contract { time_limit_ms: request.deadline_ms.saturating_sub(left_ms), ..told.contract.clone() };
        // One call can hang: what is under way is found again by the next attempt.
        let limit = Duration::from_millis(request.deadline_ms.saturating_sub(left_ms / 2));
        let acted = self.runtime.block_on(async {
            tokio::time::timeout(limit, act(&contract, &task, &self.place, &self.here)).await
        });
        let outcome = acted
            .map_err(|_| Failure::unavailable("the chain's nodes take too long to answer"))?
            .map_err(failure)?;
        let output = write_output(&request.output_dir, OUTCOME, outcome.to_string().as_bytes())?;
        Ok(ProveOk { proof: output, ..ProveOk::default() })
    }

    fn verify(&mut self, _: &VerifyRequest) -> Result<VerifyOk, Failure> {
        Err(Failure::permanent("what a call came to is no proof"))
    }
}

fn failure(failure: proofyard_contract::Failure) -> Failure {
    match failure.kind() {
        FailureKind::Unavailable | FailureKind::Waits { .. } => Failure::unavailable(failure.reason()),
        FailureKind::Permanent => Failure::permanent(failure.reason()),
        _ => Failure::transient(failure.reason()),
    }
}
