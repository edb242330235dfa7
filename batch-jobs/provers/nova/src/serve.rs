//! The prover, as the protocol asks for it: one for blocks, one for ranges, with the same keys.

use proofyard_prover::{
    Failure, Input, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, Work,
    write_output,
};
use proofyard_statement::{Error, ProofFile, inputs};

use crate::keys::Keys;
use crate::prover::MAX_PROOF_BYTES;
use crate::statement::{Kind, Statement};

pub const PROOF_SYSTEM: &str = "nova-pallas-vesta";

/// The security of a proof's weakest assumption: the hash that links two steps is truncated to 250 bits, and finding a
/// collision of it takes 2^125 steps. A discrete logarithm on the curves takes about 2^126.
pub const SECURITY_BITS: u32 = 125;

/// Proves blocks or ranges.
pub struct NovaProver {
    kind: Kind,
    keys: Option<Keys>,
}

impl NovaProver {
    pub fn new(kind: Kind) -> Self {
        Self { kind, keys: None }
    }

    /// Makes the keys at the first call, which is `setup`'s unless it was left out.
    fn keys(&mut self) -> Result<&Keys, Error> {
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => Keys::make()?,
        };
        Ok(self.keys.insert(keys))
    }

    /// What a proof of these inputs must state.
    fn expected(&self, inputs: &[Input]) -> Result<Statement, Error> {
        match self.kind {
            Kind::Block => inputs::whole_block(inputs)?.checked_values().map(Statement::Block),
            Kind::Range => inputs::range_values(inputs).map(Statement::Range),
        }
    }
}

impl Prover for NovaProver {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(SetupOk {
            verification_key: Some(hex::encode(self.keys()?.id())),
            proof_system: Some(PROOF_SYSTEM.into()),
            security_bits: Some(SECURITY_BITS),
            trusted_setup: Some(false),
            ..SetupOk::default()
        })
    }

    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let kind = self.kind;
        let blocks = match kind {
            Kind::Block => vec![inputs::whole_block(&request.inputs)?],
            Kind::Range => inputs::blocks(&request.inputs)?,
        };
        // Errors of the blocks are found before seconds are spent on keys.
        kind.statement(&blocks)?;
        let proof = self.keys()?.prove(kind, &blocks, &mut |done, what| work.progress(done, what))?;
        let name = match kind {
            Kind::Block => "block.proof",
            Kind::Range => "range.proof",
        };
        Ok(ProveOk {
            proof: write_output(&request.output_dir, name, &proof.to_bytes()?)?,
            verification_key: Some(hex::encode(&proof.verification_key)),
            proof_system: Some(PROOF_SYSTEM.into()),
            security_bits: Some(SECURITY_BITS),
            public_values: Some(hex::encode(&proof.public_values)),
            ..ProveOk::default()
        })
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        let kind = self.kind;
        let expected = self.expected(&request.inputs)?;
        let file = ProofFile::read(&request.proof, kind.format(), MAX_PROOF_BYTES)?;
        let keys = self.keys()?;
        inputs::expect_key(request.verification_key.as_deref(), &keys.id())?;
        let statement = keys.check(&file, kind)?;
        statement.expect(&expected)?;
        Ok(VerifyOk::new(hex::encode(statement.to_bytes())))
    }
}
