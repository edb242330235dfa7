//! A prover that proves nothing, for tests and benchmarks only.
//!
//! Its "proof" is a digest of its inputs, which anyone can make. What makes it useful is that it can fail in every way
//! that a real prover can: see `--help`. Without `--files` it speaks the `stream` protocol.

mod faults;
mod options;
mod statement;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_prover::serve::Progress;
use proofyard_prover::{
    Failure, List, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, serve,
    write_output,
};

use faults::Faults;
use options::Options;
use statement::{KEY, Proof, Statement};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let toy = match Faults::new(options.clone()) {
        Ok(faults) => Toy { options: options.clone(), faults },
        Err(error) => {
            eprintln!("toy prover: {error}");
            return ExitCode::FAILURE;
        }
    };
    match &options.files {
        None => serve(toy),
        Some((input, output)) => files(toy, input, output),
    }
}

struct Toy {
    options: Options,
    faults: Faults,
}

impl Prover for Toy {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        eprintln!("toy prover: setup on GPUs {:?}", request.gpus);
        self.faults.strike("setup", "setup", 1, None)?;
        let verification_key = Some(KEY.to_string());
        Ok(SetupOk {
            verification_key,
            proof_system: Some("toy".into()),
            security_bits: Some(0),
            trusted_setup: Some(false),
        })
    }

    fn prove(&mut self, request: &ProveRequest, progress: &mut Progress<'_>) -> Result<ProveOk, Failure> {
        eprintln!("toy prover: proves {}, attempt {}", request.task, request.attempt);
        if let Some(log) = &self.options.log {
            let mut log = OpenOptions::new().create(true).append(true).open(log)?;
            writeln!(log, "prove {} {}", request.task, request.attempt)?;
        }
        let strike =
            self.faults.strike("prove", &request.task, request.attempt, Some(&request.output_dir))?;
        self.work(progress);
        let mut statement = Statement::of(&request.inputs)?;
        if strike.false_proof {
            statement = statement.falsified();
        }
        let public_values = if strike.wrong_values { statement.falsified() } else { statement.clone() };
        let (content, list) = match self.options.list {
            Some(count) => (list_of(count), Some(List { count })),
            None => (Proof::of(&statement).to_json(), None),
        };
        Ok(ProveOk {
            proof: write_output(&request.output_dir, "output.json", &content)?,
            verification_key: Some(KEY.into()),
            proof_system: Some("toy".into()),
            security_bits: Some(0),
            trusted_setup: None,
            cycles: Some(self.options.work_ms + self.options.burn_ms),
            public_values: Some(public_values.public_values),
            list,
            fields: self.options.fields.clone(),
        })
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        eprintln!("toy prover: verifies {}", request.proof.display());
        self.faults.strike("verify", "verify", 1, Some(&request.output_dir))?;
        if request.verification_key.as_deref().is_some_and(|key| key != KEY) {
            return Err(Failure::permanent("this is not the toy's verification key"));
        }
        let proof = Proof::read(&request.proof)?;
        let public_values = proof.check(&request.inputs)?;
        Ok(VerifyOk { public_values })
    }
}

impl Toy {
    fn work(&self, progress: &mut Progress<'_>) {
        if self.options.work_ms + self.options.burn_ms > 0 {
            progress(0.5, "works");
        }
        thread::sleep(Duration::from_millis(self.options.work_ms));
        let burnt = Instant::now() + Duration::from_millis(self.options.burn_ms);
        while Instant::now() < burnt {
            std::hint::spin_loop();
        }
    }
}

fn list_of(count: u32) -> Vec<u8> {
    let elements: Vec<String> = (0..count).map(|index| format!("{{\"element\":{index}}}")).collect();
    format!("[{}]", elements.join(",")).into_bytes()
}

/// The `files` protocol: the input says what is wanted. What is no request is a bare payload, to be proved.
fn files(mut toy: Toy, input: &Path, output: &Path) -> ExitCode {
    match files_result(&mut toy, input, output) {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("toy prover: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn files_result(toy: &mut Toy, input: &Path, output: &Path) -> Result<PathBuf, Failure> {
    let content = std::fs::read(input)?;
    let folder = output.parent().unwrap_or(Path::new("."));
    let name = output.file_name().and_then(|name| name.to_str()).unwrap_or("output.json");
    if let Ok(request) = serde_json::from_slice::<ProveRequest>(&content) {
        let ok = toy.prove(&request, &mut |_, _| {})?;
        return Ok(write_output(folder, name, &std::fs::read(ok.proof)?)?);
    }
    if let Ok(request) = serde_json::from_slice::<VerifyRequest>(&content) {
        let ok = serde_json::to_vec(&toy.verify(&request)?).map_err(Failure::permanent)?;
        return Ok(write_output(folder, name, &ok)?);
    }
    eprintln!("toy prover: proves a bare payload of {} bytes", content.len());
    toy.faults.strike("prove", "bare", 1, Some(folder))?;
    toy.work(&mut |_, _| {});
    let proof = match toy.options.list {
        Some(count) => list_of(count),
        None => Proof::of(&Statement::of_bare(&content)).to_json(),
    };
    Ok(write_output(folder, name, &proof)?)
}
