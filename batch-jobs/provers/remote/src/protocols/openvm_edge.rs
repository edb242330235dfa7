//! `openvm-edge`: the manager of an OpenVM proving cluster ("axiom-edge"), over HTTP.
//!
//! We choose job ids. The manager runs one job at a time, keeps job states in memory and drops finished ones after some minutes;
//! proofs are files, and survive both that and a restart. A failed job keeps its id until it is dropped, so the task's next job
//! takes the next id.

use std::time::{Duration, Instant};

use proofyard_prover::Failure;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::http::{Answer, Call, LONG, Line, NoAnswer, words};
use crate::service::{About, Job, Proof, Service, ServiceError, State, Submitted, Task, refused};
use crate::settings::{Arguments, Settings};

pub(crate) struct OpenVmEdge {
    program: Program,
    proof_type: &'static str,
    /// The input is OpenVM's own `StdIn` in bincode, not what the guest reads.
    is_stdin: bool,
    timeout_s: Option<u64>,
    max_proof_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, serde::Serialize)]
struct Program {
    name: String,
    #[serde(default)]
    version: u32,
}

/// The manager's `ProofStatus`.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    InProgress,
    Completed,
    /// It has failed, and its workers still run.
    Failing(String),
    Failed(String),
    Canceled,
}

#[derive(Deserialize)]
struct ProofState {
    status: Status,
    program: Option<Program>,
    num_segments: Option<u64>,
    #[serde(default)]
    app_proofs_count: u64,
    #[serde(default)]
    leaf_proofs_count: u64,
    #[serde(default)]
    internal_proofs_count: u64,
    num_instructions: Option<u64>,
}

/// After this many failed jobs for one task that the manager still remembers, give up.
const ENDED_JOBS: u32 = 100;
/// How long to poll for a job whose start was not confirmed.
const LOOK_FOR: Duration = Duration::from_secs(3);

impl OpenVmEdge {
    pub fn read(arguments: &mut Arguments<'_>, settings: &Settings) -> OpenVmEdge {
        let name = arguments.required("program", "the name of a program in the manager's loadout");
        let version = arguments.number("version").map_or(Ok(0), u32::try_from).unwrap_or_else(|_| {
            arguments.mistake("`version` is too large");
            0
        });
        OpenVmEdge {
            program: Program { name, version },
            proof_type: arguments.one_of("proof_type", &["stark", "evm"]).unwrap_or("stark"),
            is_stdin: arguments.one_of("input_form", &["bytes", "stdin"]) == Some("stdin"),
            timeout_s: arguments.number("timeout_s"),
            max_proof_bytes: settings.max_proof_bytes,
        }
    }

    /// The state of a job; none where the manager does not know it.
    fn state(&self, line: &mut Line<'_>, job: &Job) -> Result<Option<ProofState>, ServiceError> {
        let answer = line.call(Call::get(format!("/proof_state/{job}")))?;
        match answer.status {
            200 => answer.json().map(Some),
            404 => Ok(None),
            _ => Err(refused(&answer)),
        }
    }

    /// Whether the manager has the proof of a job that it does not know any more.
    fn is_kept(&self, line: &mut Line<'_>, job: &Job) -> Result<bool, ServiceError> {
        let answer = line.call(Call::head(format!("/proof/{job}")))?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(&answer)),
        }
    }

    fn upload(&self, line: &mut Line<'_>, job: &Job, task: &Task) -> Result<(), ServiceError> {
        let content = if self.is_stdin { task.input.clone() } else { stdin(&task.input) };
        let (kind, body) = form(&content);
        let answer = line.call(Call::post(format!("/upload_input/{job}"), &kind, body).limit(LONG))?;
        if answer.status == 200 { Ok(()) } else { Err(refused(&answer)) }
    }

    fn start(&self, line: &mut Line<'_>, job: &Job, task: &Task) -> Result<(), ServiceError> {
        let left_s = task.deadline.saturating_duration_since(Instant::now()).as_secs().max(1);
        let body = json!({
            "proof_uuid": job,
            "program": self.program,
            "proof_type": self.proof_type,
            "labels": {"task": task.id},
            "input_already_uploaded": false,
            "timeout_secs": self.timeout_s.unwrap_or(left_s),
        });
        let answer = match line.call(Call::post_json("/start_proof", &body).limit(LONG)) {
            Ok(answer) => answer,
            Err(NoAnswer::Lost(why) | NoAnswer::CutOff(why)) => return self.look_for(line, job, &why),
            Err(none) => return Err(none.into()),
        };
        match answer.status {
            200 => Ok(()),
            409 if answer.words().contains("program_not_in_loadout") => {
                Err(ServiceError::permanent(format!(
                    "the service does not prove {} at version {}: {}",
                    self.program.name,
                    self.program.version,
                    answer.words()
                )))
            }
            // It is busy with another job, or with this very one.
            409 => match self.state(line, job)? {
                Some(_) => Ok(()),
                None => Err(refused(&answer)),
            },
            _ => Err(refused(&answer)),
        }
    }

    /// The manager's answer was lost: it knows the job if it has started it.
    fn look_for(&self, line: &mut Line<'_>, job: &Job, why: &str) -> Result<(), ServiceError> {
        let until = Instant::now() + LOOK_FOR;
        loop {
            let found = self.state(line, job);
            match found {
                Ok(Some(_)) => return Ok(()),
                Ok(None) | Err(ServiceError::Unavailable(..)) if Instant::now() < until => {}
                Ok(None) => return Err(ServiceError::unavailable(format!("{why}; the job was not started"))),
                Err(trouble) => return Err(trouble),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn loadout(&self, line: &mut Line<'_>) -> Result<Vec<Program>, ServiceError> {
        #[derive(Deserialize)]
        struct Loadout {
            programs: Vec<Program>,
        }
        let answer = line.call(Call::get("/loadout"))?;
        if answer.status == 200 { Ok(answer.json::<Loadout>()?.programs) } else { Err(refused(&answer)) }
    }
}

impl Service for OpenVmEdge {
    fn chooses_ids(&self) -> bool {
        false
    }

    fn program(&self) -> String {
        format!("{}@{}/{}", self.program.name, self.program.version, self.proof_type)
    }

    fn about(&self, line: &mut Line<'_>) -> Result<About, ServiceError> {
        let programs = self.loadout(line)?;
        if !programs.contains(&self.program) {
            let named = |one: &Program| format!("{} at version {}", one.name, one.version);
            let served = programs.iter().map(named).collect::<Vec<_>>().join(", ");
            return Err(ServiceError::permanent(format!(
                "the service proves {served}, not {}",
                named(&self.program)
            )));
        }
        // The program's verification baseline; managers that do not serve it answer 404.
        let baseline = line.call(Call::get(format!("/vk/{}", self.program.name)))?;
        let is_there = baseline.status == 200 && !baseline.body.is_empty();
        Ok(About {
            verification_key: is_there.then(|| hex::encode(Sha256::digest(&baseline.body))),
            proof_system: format!("openvm-{}", self.proof_type),
            trusted_setup: Some(self.proof_type == "evm"),
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
            match self.state(line, &job)? {
                Some(ProofState { status: Status::Failed(_) | Status::Canceled, .. }) => {}
                Some(_) => return Ok(Submitted::Job(job)),
                None if self.is_kept(line, &job)? => return Ok(Submitted::Job(job)),
                None => {
                    self.upload(line, &job, task)?;
                    *begun = Some(job.clone());
                    self.start(line, &job, task)?;
                    return Ok(Submitted::Job(job));
                }
            }
        }
        Err(ServiceError::transient(format!("{ENDED_JOBS} jobs of this task have ended without a proof")))
    }

    fn poll(&self, line: &mut Line<'_>, job: &Job) -> Result<State, ServiceError> {
        let Some(state) = self.state(line, job)? else {
            return match self.is_kept(line, job)? {
                true => Ok(State::Done),
                false => Err(ServiceError::Unknown(format!("the service does not know job {job}"))),
            };
        };
        if let Some(program) = state.program.as_ref().filter(|program| **program != self.program) {
            return Err(ServiceError::permanent(format!(
                "job {job} is of another program: {} at version {}",
                program.name, program.version
            )));
        }
        match &state.status {
            Status::InProgress => Ok(state.progress()),
            Status::Completed => Ok(State::Done),
            Status::Failing(why) => Ok(State::Running(0.0, format!("fails: {}", words(why.as_bytes())))),
            Status::Failed(why) => {
                let message = format!("the service says: {}", words(why.as_bytes()));
                Ok(State::Failed(Failure::transient(message)))
            }
            Status::Canceled => {
                Ok(State::Failed(Failure::transient("somebody has cancelled the job at the service")))
            }
        }
    }

    fn fetch(&self, line: &mut Line<'_>, job: &Job) -> Result<Proof, ServiceError> {
        let cycles = self.state(line, job)?.and_then(|state| state.num_instructions);
        let answer =
            line.call(Call::get(format!("/proof/{job}")).limit(LONG).max_bytes(self.max_proof_bytes))?;
        match answer.status {
            200 => Ok(Proof { bytes: answer.body, public_values: None, cycles, verification_key: None }),
            404 => Err(not_kept(&answer)),
            _ => Err(refused(&answer)),
        }
    }

    fn cancel(&self, line: &mut Line<'_>, job: &Job) -> Result<(), ServiceError> {
        let answer = line.call(Call::post_json("/cancel_proof", &json!({"proof_uuid": job})))?;
        if answer.status == 200 { Ok(()) } else { Err(refused(&answer)) }
    }

    fn verify(&self, _: &mut Line<'_>, _: &[u8], _: &[u8], _: Option<&str>) -> Result<Vec<u8>, ServiceError> {
        Err(ServiceError::permanent(
            "an OpenVM edge cluster verifies nothing: the pipeline must name a verifier, `verify = [...]`",
        ))
    }
}

impl ProofState {
    fn progress(&self) -> State {
        let done = self.app_proofs_count;
        let aggregated = self.leaf_proofs_count + self.internal_proofs_count;
        match self.num_segments.filter(|segments| *segments > 0) {
            Some(segments) => {
                let share = (done as f64 / segments as f64).min(1.0) * 0.8;
                State::Running(share, format!("{done} of {segments} segments, {aggregated} aggregated"))
            }
            None => State::Running(0.0, format!("{done} segments")),
        }
    }
}

/// The manager reports the job done but has no proof.
fn not_kept(answer: &Answer) -> ServiceError {
    let message = format!("the job is done, but the service has no proof of it: {}", answer.words());
    if message.contains("persistence is disabled") {
        ServiceError::permanent(message)
    } else {
        ServiceError::transient(message)
    }
}

/// One buffer of bytes as OpenVM's `StdIn` in bincode: how many buffers, each with its length, and no deferrals.
fn stdin(bytes: &[u8]) -> Vec<u8> {
    let mut stdin = Vec::with_capacity(bytes.len() + 24);
    stdin.extend_from_slice(&1u64.to_le_bytes());
    stdin.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    stdin.extend_from_slice(bytes);
    stdin.extend_from_slice(&0u64.to_le_bytes());
    stdin
}

/// A form with one part, and its content type. The boundary is a hash of the content, so that it cannot stand in it.
fn form(content: &[u8]) -> (String, Vec<u8>) {
    let boundary = hex::encode(Sha256::digest(content));
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"input\"; filename=\"input.bin\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    let body = [head.as_bytes(), content, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    (format!("multipart/form-data; boundary={boundary}"), body)
}
