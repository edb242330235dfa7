//! `sp1-cluster`: the API of a cluster of SP1's provers, gRPC: `cluster.ClusterService`, and its artifacts in Redis.
//!
//! We choose the ids, of jobs and of artifacts. A job that has ended keeps its id for good, so the task's next job takes the next
//! one; so it does where the proof of a completed one is not kept any more. The cluster passes over a job whose deadline is over,
//! and leaves it as it is.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use proofyard_prover::Failure;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::artifact_store::{ArtifactStore, Keep};
use crate::grpc::{Wrong, code, meaning};
use crate::http::{Line, NoAnswer, SHORT, words};
use crate::protobuf::{Value, bytes, fields, number, put_bytes, put_number};
use crate::service::{About, Job, Proof, Service, ServiceError, State, Submitted, Task};
use crate::settings::{Arguments, Settings};

pub(crate) struct Sp1Cluster {
    elf: PathBuf,
    mode: (&'static str, u64),
    /// The input is an `SP1Stdin` in bincode already, not what the guest reads.
    is_stdin: bool,
    deadline: Duration,
    cycle_limit: u64,
    /// None where `setup` refuses the arguments.
    artifacts: Option<ArtifactStore>,
    max_proof_bytes: u64,
    guest: OnceCell<Guest>,
}

struct Guest {
    elf: Vec<u8>,
    /// Of its artifact: everybody's who has this ELF proved.
    id: String,
}

/// `ProofMode`.
const MODES: [(&str, u64); 4] = [("core", 1), ("compressed", 2), ("plonk", 3), ("groth16", 4)];
/// What the cluster's own command asks for.
const DEFAULT_DEADLINE_S: u64 = 4 * 3600;
const MOST_DEADLINE_S: u64 = 30 * 24 * 3600;
/// How the cluster's words begin of a job that is over its limit.
const OVER_CYCLE_LIMIT: &str = "cycle limit exceeded";
/// How long the cluster's own clients keep artifacts but programs.
const KEEP_S: u64 = 6 * 3600;
/// A job may be completed in the last moment, and clocks differ.
const AFTER_DEADLINE: Duration = Duration::from_secs(60);
/// After this many jobs for one task that have ended without a proof, give up.
const ENDED_JOBS: u32 = 100;
/// How long to look for a job whose creation was not confirmed.
const LOOK_FOR: Duration = Duration::from_secs(3);
const ANSWER_BYTES: u64 = 1 << 20;
const ALREADY_EXISTS: u32 = 6;

type Fields<'a> = Vec<(u64, Value<'a>)>;

/// `ProofRequest`, as far as it says how a job is.
struct Request {
    status: Status,
    program: String,
    deadline_s: u64,
    cycles: Option<u64>,
    /// Why its guest could not be executed.
    guest_failed: Option<String>,
    why: String,
}

/// `ProofRequestStatus`.
#[derive(Clone, Copy, PartialEq)]
enum Status {
    Pending,
    Completed,
    Failed,
    Cancelled,
}

/// What the cluster writes into `extra_data`: of the execution, or of the proving that failed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ExtraData {
    status: u64,
    failure_cause: u64,
    cycles: u64,
    proving_failure: Option<ProvingFailure>,
}

#[derive(Deserialize)]
struct ProvingFailure {
    reason: String,
}

impl Sp1Cluster {
    pub fn read(arguments: &mut Arguments<'_>, settings: &Settings) -> Sp1Cluster {
        let elf = settings.files.join(arguments.required("elf", "the file of the guest's ELF"));
        let mode = arguments.one_of("mode", &MODES.map(|(name, _)| name)).unwrap_or("compressed");
        Sp1Cluster {
            elf,
            mode: MODES.into_iter().find(|(name, _)| *name == mode).unwrap_or(MODES[1]),
            is_stdin: arguments.one_of("input_form", &["bytes", "stdin"]) == Some("stdin"),
            deadline: deadline(arguments),
            cycle_limit: arguments.number("cycle_limit").unwrap_or(u64::MAX),
            artifacts: ArtifactStore::read(arguments),
            max_proof_bytes: settings.max_proof_bytes,
            guest: OnceCell::new(),
        }
    }

    fn call(&self, line: &mut Line<'_>, method: &str, message: Vec<u8>) -> Result<Vec<u8>, Wrong> {
        line.grpc(&format!("/cluster.ClusterService/{method}"), message, SHORT, ANSWER_BYTES)
    }

    fn artifacts(&self) -> Result<&ArtifactStore, ServiceError> {
        self.artifacts.as_ref().ok_or_else(|| ServiceError::permanent("no Redis is named"))
    }

    fn guest(&self) -> Result<&Guest, ServiceError> {
        self.guest.get().ok_or_else(|| ServiceError::transient("the guest was not read"))
    }

    /// None where the cluster knows no such job: it answers well, and with nothing.
    fn request(&self, line: &mut Line<'_>, job: &Job) -> Result<Option<Request>, ServiceError> {
        let answer = self.call(line, "ProofRequestGet", message(1, job.as_bytes())).map_err(meaning)?;
        let answer = parsed(&answer)?;
        bytes(&answer, 1).map(|request| Request::read(&parsed(request)?)).transpose()
    }

    /// Brings what the job reads, and creates it.
    fn create(
        &self,
        line: &mut Line<'_>,
        job: &Job,
        task: &Task,
        begun: &mut Option<Job>,
    ) -> Result<(), ServiceError> {
        let (guest, artifacts) = (self.guest()?, self.artifacts()?);
        if !artifacts.has(line, &guest.id)? {
            artifacts.put(line, &guest.id, &in_bincode(&guest.elf), Keep::ForEver)?;
        }
        let stdin = if self.is_stdin { task.input.clone() } else { stdin(&task.input) };
        // A job that begins late still reads it.
        let keep = Keep::Seconds(KEEP_S.max(self.deadline.as_secs()));
        artifacts.put(line, &stdin_of(job), &stdin, keep)?;
        *begun = Some(job.clone());
        let until = SystemTime::now() + self.deadline;
        let until = until.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |until| until.as_secs());
        let mut create = message(1, job.as_bytes());
        put_bytes(&mut create, 2, guest.id.as_bytes());
        put_bytes(&mut create, 3, stdin_of(job).as_bytes());
        put_bytes(&mut create, 4, self.mode.1.to_string().as_bytes());
        put_bytes(&mut create, 5, proof_of(job).as_bytes());
        for (field, value) in [(7, until), (8, self.cycle_limit), (9, u64::MAX)] {
            put_number(&mut create, field, value);
        }
        match self.call(line, "ProofRequestCreate", create) {
            // Another attempt at this task has created it.
            Ok(_) | Err(Wrong::Status(ALREADY_EXISTS, _)) => Ok(()),
            Err(
                Wrong::NoAnswer(NoAnswer::Lost(why) | NoAnswer::CutOff(why))
                | Wrong::Status(code::CANCELLED | code::DEADLINE_EXCEEDED, why),
            ) => self.look_for(line, job, &why),
            Err(wrong) => Err(meaning(wrong)),
        }
    }

    /// The answer was lost: the cluster knows the job if it was created.
    fn look_for(&self, line: &mut Line<'_>, job: &Job, why: &str) -> Result<(), ServiceError> {
        let until = Instant::now() + LOOK_FOR;
        loop {
            match self.request(line, job) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) | Err(ServiceError::Unavailable(..)) if Instant::now() < until => {}
                Ok(None) => return Err(ServiceError::unavailable(format!("{why}; the job was not created"))),
                Err(trouble) => return Err(trouble),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Service for Sp1Cluster {
    fn chooses_ids(&self) -> bool {
        false
    }

    fn program(&self) -> String {
        let id = self.guest.get().map_or("", |guest| &guest.id);
        let form = if self.is_stdin { "/stdin" } else { "" };
        format!("{id}/{}{form}", self.mode.0)
    }

    fn about(&self, line: &mut Line<'_>) -> Result<About, ServiceError> {
        let elf = std::fs::read(&self.elf).map_err(|error| {
            ServiceError::transient(format!("cannot read the ELF {}: {error}", self.elf.display()))
        })?;
        self.call(line, "Healthcheck", Vec::new()).map_err(meaning)?;
        self.artifacts()?.ask_all(line)?;
        let id = format!("proofyard-program-{}", hex::encode(&Sha256::digest(&elf)[..16]));
        let _ = self.guest.set(Guest { elf, id });
        Ok(About {
            verification_key: None,
            proof_system: format!("sp1-{}", self.mode.0),
            trusted_setup: Some(matches!(self.mode.0, "plonk" | "groth16")),
        })
    }

    fn submit(
        &self,
        line: &mut Line<'_>,
        task: &Task,
        begun: &mut Option<Job>,
    ) -> Result<Submitted, ServiceError> {
        for ended in 0..ENDED_JOBS {
            let job = task.job_id(&self.program(), ended);
            let Some(request) = self.request(line, &job)? else {
                self.create(line, &job, task, begun)?;
                return Ok(Submitted::Job(job));
            };
            let is_of_use = match request.status {
                Status::Pending => !request.is_overdue(),
                Status::Completed => self.artifacts()?.has(line, &proof_of(&job))?,
                Status::Failed | Status::Cancelled => false,
            };
            if is_of_use {
                return Ok(Submitted::Job(job));
            }
        }
        Err(ServiceError::transient(format!("{ENDED_JOBS} jobs of this task have ended without a proof")))
    }

    fn poll(&self, line: &mut Line<'_>, job: &Job) -> Result<State, ServiceError> {
        let Some(request) = self.request(line, job)? else {
            return Err(ServiceError::Unknown(format!("the service does not know job {job}")));
        };
        let program = &self.guest()?.id;
        if request.program != *program {
            let other = words(request.program.as_bytes());
            return Err(ServiceError::permanent(format!(
                "job {job} is of another program: {other}, not {program}"
            )));
        }
        Ok(match request.status {
            Status::Completed => State::Done,
            Status::Pending if request.is_overdue() => {
                State::Failed(Failure::transient("the cluster has not proved it before its deadline"))
            }
            Status::Pending => match request.cycles {
                Some(cycles) => State::Running(0.2, format!("executed, {cycles} cycles")),
                None => State::Running(0.1, "in work".to_owned()),
            },
            Status::Failed => State::Failed(match request.guest_failed {
                Some(cause) => Failure::permanent(format!("the guest failed: {cause}")),
                None => Failure::transient(format!("the service says: {}", request.why)),
            }),
            Status::Cancelled => {
                State::Failed(Failure::transient("somebody has cancelled the job at the service"))
            }
        })
    }

    fn fetch(&self, line: &mut Line<'_>, job: &Job) -> Result<Proof, ServiceError> {
        let cycles = self.request(line, job)?.and_then(|request| request.cycles);
        let proof = self.artifacts()?.get(line, &proof_of(job), self.max_proof_bytes)?;
        let bytes = proof.ok_or_else(|| {
            ServiceError::transient(
                "the job is done, but the cluster's Redis does not have its proof any more",
            )
        })?;
        Ok(Proof { bytes, public_values: None, cycles, verification_key: None })
    }

    fn cancel(&self, line: &mut Line<'_>, job: &Job) -> Result<(), ServiceError> {
        self.call(line, "ProofRequestCancel", message(1, job.as_bytes())).map(drop).map_err(meaning)
    }

    fn verify(&self, _: &mut Line<'_>, _: &[u8], _: &[u8], _: Option<&str>) -> Result<Vec<u8>, ServiceError> {
        Err(ServiceError::permanent(
            "sp1-cluster verifies nothing: the pipeline must name a verifier, `verify = [...]`",
        ))
    }
}

fn deadline(arguments: &mut Arguments<'_>) -> Duration {
    let deadline_s = arguments.number("deadline_s").unwrap_or(DEFAULT_DEADLINE_S);
    if !(1..=MOST_DEADLINE_S).contains(&deadline_s) {
        arguments.mistake(format_args!("`deadline_s` must be 1 to {MOST_DEADLINE_S}"));
    }
    Duration::from_secs(deadline_s.min(MOST_DEADLINE_S))
}

impl Request {
    fn read(request: &Fields<'_>) -> Result<Request, ServiceError> {
        let text = |field| words(bytes(request, field).unwrap_or_default());
        let status = match number(request, 2) {
            Some(1) => Status::Pending,
            Some(2) => Status::Completed,
            Some(3) => Status::Failed,
            Some(4) => Status::Cancelled,
            other => {
                let message =
                    format!("the service names a state that is not known: {}", other.unwrap_or_default());
                return Err(ServiceError::transient(message));
            }
        };
        let executed = bytes(request, 4).map(parsed).transpose()?.unwrap_or_default();
        let extra: ExtraData =
            bytes(request, 16).and_then(|extra| serde_json::from_slice(extra).ok()).unwrap_or_default();
        let executions = [
            (number(&executed, 1).unwrap_or(0), number(&executed, 2).unwrap_or(0)),
            (extra.status, extra.failure_cause),
        ];
        // `ExecutionStatus`: it failed.
        let failed = executions.into_iter().find(|(status, _)| *status == 3);
        let cycles = [number(&executed, 3).unwrap_or(0), extra.cycles].into_iter().find(|cycles| *cycles > 0);
        let why = extra.proving_failure.map_or_else(|| text(16), |failure| words(failure.reason.as_bytes()));
        let over_limit = why.starts_with(OVER_CYCLE_LIMIT).then(|| why.clone());
        Ok(Request {
            status,
            program: text(6),
            deadline_s: number(request, 11).unwrap_or(0),
            cycles,
            guest_failed: failed.map(|(_, cause)| cause_of(cause)).or(over_limit),
            why: if why.is_empty() { "nothing".to_owned() } else { why },
        })
    }

    fn is_overdue(&self) -> bool {
        let deadline = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(self.deadline_s).saturating_add(AFTER_DEADLINE));
        deadline.is_some_and(|deadline| deadline < SystemTime::now())
    }
}

/// `ExecutionFailureCause`.
fn cause_of(cause: u64) -> String {
    let known = [
        "it ended with an exit code other than 0",
        "it accessed memory that it must not",
        "it made a call that is not supported",
        "it came to a breakpoint",
        "it took more cycles than `cycle_limit`",
        "it made a call wrongly",
        "it did something that is not implemented",
        "it ended in an unconstrained part",
    ];
    let index = usize::try_from(cause).ok().and_then(|cause| cause.checked_sub(1));
    index
        .and_then(|index| known.get(index))
        .map_or_else(|| format!("cause {cause}"), |text| (*text).to_owned())
}

fn stdin_of(job: &Job) -> String {
    format!("{job}-stdin")
}

fn proof_of(job: &Job) -> String {
    format!("{job}-proof")
}

/// Bytes in bincode: with their length before them.
fn in_bincode(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// One buffer of bytes as an `SP1Stdin` in bincode: how many buffers, each with its length, which is read next, and no proofs.
fn stdin(bytes: &[u8]) -> Vec<u8> {
    [&1_u64.to_le_bytes()[..], &in_bincode(bytes), &[0; 8], &[0; 8]].concat()
}

/// A message of one field.
fn message(field: u64, content: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(content.len() + 8);
    put_bytes(&mut message, field, content);
    message
}

fn parsed(message: &[u8]) -> Result<Fields<'_>, ServiceError> {
    fields(message).ok_or_else(|| ServiceError::transient("the service answered no message of this protocol"))
}
