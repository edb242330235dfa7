//! Proving and checking: fold every step, compress, and check what came of it.
//!
//! The proof in a file is the number of steps (u64, big-endian), then the compressed proof. The prover states the number,
//! but the proof is of exactly that many steps: it is hashed together with `z_0` and `z_n`. For whatever number it verifies,
//! so many steps lead from the one to the other, which is the statement; the number itself is no part of it. It is bounded,
//! so that it cannot exceed the library's counter.
//!
//! Proofs are blinded, so that proving a block twice gives two files. A proof's bytes have one canonical form, and any other
//! encoding is refused, so that nobody but a prover can make another file of a proof.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nova_snark::errors::NovaError;
use proofyard_prover::Progress;
use proofyard_statement::{Block, Error, ProofFile};

use crate::keys::{Compressed, Folded, Keys};
use crate::statement::{Kind, MAX_STEPS, Statement, count_steps};
use crate::step::{Scalar, steps_of};

/// A proof has between 11 and 12 thousand bytes, whatever it proves.
pub const MAX_PROOF_BYTES: usize = 32 << 10;

/// About how many steps' time it takes to compress.
const COMPRESSION_STEPS: usize = 64;

impl Keys {
    /// Proves these blocks: one of them, or a range in order.
    pub fn prove(
        &self,
        kind: Kind,
        blocks: &[Block],
        progress: &mut Progress<'_>,
    ) -> Result<ProofFile, Error> {
        let statement = kind.statement(blocks)?;
        let steps = count_steps(blocks)?;
        let proof = guarded(|| self.fold_and_compress(&statement, blocks, steps, progress), Error::Proving)?;
        Ok(ProofFile {
            format: kind.format(),
            verification_key: self.id().to_vec(),
            public_values: statement.to_bytes(),
            proof,
        })
    }

    /// Checks that the proof proves the values that it states, whatever they are.
    pub fn check(&self, file: &ProofFile, kind: Kind) -> Result<Statement, Error> {
        if file.format != kind.format() {
            let (found, expected) = (file.format, kind.format());
            return Err(Error::ProofFile(format!("its format is {found:?}, expected {expected:?}")));
        }
        if file.verification_key != self.id() {
            let (found, own) = (hex::encode(&file.verification_key), hex::encode(self.id()));
            return Err(Error::Rejected(format!("it is made with the key {found}, expected {own}")));
        }
        let statement = kind.statement_from_bytes(&file.public_values)?;
        let after_last = || Error::Rejected("its last block is at the last height of all".into());
        let (begin, end) = statement.boundaries().ok_or_else(after_last)?;
        let found = guarded(
            || {
                let (steps, compressed) = decode(&file.proof)?;
                let checked = compressed.verify(&self.verifier, steps, &begin.to_elements());
                checked.map_err(|e| Error::Rejected(reason(e)))
            },
            Error::Rejected,
        )?;
        if found == end.to_elements() {
            return Ok(statement);
        }
        Err(Error::Rejected("its steps lead elsewhere than its public values say".into()))
    }

    fn fold_and_compress(
        &self,
        statement: &Statement,
        blocks: &[Block],
        steps: usize,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<u8>, Error> {
        let after_last =
            || Error::Block("it is at the last height of all; a proof ends at the height after it".into());
        let (begin, end) = statement.boundaries().ok_or_else(after_last)?;
        let folded = self.fold(&begin.to_elements(), blocks, steps, progress)?;
        if folded.num_steps() != steps || folded.outputs() != end.to_elements() {
            return Err(Error::Proving("the steps lead elsewhere than the blocks do".into()));
        }
        progress(done_of(steps, steps), "compressing");
        let compressed = Compressed::prove(&self.parameters, &self.prover, &folded).map_err(failed)?;
        encode(steps, &compressed)
    }

    fn fold(
        &self,
        begin: &[Scalar],
        blocks: &[Block],
        steps: usize,
        progress: &mut Progress<'_>,
    ) -> Result<Folded, Error> {
        let mut folded: Option<Folded> = None;
        let mut done = 0;
        for (index, block) in blocks.iter().enumerate() {
            let what = format!("block {} of {}", index + 1, blocks.len());
            for step in steps_of(block) {
                progress(done_of(done, steps), &what);
                match &mut folded {
                    Some(folded) => folded.prove_step(&self.parameters, &step).map_err(failed)?,
                    None => {
                        let first = Folded::new(&self.parameters, &step, begin).map_err(failed)?;
                        // Its first call only counts: the step itself is done by `new`.
                        folded.insert(first).prove_step(&self.parameters, &step).map_err(failed)?;
                    }
                }
                done += 1;
            }
        }
        folded.ok_or_else(|| Error::Inputs("expected at least one block".into()))
    }
}

fn done_of(done: usize, steps: usize) -> f64 {
    done as f64 / (steps + COMPRESSION_STEPS) as f64
}

fn encode(steps: usize, compressed: &Compressed) -> Result<Vec<u8>, Error> {
    let mut bytes = (steps as u64).to_be_bytes().to_vec();
    bincode::serde::encode_into_std_write(compressed, &mut bytes, bincode::config::legacy())
        .map_err(|e| Error::Proving(format!("the proof cannot be written: {e}")))?;
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<(usize, Compressed), Error> {
    let Some((steps, rest)) = bytes.split_first_chunk() else {
        return Err(Error::ProofFile("its proof has no number of steps".into()));
    };
    let steps = u64::from_be_bytes(*steps);
    let bounded = usize::try_from(steps).ok().filter(|steps| (1..=MAX_STEPS).contains(steps));
    let steps = bounded.ok_or_else(|| {
        Error::ProofFile(format!("its proof is of {steps} steps, expected 1 to {MAX_STEPS}"))
    })?;
    // The limit bounds the memory that a length in the file could ask for.
    let config = bincode::config::legacy().with_limit::<MAX_PROOF_BYTES>();
    let (compressed, _) = bincode::serde::decode_from_slice(rest, config)
        .map_err(|e| Error::ProofFile(format!("its proof cannot be read: {e}")))?;
    if encode(steps, &compressed)? != bytes {
        return Err(Error::ProofFile("its proof is not in its canonical form".into()));
    }
    Ok((steps, compressed))
}

fn failed(error: NovaError) -> Error {
    Error::Proving(reason(error))
}

/// The library's error with its cause, which its own text leaves out.
fn reason(error: NovaError) -> String {
    match error {
        NovaError::ProofVerifyError { reason }
        | NovaError::UnSat { reason }
        | NovaError::SynthesisError { reason } => reason,
        other => other.to_string(),
    }
}

/// The library asserts what it expects of its arguments: a panic in it becomes an error.
fn guarded<T>(
    work: impl FnOnce() -> Result<T, Error>,
    error: impl FnOnce(String) -> Error,
) -> Result<T, Error> {
    let text = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        error(format!("the library panicked: {}", text.unwrap_or("without a message")))
    };
    catch_unwind(AssertUnwindSafe(work)).map_err(text)?
}
