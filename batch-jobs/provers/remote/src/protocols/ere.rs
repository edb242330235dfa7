//! `ere`: ere-server, Twirp over HTTP with protobuf: `api.ZkvmService`.
//!
//! There are no jobs: `Prove` answers with the proof, minutes later, and the server proves one at a time, in the order in which it
//! was asked. A call whose connection is closed leaves the queue; one that is being proved goes on to its end, for nobody. An `err`
//! in an answer of 200 is the zkVM's; other statuses are Twirp errors, JSON with `code` and `msg`.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::http::{Call, LONG, Line, NoAnswer, SHORT, words};
use crate::protobuf::{bytes, fields, put_bytes};
use crate::service::{About, Job, Proof, Service, ServiceError, State, Submitted, Task, refused};
use crate::settings::{Arguments, Settings};

pub(crate) struct Ere {
    /// Another server, which verifies.
    verifier: Option<String>,
    /// Whether `verify` has the server execute the input, and compares what that says with what is in the proof.
    executes: bool,
    max_proof_bytes: u64,
}

/// What `setup` answers of a key; a longer one is named by its hash.
const KEY_BYTES: usize = proofyard_prover::message::VERIFICATION_KEY_BYTES;
/// What an answer has beside the proof.
const REST_BYTES: u64 = 16 << 20;

impl Ere {
    pub fn read(arguments: &mut Arguments<'_>, settings: &Settings) -> Ere {
        Ere {
            verifier: arguments.endpoint("verifier"),
            executes: arguments.truth("verify_input").unwrap_or(true),
            max_proof_bytes: settings.max_proof_bytes,
        }
    }

    /// The `ok` message of a call, or what went wrong; `failed` says what to make of an error that is the call's own.
    fn call(
        &self,
        line: &mut Line<'_>,
        server: &str,
        method: &str,
        message: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, Wrong> {
        let call =
            Call::post(format!("{server}/twirp/api.ZkvmService/{method}"), "application/protobuf", message);
        let max_bytes = self.max_proof_bytes.saturating_add(REST_BYTES);
        let answer = line.call(call.limit(limit).max_bytes(max_bytes)).map_err(Wrong::NoAnswer)?;
        if answer.status != 200 {
            return Err(Wrong::Refused(answer.status, refused(&answer), answer.words()));
        }
        let rubbish = || Wrong::Rubbish(format!("{method} answered no message of this protocol"));
        // Each answer is one of `ok` and `err`.
        let fields = fields(&answer.body).ok_or_else(rubbish)?;
        match (bytes(&fields, 1), bytes(&fields, 2)) {
            (Some(ok), _) => Ok(ok.to_vec()),
            (None, Some(err)) => Err(Wrong::Zkvm(words(err))),
            (None, None) => Err(rubbish()),
        }
    }

    fn program_key(&self, line: &mut Line<'_>, server: &str) -> Result<Vec<u8>, ServiceError> {
        let ok = self.call(line, server, "ProgramVk", Vec::new(), SHORT).map_err(Wrong::harmless)?;
        field(&ok, 1, "a program's verification key")
    }
}

/// What went wrong with a Twirp call.
enum Wrong {
    NoAnswer(NoAnswer),
    /// The status, what it means elsewhere, and the Twirp error.
    Refused(u16, ServiceError, String),
    /// The zkVM's error.
    Zkvm(String),
    Rubbish(String),
}

impl Wrong {
    /// Of a call that costs little.
    fn harmless(self) -> ServiceError {
        match self {
            Wrong::NoAnswer(none) => none.into(),
            Wrong::Refused(_, trouble, _) => match trouble {
                ServiceError::Unknown(message) => {
                    ServiceError::permanent(format!("{message}; is it an ere-server?"))
                }
                trouble => trouble,
            },
            Wrong::Zkvm(message) => ServiceError::permanent(format!("the service says: {message}")),
            Wrong::Rubbish(message) => ServiceError::transient(message),
        }
    }

    /// Of `Prove`: what may have been proved counts as tried.
    fn of_proving(self) -> ServiceError {
        match self {
            Wrong::NoAnswer(NoAnswer::Lost(why) | NoAnswer::CutOff(why)) => {
                ServiceError::transient(format!("{why}; the proof, if there is one, is lost"))
            }
            // Twirp's `internal`, and a panic: it has tried. Its `unavailable` is 503, its `resource_exhausted` 429.
            Wrong::Refused(500 | 504, _, words) => {
                ServiceError::transient(format!("the service failed: {words}"))
            }
            Wrong::Zkvm(message) => ServiceError::transient(format!("the service says: {message}")),
            other => other.harmless(),
        }
    }
}

fn field(message: &[u8], number: u64, what: &str) -> Result<Vec<u8>, ServiceError> {
    let fields =
        fields(message).ok_or_else(|| ServiceError::transient(format!("the service sent no {what}")))?;
    // An empty byte string is left out of a message.
    Ok(bytes(&fields, number).unwrap_or_default().to_vec())
}

/// A key as it is told.
fn key_text(key: &[u8]) -> String {
    if key.len() <= KEY_BYTES { hex::encode(key) } else { hex::encode(Sha256::digest(key)) }
}

impl Service for Ere {
    fn chooses_ids(&self) -> bool {
        true
    }

    fn program(&self) -> String {
        "ere".into()
    }

    fn about(&self, line: &mut Line<'_>) -> Result<About, ServiceError> {
        let key = self.program_key(line, "")?;
        Ok(About { verification_key: Some(key_text(&key)), proof_system: "ere".into(), trusted_setup: None })
    }

    fn submit(
        &self,
        line: &mut Line<'_>,
        task: &Task,
        _: &mut Option<Job>,
    ) -> Result<Submitted, ServiceError> {
        // 503 where a proof has been running for longer than the server's own limit.
        let health = line.call(Call::get("/health"))?;
        if health.status >= 500 {
            return Err(refused(&health));
        }
        let key = self.program_key(line, "")?;
        let mut message = Vec::with_capacity(task.input.len() + 16);
        put_bytes(&mut message, 1, &task.input);
        let limit = task.deadline.saturating_duration_since(Instant::now());
        let ok = self.call(line, "", "Prove", message, limit).map_err(Wrong::of_proving)?;
        if self.program_key(line, "")? != key {
            let message = "the service was given another program while it proved: the proof may be of either";
            return Err(ServiceError::transient(message));
        }
        let (public_values, proof) = (field(&ok, 1, "public values")?, field(&ok, 2, "proof")?);
        if proof.len() as u64 > self.max_proof_bytes {
            let allowed = self.max_proof_bytes;
            return Err(ServiceError::permanent(format!(
                "the proof has {} bytes, and {allowed} are allowed",
                proof.len()
            )));
        }
        Ok(Submitted::Proof(Proof {
            bytes: proof,
            public_values: Some(public_values),
            cycles: None,
            verification_key: Some(key_text(&key)),
        }))
    }

    fn poll(&self, _: &mut Line<'_>, job: &Job) -> Result<State, ServiceError> {
        Err(ServiceError::Unknown(format!("an ere-server has no jobs, {job:?} neither")))
    }

    fn fetch(&self, _: &mut Line<'_>, job: &Job) -> Result<Proof, ServiceError> {
        Err(ServiceError::Unknown(format!("an ere-server has no jobs, {job:?} neither")))
    }

    fn cancel(&self, _: &mut Line<'_>, _: &Job) -> Result<(), ServiceError> {
        Ok(())
    }

    fn verify(
        &self,
        line: &mut Line<'_>,
        proof: &[u8],
        input: &[u8],
        key: Option<&str>,
    ) -> Result<Vec<u8>, ServiceError> {
        let server = self.verifier.as_deref().unwrap_or_default();
        let own = key_text(&self.program_key(line, server)?);
        if let Some(key) = key.filter(|key| !key.trim_start_matches("0x").eq_ignore_ascii_case(&own)) {
            let key: String = key.chars().take(80).collect();
            return Err(ServiceError::permanent(format!(
                "this server verifies proofs of {own}, not of {key}"
            )));
        }
        let mut message = Vec::with_capacity(proof.len() + 16);
        put_bytes(&mut message, 1, proof);
        let ok = self.call(line, server, "Verify", message, LONG).map_err(|wrong| match wrong {
            // It cannot be decoded, or is not valid.
            Wrong::Refused(400, _, words) => {
                ServiceError::permanent(format!("the proof is refused: {words}"))
            }
            Wrong::Zkvm(message) => ServiceError::permanent(format!("the proof is refused: {message}")),
            other => other.harmless(),
        })?;
        let public_values = field(&ok, 1, "public values")?;
        if self.executes {
            let mut message = Vec::with_capacity(input.len() + 16);
            put_bytes(&mut message, 1, input);
            let ok = self.call(line, server, "Execute", message, LONG).map_err(Wrong::harmless)?;
            if field(&ok, 1, "public values")? != public_values {
                return Err(ServiceError::permanent(
                    "this proof is not about this input: executing it gives other public values",
                ));
            }
        }
        Ok(public_values)
    }
}
