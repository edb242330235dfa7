//! The proved program and the virtual machine: a statement in, a STARK proof out, and the check of one.
//!
//! The program's hash is the verification key. A verifier compiles the program itself and never takes the hash
//! from a proof. Miden's code sees bytes from outside here, so whatever it may panic on is caught.

use std::panic::{AssertUnwindSafe, catch_unwind};

use miden_assembly::Assembler;
use miden_core::program::Program;
use miden_core::{Felt, Word};
use miden_processor::advice::AdviceInputs;
use miden_processor::{DefaultHost, ExecutionOptions, StackInputs, StackOutputs};
use miden_prover::{ExecutionProof, HashFunction, ProvingOptions, prove_sync};

use crate::error::Error;
use crate::statement::SegmentStatement;
use crate::word::{TransactionHash, limbs, word_to_hex};

const SOURCE: &str = include_str!("segment.masm");

/// The hash that the STARK commits with; the fastest of Miden's, since nothing verifies these proofs in a circuit.
const PROOF_HASH: HashFunction = HashFunction::Blake3_256;

/// More would not fit a small machine's memory in one proof; a block is cut into segments for that.
pub const MAX_SEGMENT_TRANSACTIONS: usize = 1024;

/// Proves and checks segments.
pub struct SegmentVm {
    program: Program,
}

impl SegmentVm {
    /// Compiles the program.
    pub fn new() -> Result<Self, Error> {
        let program =
            Assembler::default().assemble_program(SOURCE).map_err(|e| Error::Proving(format!("{e:?}")))?;
        Ok(Self { program })
    }

    /// The program's hash: the verification key.
    pub fn verification_key(&self) -> Word {
        self.program.hash()
    }

    /// Proves the statement, and returns the STARK proof. A statement that is not true has no proof.
    pub fn prove(
        &self,
        statement: &SegmentStatement,
        transactions: &[TransactionHash],
    ) -> Result<Vec<u8>, Error> {
        if transactions.len() > MAX_SEGMENT_TRANSACTIONS {
            return Err(Error::Block(format!(
                "a segment has at most {MAX_SEGMENT_TRANSACTIONS} transactions"
            )));
        }
        if statement.from.checked_add(transactions.len() as u32) != Some(statement.to) {
            return Err(Error::Block("the segment's range is not its number of transactions".into()));
        }
        let advice = AdviceInputs::default().with_stack(transactions.iter().flat_map(advice_of));
        let inputs = stack_inputs(statement)?;
        let proving = || {
            prove_sync(
                &self.program,
                inputs,
                advice,
                &mut DefaultHost::default(),
                ExecutionOptions::default(),
                ProvingOptions::new(PROOF_HASH),
            )
        };
        let (outputs, proof) = catch_unwind(AssertUnwindSafe(proving))
            .map_err(|_| Error::Proving("Miden panicked".into()))?
            .map_err(|e| Error::Proving(e.to_string()))?;
        if outputs != stack_outputs(statement)? {
            return Err(Error::Block(format!(
                "the transactions take the pre-state to {}, not to the post-state {}",
                outputs.get_word(0).map_or_else(String::new, |word| word_to_hex(&word)),
                word_to_hex(&statement.post),
            )));
        }
        Ok(proof.stark_proof().to_vec())
    }

    /// Checks a STARK proof of the statement; returns the security level in bits that the library gives it.
    pub fn verify(&self, statement: &SegmentStatement, stark_proof: &[u8]) -> Result<u32, Error> {
        let (inputs, outputs) = (stack_inputs(statement)?, stack_outputs(statement)?);
        let proof = ExecutionProof::new(stark_proof.to_vec(), PROOF_HASH, Vec::new());
        let verifying = || miden_verifier::verify(self.program.to_info(), inputs, outputs, proof);
        catch_unwind(AssertUnwindSafe(verifying))
            .map_err(|_| Error::Rejected("it is malformed".into()))?
            .map_err(|e| Error::Rejected(with_sources(&e)))
    }
}

/// The security level in bits that the library gives every proof: a constant of the library, not computed.
pub fn security_bits() -> u32 {
    ExecutionProof::new(Vec::new(), PROOF_HASH, Vec::new()).security_level()
}

fn stack_inputs(statement: &SegmentStatement) -> Result<StackInputs, Error> {
    let mut elements = statement.pre.as_elements().to_vec();
    elements.extend([statement.from, statement.to].map(Felt::from_u32));
    elements.extend(halves(statement.chain_id));
    elements.extend(halves(statement.height));
    StackInputs::new(&elements).map_err(|e| Error::Proving(e.to_string()))
}

fn stack_outputs(statement: &SegmentStatement) -> Result<StackOutputs, Error> {
    let mut elements = statement.post.as_elements().to_vec();
    elements.extend_from_slice(statement.transactions_digest.as_elements());
    StackOutputs::new(&elements).map_err(|e| Error::Proving(e.to_string()))
}

/// A 64-bit integer may be above the field's order; its halves never are.
fn halves(value: u64) -> [Felt; 2] {
    [value & 0xffff_ffff, value >> 32].map(Felt::new_unchecked)
}

/// The program reads the second half of a hash first, because the last word read is the top of the stack.
fn advice_of(transaction: &TransactionHash) -> [Felt; 8] {
    let mut limbs = limbs(transaction);
    limbs.rotate_left(4);
    limbs
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
