//! The two provers of this program, as the protocol asks for them: `segment` and `join`.

use std::path::PathBuf;

use proofyard_prover::serve::Progress;
use proofyard_prover::{
    Failure, Input, InputKind, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest,
    write_output,
};

use crate::artifact::{BlockProof, SegmentProof};
use crate::block::Block;
use crate::error::Error;
use crate::vm::{SegmentVm, security_bits};

const PROOF_SYSTEM: &str = "miden-stark";

/// Proves one segment of a block.
pub struct SegmentProver(pub SegmentVm);

/// Bundles the segment proofs of a block, checked together.
pub struct Joiner(pub SegmentVm);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.is_permanent() { Self::permanent(error) } else { Self::transient(error) }
    }
}

impl Prover for SegmentProver {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(setup_ok(&self.0))
    }

    fn prove(&mut self, request: &ProveRequest, _progress: &mut Progress<'_>) -> Result<ProveOk, Failure> {
        let (block, index) = segment_input(&request.inputs)?;
        let proof = self.0.prove_segment(&block, index)?;
        let path = write_output(&request.output_dir, "segment.proof", &proof.to_bytes()?)?;
        Ok(prove_ok(&self.0, path, &proof.statement.to_bytes()))
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        check_key(&self.0, request.verification_key.as_deref())?;
        let (block, index) = segment_input(&request.inputs)?;
        let statement = self.0.verify_segment(&SegmentProof::read(&request.proof)?, &block, index)?;
        Ok(VerifyOk { public_values: hex::encode(statement.to_bytes()) })
    }
}

impl Prover for Joiner {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(setup_ok(&self.0))
    }

    fn prove(&mut self, request: &ProveRequest, progress: &mut Progress<'_>) -> Result<ProveOk, Failure> {
        let block = block_input(&request.inputs)?;
        let paths =
            request.inputs.iter().filter(|input| input.kind == InputKind::Proof).map(|input| &input.path);
        let segments = paths.map(|path| SegmentProof::read(path)).collect::<Result<Vec<_>, _>>()?;
        progress(0.0, "checking the segment proofs");
        let proof = self.0.join(segments, &block)?;
        let bytes = proof.to_bytes()?;
        let path = write_output(&request.output_dir, "block.proof", &bytes)?;
        Ok(prove_ok(&self.0, path, &proof.statement.to_bytes()))
    }

    /// The proof's own segment proofs are checked, not the inputs': the block alone is enough.
    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        check_key(&self.0, request.verification_key.as_deref())?;
        let block = block_input(&request.inputs)?;
        let statement = self.0.verify_block(&BlockProof::read(&request.proof)?, &block)?;
        Ok(VerifyOk { public_values: hex::encode(statement.to_bytes()) })
    }
}

fn setup_ok(vm: &SegmentVm) -> SetupOk {
    SetupOk {
        verification_key: Some(key(vm)),
        proof_system: Some(PROOF_SYSTEM.into()),
        security_bits: Some(security_bits()),
        trusted_setup: Some(false),
    }
}

fn prove_ok(vm: &SegmentVm, proof: PathBuf, public_values: &[u8]) -> ProveOk {
    ProveOk {
        proof,
        verification_key: Some(key(vm)),
        proof_system: Some(PROOF_SYSTEM.into()),
        security_bits: Some(security_bits()),
        trusted_setup: Some(false),
        public_values: Some(hex::encode(public_values)),
        ..ProveOk::default()
    }
}

fn key(vm: &SegmentVm) -> String {
    hex::encode(vm.verification_key().as_bytes())
}

fn check_key(vm: &SegmentVm, pinned: Option<&str>) -> Result<(), Failure> {
    match pinned {
        Some(pinned) if pinned != key(vm) => Err(Failure::permanent(format!(
            "this verifier's verification key is {}, not {}",
            key(vm),
            pinned.chars().take(80).collect::<String>()
        ))),
        _ => Ok(()),
    }
}

fn segment_input(inputs: &[Input]) -> Result<(Block, usize), Failure> {
    let [Input { kind: InputKind::Block, path, index: Some(index), .. }] = inputs else {
        return Err(Failure::permanent("the one input must be a block with the index of a segment"));
    };
    Ok((Block::read(path)?, *index as usize))
}

fn block_input(inputs: &[Input]) -> Result<Block, Failure> {
    let mut blocks = inputs.iter().filter(|input| input.kind == InputKind::Block);
    match (blocks.next(), blocks.next()) {
        (Some(block), None) => Ok(Block::read(&block.path)?),
        _ => Err(Failure::permanent("the inputs must be one block and the proofs of its segments, in order")),
    }
}
