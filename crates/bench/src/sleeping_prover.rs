//! A prover that sleeps for an exact time, and whose proof is so many bytes. Its verifier reads nothing.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use proofyard_prover::{
    Failure, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, Work,
    write_output,
};

pub struct SleepingProver {
    pub prove: Duration,
    pub proof_bytes: usize,
}

/// Its public values, of every proof.
const PUBLIC_VALUES: &str = "00";

impl SleepingProver {
    fn sleep(&self) -> Vec<u8> {
        if !self.prove.is_zero() {
            thread::sleep(self.prove);
        }
        vec![7; self.proof_bytes]
    }

    /// The same for a prover that is started for each task.
    pub fn prove_file(&self, output: &Path) -> io::Result<()> {
        std::fs::write(output, self.sleep())
    }

    pub fn verify_file(output: &Path) -> io::Result<()> {
        std::fs::write(output, format!("{{\"public_values\":\"{PUBLIC_VALUES}\"}}"))
    }
}

impl Prover for SleepingProver {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(SetupOk::default())
    }

    fn prove(&mut self, request: &ProveRequest, _work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let proof = write_output(&request.output_dir, "proof", &self.sleep())?;
        Ok(ProveOk { proof, public_values: Some(PUBLIC_VALUES.to_owned()), ..ProveOk::default() })
    }

    fn verify(&mut self, _request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        Ok(VerifyOk::new(PUBLIC_VALUES))
    }
}
