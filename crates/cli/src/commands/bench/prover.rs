//! The sleeping prover as a program: how it is asked for, and what it does.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use proofyard_bench::{Commands, Load, SleepingProver};
use proofyard_core::error::Code;
use proofyard_prover::serve;

use crate::failure::Failure;

/// Of each proof: as large as a small one of Groth16 with its public values.
const PROOF_BYTES: usize = 1_024;

/// The prover of `bench`.
#[derive(Args)]
pub struct BenchProver {
    #[arg(long)]
    prove_ms: u64,
    #[arg(long)]
    proof_bytes: usize,
    /// It was started for one task, whose input and output files these are.
    #[arg(long, num_args = 2, value_names = ["INPUT", "OUTPUT"])]
    files: Option<Vec<PathBuf>>,
    /// It verifies.
    #[arg(long, requires = "files")]
    verify: bool,
}

impl BenchProver {
    pub fn run(&self) -> Result<(), Failure> {
        let prove = Duration::from_millis(self.prove_ms);
        let prover = SleepingProver { prove, proof_bytes: self.proof_bytes };
        let Some(output) = self.files.as_ref().and_then(|files| files.last()) else {
            // Its runner knows already how it ended.
            let _ = serve(prover);
            return Ok(());
        };
        let written =
            if self.verify { SleepingProver::verify_file(output) } else { prover.prove_file(output) };
        written.map_err(|error| {
            let message = format!("{} cannot be written", output.display());
            Failure::work_as(Code::FileUnwritable, message).caused_by(&error)
        })
    }
}

/// How this program is started for a load.
pub fn commands(program: String, load: &Load) -> Commands {
    let word = |text: &str| text.to_owned();
    let stream = vec![
        program,
        word("bench-prover"),
        word("--prove-ms"),
        load.prove_ms.to_string(),
        word("--proof-bytes"),
        PROOF_BYTES.to_string(),
    ];
    match load.prover {
        proofyard_bench::ProverKind::Files => {
            let files = [stream, ["--files", "{input}", "{output}"].map(word).to_vec()].concat();
            let verify = [files.clone(), vec![word("--verify")]].concat();
            Commands { prove: files, verify }
        }
        _ => Commands { prove: stream, verify: Vec::new() },
    }
}
