//! A program and the virtual machine: public inputs in, a STARK proof out, and the check of one.
//!
//! Miden's code parses bytes from outside here, so its panics are caught.

use std::panic::{AssertUnwindSafe, catch_unwind};

use miden_assembly::Assembler;
use miden_core::program::{Program, ProgramInfo};
use miden_core::{Felt, Word};
use miden_core_lib::CoreLibrary;
use miden_processor::advice::AdviceInputs;
use miden_processor::{DefaultHost, ExecutionOptions, StackInputs, StackOutputs, execute_sync};
use miden_prover::{ExecutionProof, HashFunction, ProvingOptions, prove_sync};
use proofyard_statement::Error;

use crate::assembly::source;
use crate::words::key_bytes;

/// Of each stack, in and out.
const STACK_ELEMENTS: usize = 16;

/// What a proof commits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofHash {
    /// The fastest to prove with.
    Blake3,
    /// About twice as slow, and the one that Miden's verifier inside the virtual machine checks.
    Poseidon2,
}

impl ProofHash {
    fn function(self) -> HashFunction {
        match self {
            Self::Blake3 => HashFunction::Blake3_256,
            Self::Poseidon2 => HashFunction::Poseidon2,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Blake3 => 0,
            Self::Poseidon2 => 1,
        }
    }
}

/// What is public of one run: the two stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub inputs: Vec<Felt>,
    pub outputs: Vec<Felt>,
}

/// One program, ready to be proved and checked.
pub struct Machine {
    program: Program,
}

impl Machine {
    /// Compiles a program that may name other programs' hashes.
    pub(crate) fn new(program: &str, pinned: &[(&str, Word)]) -> Result<Self, Error> {
        let assembling = |e| Error::Proving(format!("the program does not assemble: {e:?}"));
        let assembler =
            Assembler::default().with_dynamic_library(CoreLibrary::default()).map_err(assembling)?;
        let program = assembler.assemble_program(source(program, pinned)).map_err(assembling)?;
        Ok(Self { program })
    }

    /// The program's hash.
    pub fn hash(&self) -> Word {
        self.program.hash()
    }

    /// The program's hash as bytes: the verification key.
    pub fn verification_key(&self) -> [u8; 32] {
        key_bytes(&self.hash())
    }

    pub fn info(&self) -> ProgramInfo {
        self.program.to_info()
    }

    /// Runs the program without proving it.
    pub fn execute(&self, inputs: &[Felt], advice: AdviceInputs) -> Result<Vec<Felt>, Error> {
        let stack = stack_inputs(inputs)?;
        let mut host = host()?;
        let running = || execute_sync(&self.program, stack, advice, &mut host, ExecutionOptions::default());
        let output = catch_unwind(AssertUnwindSafe(running))
            .map_err(|_| Error::Proving("Miden panicked".into()))?
            .map_err(|e| Error::Proving(with_sources(&e)))?;
        Ok(output.stack.to_vec())
    }

    /// Proves a run, and returns its outputs and the proof: a byte for its hash, then Miden's own bytes.
    pub(crate) fn prove(
        &self,
        inputs: &[Felt],
        advice: AdviceInputs,
        hash: ProofHash,
    ) -> Result<(Vec<Felt>, Vec<u8>), Error> {
        let stack = stack_inputs(inputs)?;
        let mut host = host()?;
        let (execution, proving) = (ExecutionOptions::default(), ProvingOptions::new(hash.function()));
        let proving = || prove_sync(&self.program, stack, advice, &mut host, execution, proving);
        let (outputs, proof) = catch_unwind(AssertUnwindSafe(proving))
            .map_err(|_| Error::Proving("Miden panicked".into()))?
            .map_err(|e| Error::Proving(with_sources(&e)))?;
        Ok((outputs.to_vec(), [&[hash.byte()], proof.stark_proof()].concat()))
    }

    /// Checks a proof of this statement.
    pub(crate) fn verify(&self, statement: &Statement, proof: &[u8]) -> Result<(), Error> {
        let (hash, stark) = split_proof(proof)?;
        let inputs = stack_inputs(&statement.inputs)?;
        let outputs = StackOutputs::new(&statement.outputs).map_err(|e| Error::Proving(e.to_string()))?;
        let proof = ExecutionProof::new(stark.to_vec(), hash.function(), Vec::new());
        let verifying = || miden_verifier::verify(self.program.to_info(), inputs, outputs, proof);
        catch_unwind(AssertUnwindSafe(verifying))
            .map_err(|_| Error::Rejected("it is malformed".into()))?
            .map_err(|e| Error::Rejected(with_sources(&e)))?;
        Ok(())
    }
}

/// The hash that a proof commits with, and Miden's own bytes.
pub(crate) fn split_proof(proof: &[u8]) -> Result<(ProofHash, &[u8]), Error> {
    match proof.split_first() {
        Some((0, stark)) => Ok((ProofHash::Blake3, stark)),
        Some((1, stark)) => Ok((ProofHash::Poseidon2, stark)),
        _ => Err(Error::Rejected("it does not say which hash it commits with".into())),
    }
}

/// The security level in bits that the library gives every proof: a constant of the library, not computed.
pub fn security_bits() -> u32 {
    ExecutionProof::new(Vec::new(), HashFunction::Blake3_256, Vec::new()).security_level()
}

/// A stack with zeros below what is given.
pub(crate) fn whole_stack(elements: &[Felt]) -> Vec<Felt> {
    let mut stack = elements.to_vec();
    stack.resize(STACK_ELEMENTS, Felt::from_u32(0));
    stack
}

pub(crate) fn stack_inputs(elements: &[Felt]) -> Result<StackInputs, Error> {
    StackInputs::new(elements).map_err(|e| Error::Proving(e.to_string()))
}

fn host() -> Result<DefaultHost, Error> {
    DefaultHost::default().with_library(&CoreLibrary::default()).map_err(|e| Error::Proving(e.to_string()))
}

pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
