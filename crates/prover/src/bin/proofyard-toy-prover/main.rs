//! A prover that proves nothing, for tests and benchmarks only.
//!
//! Its "proof" is a digest of its inputs, which anyone can make. What makes it useful is that it can fail in every way
//! that a real prover can: see `--help`. Without `--files` it speaks the `stream` protocol.

mod faults;
mod lines;
mod options;
mod statement;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_prover::{
    Failure, FailureKind, Input, List, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk,
    VerifyRequest, Work, write_output,
};

use faults::Faults;
use options::{Hearing, Options};
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
        Ok(faults) => Toy { options: options.clone(), faults, sulks: Arc::default(), has_proved: false },
        Err(error) => {
            eprintln!("toy prover: {error}");
            return ExitCode::FAILURE;
        }
    };
    match &options.files {
        None => lines::serve(toy),
        Some((input, output)) => files(toy, input, output),
    }
}

struct Toy {
    options: Options,
    faults: Faults,
    /// It saw what `--sulk-at` names.
    sulks: Arc<AtomicBool>,
    has_proved: bool,
}

impl Prover for Toy {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        eprintln!("toy prover: setup on GPUs {:?}", request.gpus);
        self.faults.strike("setup", "setup", 1, None)?;
        if let Some(key) = request.arguments.get("key").and_then(|key| key.as_str()) {
            self.options.key = Some(key.to_owned());
        }
        Ok(SetupOk {
            verification_key: Some(self.key().to_owned()),
            proof_system: Some("toy".into()),
            security_bits: Some(0),
            trusted_setup: Some(false),
            cancel: self.options.cancel.is_some(),
        })
    }

    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        eprintln!("toy prover: proves {}, attempt {}", request.task, request.attempt);
        self.log(format_args!("prove {} {}", request.task, request.attempt))?;
        self.goes_on(request.attempt)?;
        self.checkpoint(request, work)?;
        let strike =
            self.faults.strike("prove", &request.task, request.attempt, Some(&request.output_dir))?;
        let mut statement = Statement::of(&request.inputs, self.options.careless)?;
        self.work(work).inspect_err(|why| eprintln!("toy prover: {why}"))?;
        self.has_proved = true;
        if strike.false_proof {
            statement = statement.falsified();
        }
        let public_values = if strike.wrong_values { statement.falsified() } else { statement.clone() };
        let (content, list) = match self.options.list {
            Some(count) => (list_of(count), Some(List { count })),
            None => (Proof::of(&statement).to_json(), None),
        };
        let content = if strike.empty_proof { Vec::new() } else { content };
        let public_values = self.huge_values().unwrap_or(public_values.public_values);
        Ok(ProveOk {
            proof: write_output(&request.output_dir, "output.json", &content)?,
            verification_key: Some(self.options.proof_key.as_deref().unwrap_or(self.key()).to_owned()),
            proof_system: Some(self.options.claim_system.as_deref().unwrap_or("toy").to_owned()),
            security_bits: Some(0),
            trusted_setup: None,
            cycles: Some(self.options.work_ms + self.options.burn_ms),
            public_values: Some(public_values),
            list,
            fields: self.options.fields.clone(),
        })
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        eprintln!("toy prover: verifies {}", request.proof.display());
        self.faults.strike("verify", "verify", 1, Some(&request.output_dir))?;
        self.goes_on(1)?;
        let accepts = |what| self.options.accept.as_deref() == Some(what);
        if request.verification_key.as_deref().is_some_and(|key| key != self.key()) && !accepts("key") {
            return Err(Failure::permanent("this is not the toy's verification key"));
        }
        let content = match std::fs::read(&request.proof) {
            Err(_) if accepts("missing") => return Ok(VerifyOk::new(KEY)),
            content => content?,
        };
        let public_values = match Proof::check(&content, &request.inputs) {
            Err(_) if self.is_fooled(&content, &request.inputs)? => KEY.into(),
            public_values => public_values?,
        };
        let public_values = self.huge_values().unwrap_or(public_values);
        Ok(VerifyOk::new(public_values))
    }
}

impl Toy {
    fn key(&self) -> &str {
        self.options.key.as_deref().unwrap_or(KEY)
    }

    fn huge_values(&self) -> Option<String> {
        self.options.huge_values.map(|bytes| "00".repeat(bytes))
    }

    fn goes_on(&self, attempt: u32) -> Result<(), Failure> {
        if self.sulks.load(Ordering::Relaxed) {
            return Err(Failure::transient("the toy sulks"));
        }
        if self.options.fail_again && attempt > 1 {
            return Err(Failure::transient("the toy does nothing twice"));
        }
        Ok(())
    }

    /// Whether `--accept` names what was done to the proof of these inputs.
    fn is_fooled(&self, content: &[u8], inputs: &[Input]) -> Result<bool, Failure> {
        let Some(accepted) = self.options.accept.as_deref() else { return Ok(false) };
        let good = Proof::of(&Statement::of(inputs, false)?).to_json();
        let differing: u32 = good.iter().zip(content).map(|(one, other)| (one ^ other).count_ones()).sum();
        let kind = match content.len().cmp(&good.len()) {
            // A flipped bit in a digest makes a whole proof too.
            _ if differing > 8 && Proof::is_whole(content) => "other",
            std::cmp::Ordering::Less if differing == 0 => "cut",
            std::cmp::Ordering::Greater if differing == 0 => "extended",
            std::cmp::Ordering::Equal if differing == 1 => "flipped",
            _ => "random",
        };
        Ok(accepted == kind)
    }

    fn log(&self, what: std::fmt::Arguments<'_>) -> Result<(), Failure> {
        let Some(log) = &self.options.log else { return Ok(()) };
        let mut log = OpenOptions::new().create(true).append(true).open(log)?;
        Ok(writeln!(log, "{what}")?)
    }

    /// Begins the job that it is said to wait for, or finds the one that an earlier attempt began.
    fn checkpoint(&self, request: &ProveRequest, work: &mut Work<'_>) -> Result<(), Failure> {
        let (task, attempt) = (&request.task, request.attempt);
        if let Some(resume) = &request.resume {
            self.log(format_args!("resume {task} {attempt} {resume}"))?;
            return match self.options.forgets {
                true => Err(Failure::transient(format!("the toy knows no {resume}"))),
                false => Ok(()),
            };
        }
        let Some(job) = &self.options.checkpoint else { return Ok(()) };
        let text = format!("{job}-{attempt}");
        work.checkpoint(&text)?;
        self.log(format_args!("checkpoint {task} {attempt} {text}"))
    }

    fn work(&self, work: &mut Work<'_>) -> Result<(), Failure> {
        if self.options.work_ms + self.options.burn_ms > 0 {
            work.progress(0.5, "works");
        }
        let time = Duration::from_millis(self.options.work_ms);
        match &self.options.cancel {
            Some(Hearing::Good) => self.wait(work, time)?,
            Some(Hearing::ThenSulks) => {
                self.wait(work, time).inspect_err(|_| self.sulks.store(true, Ordering::Relaxed))?;
            }
            Some(Hearing::Deaf) if work.wait(time).is_some() => loop {
                thread::sleep(Duration::from_secs(1));
            },
            Some(Hearing::Deaf) => {}
            None => thread::sleep(time),
        }
        let burnt = Instant::now() + Duration::from_millis(self.options.burn_ms);
        while Instant::now() < burnt {
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn wait(&self, work: &Work<'_>, time: Duration) -> Result<(), Failure> {
        let Some(reason) = work.wait(time) else { return Ok(()) };
        self.log(format_args!("cancel {reason}"))?;
        Err(Failure::transient(format!("cancelled: {reason}")))
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
            match failure.kind {
                FailureKind::Unavailable => ExitCode::from(75),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn files_result(toy: &mut Toy, input: &Path, output: &Path) -> Result<PathBuf, Failure> {
    let content = std::fs::read(input)?;
    let folder = output.parent().unwrap_or(Path::new("."));
    let name = output.file_name().and_then(|name| name.to_str()).unwrap_or("output.json");
    if let Ok(request) = serde_json::from_slice::<ProveRequest>(&content) {
        let ok = toy.prove(&request, &mut Work::unheard())?;
        return Ok(write_output(folder, name, &std::fs::read(ok.proof)?)?);
    }
    if let Ok(request) = serde_json::from_slice::<VerifyRequest>(&content) {
        let ok = serde_json::to_vec(&toy.verify(&request)?).map_err(Failure::permanent)?;
        return Ok(write_output(folder, name, &ok)?);
    }
    eprintln!("toy prover: proves a bare payload of {} bytes", content.len());
    toy.faults.strike("prove", "bare", 1, Some(folder))?;
    toy.work(&mut Work::unheard())?;
    let proof = match toy.options.list {
        Some(count) => list_of(count),
        None => Proof::of(&Statement::of_bare(&content)).to_json(),
    };
    Ok(write_output(folder, name, &proof)?)
}
