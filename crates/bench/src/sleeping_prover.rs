//! A prover that sleeps for an exact time, and whose proof is so many bytes. Its verifier reads nothing.

use std::thread;
use std::time::Duration;

use proofyard_prover::{
    Failure, Progress, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest,
    write_output,
};

pub struct SleepingProver {
    pub prove: Duration,
    pub proof_bytes: usize,
}

/// Its public values, of every proof.
const PUBLIC_VALUES: &str = "00";

impl Prover for SleepingProver {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(SetupOk::default())
    }

    fn prove(&mut self, request: &ProveRequest, _progress: &mut Progress<'_>) -> Result<ProveOk, Failure> {
        if !self.prove.is_zero() {
            thread::sleep(self.prove);
        }
        let proof = write_output(&request.output_dir, "proof", &vec![7; self.proof_bytes])?;
        Ok(ProveOk { proof, public_values: Some(PUBLIC_VALUES.to_owned()), ..ProveOk::default() })
    }

    fn verify(&mut self, _request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        Ok(VerifyOk::new(PUBLIC_VALUES))
    }
}
