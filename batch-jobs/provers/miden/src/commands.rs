//! The program's verbs: each is a prover of the protocol, on stdin and stdout.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use proofyard_prover::serve::Work;
use proofyard_prover::{
    Failure, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, serve,
    write_output,
};
use proofyard_statement::inputs::{block_and_proofs, expect_key, proofs, range_values, segment, whole_block};
use proofyard_statement::proof_file::{format_of, read_bounded};
use proofyard_statement::{Error, ProofFile};

use crate::bundle::Bundle;
use crate::programs::{
    BLOCK_FORMAT, BlockProgram, MAX_PROOF_BYTES, MergeProgram, RANGE_FORMAT, RangeProgram, SEGMENT_FORMAT,
    SegmentProgram,
};
use crate::vm::{Machine, ProofHash, security_bits};

const PROOF_SYSTEM: &str = "miden-stark";

const MAX_THREADS: usize = 1_024;

const USAGE: &str = "\
usage: proofyard-miden segment [--inner]   prove a segment of a block
       proofyard-miden join                bundle a block's segment proofs; checked together
       proofyard-miden block [--inner]     prove a whole block at once
       proofyard-miden merge               prove a block from its segments' proofs: one proof that verified them
       proofyard-miden range               prove a range from proofs of blocks and of ranges
       each speaks the prover protocol on stdin and stdout
       --inner       commit with Poseidon2, so that merge and range can verify the proof; about twice as slow
       --threads N   prove on so many threads instead of one for each core; on one, the same request gives the
                     same bytes";

/// What the program does with its arguments.
pub fn run(arguments: &[&str]) -> ExitCode {
    let (verb, options) = match arguments {
        [] => return usage("nothing was asked for"),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [verb, options @ ..] => (*verb, options),
    };
    let options = match Options::read(options) {
        Ok(options) => options,
        Err(why) => return usage(&why),
    };
    match (verb, options.inner) {
        ("segment", _) => served(SegmentProgram::new().map(|program| Segments(program, options.hash()))),
        ("block", _) => served(BlockProgram::new().map(|program| Blocks(program, options.hash()))),
        ("join", false) => served(SegmentProgram::new().map(Joins)),
        ("merge", false) => served(MergeProgram::new().map(Merges)),
        ("range", false) => served(RangeProgram::new().map(Ranges)),
        ("join" | "merge" | "range", true) => usage(&format!("{verb} has no --inner")),
        _ => usage(&format!("{verb:?} is not understood here")),
    }
}

#[derive(Default)]
struct Options {
    inner: bool,
}

impl Options {
    fn read(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--inner" => options.inner = true,
                "--threads" => use_threads(arguments.next().copied().unwrap_or_default())?,
                other => return Err(format!("{other:?} is not understood here")),
            }
        }
        Ok(options)
    }

    fn hash(&self) -> ProofHash {
        if self.inner { ProofHash::Poseidon2 } else { ProofHash::Blake3 }
    }
}

fn use_threads(number: &str) -> Result<(), String> {
    let threads = number.parse().ok().filter(|threads| (1..=MAX_THREADS).contains(threads));
    let threads = threads.ok_or_else(|| format!("--threads {number:?}: expected 1 to {MAX_THREADS}"))?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(|e| format!("--threads: {e}"))
}

fn served(prover: Result<impl Prover, Error>) -> ExitCode {
    match prover {
        Ok(prover) => serve(prover),
        Err(error) => {
            eprintln!("proofyard-miden: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("proofyard-miden: {why}\n{USAGE}");
    ExitCode::from(2)
}

struct Segments(SegmentProgram, ProofHash);
struct Joins(SegmentProgram);
struct Blocks(BlockProgram, ProofHash);
struct Merges(MergeProgram);
struct Ranges(RangeProgram);

impl Prover for Segments {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(setup_ok(self.0.machine()))
    }

    fn prove(&mut self, request: &ProveRequest, _work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let (block, index) = segment(&request.inputs)?;
        written(request, "segment.proof", &self.0.prove(&block, index, self.1)?)
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        check_key(self.0.machine(), request)?;
        let (block, index) = segment(&request.inputs)?;
        let file = ProofFile::read(&request.proof, SEGMENT_FORMAT, MAX_PROOF_BYTES)?;
        verified(&self.0.verify(&file, &block, index)?.to_bytes())
    }
}

impl Prover for Joins {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(setup_ok(self.0.machine()))
    }

    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let (block, paths) = block_and_proofs(&request.inputs)?;
        work.progress(0.0, "checking the segment proofs");
        let bundle = Bundle { segments: read_all(&paths, SEGMENT_FORMAT)? };
        let values = bundle.verify(&self.0, &block)?;
        let path = write_output(&request.output_dir, "block.proof", &bundle.to_bytes()?)?;
        Ok(prove_ok(self.0.machine().verification_key(), path, &values.to_bytes()))
    }

    /// The proof's own segment proofs are checked, not the inputs': the block alone is enough.
    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        check_key(self.0.machine(), request)?;
        let (block, _) = block_and_proofs(&request.inputs)?;
        verified(&Bundle::read(&request.proof)?.verify(&self.0, &block)?.to_bytes())
    }
}

impl Prover for Blocks {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(setup_ok(self.0.machine()))
    }

    fn prove(&mut self, request: &ProveRequest, _work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let block = whole_block(&request.inputs)?;
        written(request, "block.proof", &self.0.prove(&block, self.1)?)
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        check_key(self.0.machine(), request)?;
        let block = whole_block(&request.inputs)?;
        let values = self.0.check(&ProofFile::read(&request.proof, BLOCK_FORMAT, MAX_PROOF_BYTES)?)?;
        values.expect(&block.checked_values()?)?;
        verified(&values.to_bytes())
    }
}

impl Prover for Merges {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(setup_ok(self.0.machine()))
    }

    fn prove(&mut self, request: &ProveRequest, _work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let (block, paths) = block_and_proofs(&request.inputs)?;
        written(request, "block.proof", &self.0.prove(&block, &read_all(&paths, SEGMENT_FORMAT)?)?)
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        check_key(self.0.machine(), request)?;
        let (block, _) = block_and_proofs(&request.inputs)?;
        let values = self.0.check(&ProofFile::read(&request.proof, BLOCK_FORMAT, MAX_PROOF_BYTES)?)?;
        values.expect(&block.checked_values()?)?;
        verified(&values.to_bytes())
    }
}

impl Prover for Ranges {
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(setup_ok(self.0.machine()))
    }

    fn prove(&mut self, request: &ProveRequest, _work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let read = |(path, _): (&Path, _)| read_either(path);
        let files = proofs(&request.inputs)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        written(request, "range.proof", &self.0.prove(&files)?)
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        check_key(self.0.machine(), request)?;
        let values = self.0.check(&ProofFile::read(&request.proof, RANGE_FORMAT, MAX_PROOF_BYTES)?)?;
        values.expect(&range_values(&request.inputs)?)?;
        verified(&values.to_bytes())
    }
}

fn read_all(paths: &[&Path], format: &'static str) -> Result<Vec<ProofFile>, Error> {
    paths.iter().map(|path| ProofFile::read(path, format, MAX_PROOF_BYTES)).collect()
}

/// A proof of a block or of a range.
fn read_either(path: &Path) -> Result<ProofFile, Error> {
    let format = match format_of(&read_bounded(path, MAX_PROOF_BYTES)?)?.as_str() {
        RANGE_FORMAT => RANGE_FORMAT,
        _ => BLOCK_FORMAT,
    };
    ProofFile::read(path, format, MAX_PROOF_BYTES)
}

fn check_key(machine: &Machine, request: &VerifyRequest) -> Result<(), Error> {
    expect_key(request.verification_key.as_deref(), &machine.verification_key())
}

fn setup_ok(machine: &Machine) -> SetupOk {
    SetupOk {
        verification_key: Some(hex::encode(machine.verification_key())),
        proof_system: Some(PROOF_SYSTEM.into()),
        security_bits: Some(security_bits()),
        trusted_setup: Some(false),
        ..SetupOk::default()
    }
}

fn written(request: &ProveRequest, name: &str, file: &ProofFile) -> Result<ProveOk, Failure> {
    let path = write_output(&request.output_dir, name, &file.to_bytes()?)?;
    Ok(prove_ok(&file.verification_key, path, &file.public_values))
}

fn prove_ok(key: impl AsRef<[u8]>, proof: PathBuf, public_values: &[u8]) -> ProveOk {
    ProveOk {
        proof,
        verification_key: Some(hex::encode(key)),
        proof_system: Some(PROOF_SYSTEM.into()),
        security_bits: Some(security_bits()),
        public_values: Some(hex::encode(public_values)),
        ..ProveOk::default()
    }
}

fn verified(public_values: &[u8]) -> Result<VerifyOk, Failure> {
    Ok(VerifyOk::new(hex::encode(public_values)))
}
