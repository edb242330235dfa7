//! `zisk`: ZisK's coordinator, gRPC: `zisk.coordinator.v1.ZiskCoordinatorApi`.
//!
//! The id of a job is the service's. A guest is registered by its ELF, under the ELF's hash, and set up by a job of its own; both may
//! be repeated. A coordinator that has restarted may have forgotten either: it says NOT_FOUND then, as it does of a job.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use proofyard_prover::Failure;

use crate::grpc::{Wrong, code, meaning};
use crate::http::{LONG, Line, NoAnswer, SHORT, words};
use crate::protobuf::{Value, bytes, fields, number, put_bytes, put_number};
use crate::service::{About, Job, Proof, Service, ServiceError, State, Submitted, Task};
use crate::settings::{Arguments, Settings};

pub(crate) struct Zisk {
    elf: PathBuf,
    kind: u64,
    /// The input is as ZisK's runtime reads it, not what the guest reads.
    is_framed: bool,
    passes_deadline: bool,
    max_proof_bytes: u64,
    guest: OnceCell<Guest>,
}

/// The guest at the coordinator.
struct Guest {
    elf: Vec<u8>,
    hash_id: String,
    verification_key: Vec<u8>,
}

/// `ProofKind`.
const KINDS: [(&str, u64); 3] = [("stark", 1), ("stark-minimal", 2), ("plonk", 3)];
/// What an answer has beside a proof.
const REST_BYTES: u64 = 1 << 20;

type Fields<'a> = Vec<(u64, Value<'a>)>;

impl Zisk {
    pub fn read(arguments: &mut Arguments<'_>, settings: &Settings) -> Zisk {
        let elf = settings.files.join(arguments.required("elf", "the file of the guest's ELF"));
        let kind = arguments.one_of("proof_kind", &KINDS.map(|(name, _)| name)).unwrap_or("stark-minimal");
        Zisk {
            elf,
            kind: KINDS.iter().find(|(name, _)| *name == kind).map_or(2, |(_, kind)| *kind),
            is_framed: arguments.one_of("input_form", &["bytes", "framed"]) == Some("framed"),
            passes_deadline: arguments.truth("pass_deadline").unwrap_or(true),
            max_proof_bytes: settings.max_proof_bytes,
            guest: OnceCell::new(),
        }
    }

    fn call(
        &self,
        line: &mut Line<'_>,
        method: &str,
        message: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, Wrong> {
        let path = format!("/zisk.coordinator.v1.ZiskCoordinatorApi/{method}");
        line.grpc(&path, message, limit, self.max_proof_bytes.saturating_add(REST_BYTES))
    }

    fn register(&self, line: &mut Line<'_>, elf: &[u8]) -> Result<String, ServiceError> {
        let answer = self.call(line, "RegisterGuestProgram", message(1, elf), LONG).map_err(meaning)?;
        text(&parsed(&answer)?, 1)
    }

    /// Has the guest set up, waits for it, and returns its verification key.
    fn set_up(&self, line: &mut Line<'_>, hash_id: &str) -> Result<Vec<u8>, ServiceError> {
        // JobRequestMessage, JobKind.setup, SetupRequest.hash_id.
        let request = message(1, &message(1, &message(1, hash_id.as_bytes())));
        let answer = self.call(line, "JobRequest", request, SHORT).map_err(meaning)?;
        let job = text(&parsed(&answer)?, 1)?;
        loop {
            let answer = self.wait(line, &job, 5)?;
            let answer = parsed(&answer)?;
            match state(&answer)? {
                State::Done => {
                    // JobKindResponse.setup, SetupResponse.vk.
                    let result = nested(&nested(&answer, 3)?, 1)?;
                    return Ok(bytes(&result, 1).unwrap_or_default().to_vec());
                }
                State::Failed(failure) => return Err(ServiceError::Failed(failure)),
                State::Running(..) | State::Next(_) => {}
            }
            if Instant::now() >= line.deadline {
                return Err(ServiceError::unavailable("the guest is still being set up at the service"));
            }
        }
    }

    fn wait(&self, line: &mut Line<'_>, job: &str, seconds: u64) -> Result<Vec<u8>, ServiceError> {
        let mut request = message(1, job.as_bytes());
        put_number(&mut request, 2, seconds);
        self.call(line, "WaitJobResult", request, LONG).map_err(meaning)
    }

    fn prove(&self, line: &mut Line<'_>, guest: &Guest, task: &Task) -> Result<String, Wrong> {
        let input = if self.is_framed { task.input.clone() } else { framed(&task.input) };
        // InputKind.inline, InputChunk.data.
        let input = message(1, &message(1, &input));
        let mut prove = message(1, guest.hash_id.as_bytes());
        put_bytes(&mut prove, 2, &input);
        let left = task.deadline.saturating_duration_since(Instant::now());
        let until = SystemTime::now()
            .checked_add(left)
            .and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok());
        if let Some(until) = until.filter(|_| self.passes_deadline) {
            let mut timestamp = Vec::new();
            put_number(&mut timestamp, 1, until.as_secs());
            put_number(&mut timestamp, 2, u64::from(until.subsec_nanos()));
            put_bytes(&mut prove, 3, &timestamp);
        }
        put_number(&mut prove, 4, self.kind);
        // JobRequestMessage, JobKind.prove.
        let answer = self.call(line, "JobRequest", message(1, &message(2, &prove)), LONG)?;
        let job = fields(&answer).and_then(|fields| text(&fields, 1).ok());
        job.ok_or_else(|| Wrong::NoAnswer(NoAnswer::CutOff("the answer names no job".into())))
    }

    fn guest(&self) -> Result<&Guest, ServiceError> {
        self.guest.get().ok_or_else(|| ServiceError::transient("the guest was not registered"))
    }
}

impl Service for Zisk {
    fn chooses_ids(&self) -> bool {
        true
    }

    fn program(&self) -> String {
        let hash_id = self.guest.get().map_or("", |guest| &guest.hash_id);
        format!("{hash_id}/{}", self.kind)
    }

    fn about(&self, line: &mut Line<'_>) -> Result<About, ServiceError> {
        let elf = std::fs::read(&self.elf).map_err(|error| {
            ServiceError::transient(format!("cannot read the ELF {}: {error}", self.elf.display()))
        })?;
        let hash_id = self.register(line, &elf)?;
        let verification_key = self.set_up(line, &hash_id)?;
        let told = (!verification_key.is_empty()).then(|| hex::encode(&verification_key));
        let _ = self.guest.set(Guest { elf, hash_id, verification_key });
        let name = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("stark", |(name, _)| *name);
        Ok(About {
            verification_key: told,
            proof_system: format!("zisk-{name}"),
            trusted_setup: Some(name == "plonk"),
        })
    }

    fn submit(
        &self,
        line: &mut Line<'_>,
        task: &Task,
        _: &mut Option<Job>,
    ) -> Result<Submitted, ServiceError> {
        let guest = self.guest()?;
        let mut job = self.prove(line, guest, task);
        // It has forgotten the guest, or that it was set up: a job was not created.
        if matches!(job, Err(Wrong::Status(code::NOT_FOUND, _))) {
            self.register(line, &guest.elf)?;
            self.set_up(line, &guest.hash_id)?;
            job = self.prove(line, guest, task);
        }
        let perhaps = |why: String| {
            ServiceError::transient(format!("{why}; a job may have been created, whose id is not known"))
        };
        match job {
            Ok(job) => Ok(Submitted::Job(job)),
            Err(Wrong::NoAnswer(NoAnswer::Lost(why) | NoAnswer::CutOff(why))) => Err(perhaps(why)),
            Err(Wrong::Status(code::CANCELLED | code::DEADLINE_EXCEEDED, why)) => Err(perhaps(why)),
            Err(wrong) => Err(meaning(wrong)),
        }
    }

    fn poll(&self, line: &mut Line<'_>, job: &Job) -> Result<State, ServiceError> {
        let answer = self.wait(line, job, 1)?;
        state(&parsed(&answer)?)
    }

    fn fetch(&self, line: &mut Line<'_>, job: &Job) -> Result<Proof, ServiceError> {
        let answer = self.wait(line, job, 1)?;
        let answer = parsed(&answer)?;
        // JobKindResponse.prove, ProveResponse.proof and .stats.
        let response = nested(&nested(&answer, 3)?, 2)?;
        let (proof, guest) = (nested(&response, 1)?, self.guest()?);
        let hash_id = String::from_utf8_lossy(bytes(&proof, 2).unwrap_or_default());
        if !hash_id.is_empty() && hash_id != guest.hash_id {
            let of = words(hash_id.as_bytes());
            return Err(ServiceError::permanent(format!(
                "the proof is of another program: {of}, not {}",
                guest.hash_id
            )));
        }
        let key = bytes(&proof, 3).unwrap_or_default();
        if !key.is_empty() && !guest.verification_key.is_empty() && key != guest.verification_key {
            return Err(ServiceError::permanent(format!(
                "the proof is of another program: its verification key is {}, not {}",
                hex::encode(&key[..key.len().min(64)]),
                hex::encode(&guest.verification_key)
            )));
        }
        let content = bytes(&proof, 5).unwrap_or_default();
        if content.len() as u64 > self.max_proof_bytes {
            let allowed = self.max_proof_bytes;
            return Err(ServiceError::permanent(format!(
                "the proof has {} bytes, and {allowed} are allowed",
                content.len()
            )));
        }
        let cycles = nested(&response, 2).ok().and_then(|stats| number(&stats, 1));
        Ok(Proof {
            bytes: content.to_vec(),
            public_values: bytes(&proof, 6).map(<[u8]>::to_vec),
            cycles,
            verification_key: None,
        })
    }

    fn cancel(&self, line: &mut Line<'_>, job: &Job) -> Result<(), ServiceError> {
        self.call(line, "CancelJob", message(1, job.as_bytes()), SHORT).map(drop).map_err(meaning)
    }

    fn verify(&self, _: &mut Line<'_>, _: &[u8], _: &[u8], _: Option<&str>) -> Result<Vec<u8>, ServiceError> {
        Err(ServiceError::permanent(
            "ZisK's coordinator verifies nothing: the pipeline must name a verifier, `verify = [...]`",
        ))
    }
}

/// What `WaitJobResultResponse.job_status` says.
fn state(answer: &Fields<'_>) -> Result<State, ServiceError> {
    let status = nested(answer, 2)?;
    let Some((which, Value::Bytes(content))) = status.last().copied() else {
        return Err(ServiceError::transient("the service did not say what became of the job"));
    };
    let content = parsed(content)?;
    Ok(match which {
        1 => State::Running(0.0, "queued".into()),
        2 => match number(&content, 1) {
            Some(1) => State::Running(0.1, "contributions".into()),
            Some(2) => State::Running(0.4, "proves".into()),
            Some(3) => State::Running(0.8, "recurses".into()),
            _ => State::Running(0.1, "in work".into()),
        },
        3 => State::Running(0.0, "waits for input".into()),
        4 => State::Done,
        5 => State::Failed(failure(&nested(&content, 1)?)?),
        6 => State::Failed(Failure::transient("somebody has cancelled the job at the service")),
        _ => {
            return Err(ServiceError::transient(format!(
                "the service names a state that is not known: {which}"
            )));
        }
    })
}

/// `JobFailure`.
fn failure(kind: &Fields<'_>) -> Result<Failure, ServiceError> {
    let Some((which, Value::Bytes(content))) = kind.last().copied() else {
        return Ok(Failure::transient("the job has failed, and the service does not say why"));
    };
    let content = parsed(content)?;
    let why = || words(bytes(&content, 1).unwrap_or_default());
    Ok(match which {
        1 => Failure::transient("the job took longer than the service allows"),
        2 => Failure::permanent(format!("the service refuses the input: {}", why())),
        3 => Failure::permanent(format!("the guest failed: {}", why())),
        4 => Failure::transient(format!("the service failed; its trace is {}", why())),
        _ => Failure::transient("the job was cancelled at the service"),
    })
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

fn nested<'a>(message: &Fields<'a>, field: u64) -> Result<Fields<'a>, ServiceError> {
    let missing = || ServiceError::transient(format!("the service's answer lacks field {field}"));
    parsed(bytes(message, field).ok_or_else(missing)?)
}

fn text(message: &Fields<'_>, field: u64) -> Result<String, ServiceError> {
    let text =
        bytes(message, field).and_then(|text| std::str::from_utf8(text).ok()).filter(|text| !text.is_empty());
    text.map(str::to_string)
        .ok_or_else(|| ServiceError::transient(format!("the service's answer lacks field {field}")))
}

/// As ZisK's runtime reads input: its length before it, and zeros to a multiple of 8.
fn framed(input: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(input.len() + 16);
    framed.extend_from_slice(&(input.len() as u64).to_le_bytes());
    framed.extend_from_slice(input);
    framed.resize(framed.len().next_multiple_of(8), 0);
    framed
}
