//! A prover in Rust: its "proof" of a block is the SHA-256 of the block, which its verifier computes again.
//!
//! It is a whole program. A real one loads its keys in `setup`, and runs its proof system in `prove` and `verify`.

use std::process::ExitCode;

use proofyard_prover::{
    Failure, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, Work, serve,
    write_output,
};
use sha2::{Digest, Sha256};

pub struct DigestProver;

impl Prover for DigestProver {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(SetupOk {
            // Lower-case hex, as all binary values. It names the program that is proved.
            verification_key: Some("d1".to_owned()),
            proof_system: Some("digest".to_owned()),
            security_bits: Some(0),
            trusted_setup: Some(false),
            ..SetupOk::default()
        })
    }

    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let digest = digest(&request.inputs)?;
        work.progress(0.5, "the inputs are read");
        let proof = write_output(&request.output_dir, "proof", digest.as_bytes())?;
        Ok(ProveOk { proof, public_values: Some(digest), ..ProveOk::default() })
    }

    /// In another process than the one that proved.
    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        let proof = std::fs::read_to_string(&request.proof)?;
        match digest(&request.inputs)? {
            digest if digest == proof => Ok(VerifyOk::new(digest)),
            digest => Err(Failure::permanent(format!("the inputs hash to {digest}, not to {proof}"))),
        }
    }
}

fn digest(inputs: &[proofyard_prover::Input]) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update(input.read()?);
    }
    Ok(hex::encode(hash.finalize()))
}

fn main() -> ExitCode {
    serve(DigestProver)
}
