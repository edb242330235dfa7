//! `bonsai`: the REST interface of Bonsai, which Bento serves too.
//!
//! The id of a job is the service's. A Groth16 receipt is made by a second job, from the first one's. Bento answers 500 where it
//! does not know a job, and has no call that ends one; Bonsai has.

use std::path::PathBuf;

use proofyard_prover::Failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::risc0_receipt::{self, Claimed};
use crate::http::{Answer, Call, LONG, Line, NoAnswer, words};
use crate::service::{About, Job, Proof, Service, ServiceError, State, Submitted, Task, refused};
use crate::settings::{Arguments, Settings};

pub(crate) struct Bonsai {
    image_id: String,
    /// The guest's ELF, which is uploaded where the service does not have it.
    image: Option<PathBuf>,
    is_groth16: bool,
    cycle_limit: Option<u64>,
    max_proof_bytes: u64,
}

#[derive(Deserialize)]
struct Upload {
    url: String,
    #[serde(default)]
    uuid: String,
}

#[derive(Deserialize)]
struct Created {
    uuid: String,
}

#[derive(Deserialize)]
struct Status {
    status: String,
    state: Option<String>,
    error_msg: Option<String>,
    /// Of a session.
    receipt_url: Option<String>,
    /// Of a snark.
    output: Option<String>,
    stats: Option<Stats>,
}

#[derive(Deserialize)]
struct Stats {
    cycles: u64,
}

/// The two kinds of jobs, as their ids are noted: `stark/SESSION`, and `snark/SNARK/SESSION`.
const STARK: &str = "stark/";
const SNARK: &str = "snark/";

/// What the services say when the same input would fail again.
const HOPELESS: [&str; 4] = ["guest panicked", "session limit", "sessionlimit", "exceeded cycle limit"];

impl Bonsai {
    pub fn read(arguments: &mut Arguments<'_>, settings: &Settings) -> Bonsai {
        let image_id =
            arguments.required("image_id", "the guest's image id, 64 hex digits").to_ascii_lowercase();
        let image_id = image_id.strip_prefix("0x").unwrap_or(&image_id).to_string();
        if !image_id.is_empty()
            && (image_id.len() != 64 || !image_id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            arguments.mistake("`image_id` must be 64 hex digits");
        }
        let image = arguments.text("image").map(|image| settings.files.join(image));
        let is_groth16 = arguments.one_of("receipt", &["stark", "groth16"]) == Some("groth16");
        let cycle_limit = arguments.number("cycle_limit");
        Bonsai { image_id, image, is_groth16, cycle_limit, max_proof_bytes: settings.max_proof_bytes }
    }

    /// The service has the guest, or gets it.
    fn bring_image(&self, line: &mut Line<'_>) -> Result<(), ServiceError> {
        let answer = line.call(Call::get(format!("/images/upload/{}", self.image_id)))?;
        let upload: Upload = match answer.status {
            204 => return Ok(()),
            200 => answer.json()?,
            _ => return Err(refused(&answer)),
        };
        let Some(image) = &self.image else {
            return Err(ServiceError::permanent(format!(
                "the service does not have image {}, and no file of it is named (`image`)",
                self.image_id
            )));
        };
        let elf = std::fs::read(image).map_err(|error| {
            ServiceError::transient(format!("cannot read the image {}: {error}", image.display()))
        })?;
        let put = line.call(Call::put(upload.url, elf).limit(LONG))?;
        match put.status {
            200..=299 => Ok(()),
            _ => Err(refused(&put)),
        }
    }

    fn bring_input(&self, line: &mut Line<'_>, task: &Task) -> Result<String, ServiceError> {
        let answer = line.call(Call::get("/inputs/upload"))?;
        let upload: Upload =
            if answer.status == 200 { answer.json()? } else { return Err(refused(&answer)) };
        let put = line.call(Call::put(upload.url, task.input.clone()).limit(LONG))?;
        match put.status {
            200..=299 => Ok(upload.uuid),
            _ => Err(refused(&put)),
        }
    }

    fn check(&self, receipt: &[u8]) -> Result<(), ServiceError> {
        match risc0_receipt::claimed(receipt) {
            Claimed::Fake => {
                Err(ServiceError::permanent("the receipt is a fake: the service runs in development mode"))
            }
            Claimed::Image(id) if hex::encode(id) != self.image_id => Err(ServiceError::permanent(format!(
                "the receipt is of another program: its image is {}, not {}",
                hex::encode(id),
                self.image_id
            ))),
            Claimed::Image(_) | Claimed::Unclear => Ok(()),
        }
    }

    fn status(&self, line: &mut Line<'_>, job: &Job) -> Result<Status, ServiceError> {
        let path = match (job.strip_prefix(STARK), snark_and_session(job)) {
            (Some(session), _) => format!("/sessions/status/{session}"),
            (_, Some((snark, _))) => format!("/snark/status/{snark}"),
            _ => return Err(ServiceError::Unknown(format!("{job:?} is no job of this service"))),
        };
        let answer = line.call(Call::get(path))?;
        match answer.status {
            200 => answer.json(),
            500 => Err(ServiceError::PerhapsUnknown(format!(
                "the service answers 500 about job {job}: {}",
                answer.words()
            ))),
            _ => Err(refused(&answer)),
        }
    }
}

/// An answer to a call that creates a job. If it is lost, the job may be there, under an id that nobody knows: that counts as a
/// failed attempt, so that a service that keeps losing answers is not paid for ever.
fn created<T: DeserializeOwned>(answer: Result<Answer, NoAnswer>) -> Result<T, ServiceError> {
    let perhaps = |why: String| {
        ServiceError::transient(format!("{why}; a job may have been created, whose id is not known"))
    };
    match answer {
        Ok(answer) if answer.status == 200 => answer.json(),
        Ok(answer) if answer.status == 504 => Err(perhaps(format!("{} answered 504", answer.url))),
        Ok(answer) => Err(refused(&answer)),
        Err(NoAnswer::Lost(why) | NoAnswer::CutOff(why)) => Err(perhaps(why)),
        Err(none) => Err(none.into()),
    }
}

impl Service for Bonsai {
    fn chooses_ids(&self) -> bool {
        true
    }

    fn program(&self) -> String {
        format!("{}/{}", self.image_id, if self.is_groth16 { "groth16" } else { "stark" })
    }

    fn about(&self, _: &mut Line<'_>) -> Result<About, ServiceError> {
        Ok(About {
            verification_key: Some(self.image_id.clone()),
            proof_system: if self.is_groth16 { "risc0-groth16" } else { "risc0-stark" }.into(),
            trusted_setup: Some(self.is_groth16),
        })
    }

    fn submit(
        &self,
        line: &mut Line<'_>,
        task: &Task,
        _: &mut Option<Job>,
    ) -> Result<Submitted, ServiceError> {
        self.bring_image(line)?;
        let input = self.bring_input(line, task)?;
        let body = json!({
            "img": self.image_id,
            "input": input,
            "assumptions": [],
            "execute_only": false,
            "exec_cycle_limit": self.cycle_limit,
        });
        let session: Created = created(line.call(Call::post_json("/sessions/create", &body)))?;
        Ok(Submitted::Job(format!("{STARK}{}", session.uuid)))
    }

    fn poll(&self, line: &mut Line<'_>, job: &Job) -> Result<State, ServiceError> {
        let status = self.status(line, job)?;
        match (status.status.as_str(), job.strip_prefix(STARK)) {
            ("RUNNING", _) => {
                let state =
                    status.state.filter(|state| !state.is_empty()).unwrap_or_else(|| "in work".into());
                Ok(State::Running(share(&state), words(state.as_bytes())))
            }
            ("SUCCEEDED", Some(session)) if self.is_groth16 => {
                let body = json!({"session_id": session});
                let snark: Created = created(line.call(Call::post_json("/snark/create", &body)))?;
                Ok(State::Next(format!("{SNARK}{}/{session}", snark.uuid)))
            }
            ("SUCCEEDED", _) => Ok(State::Done),
            (ended, _) => {
                let why = words(status.error_msg.unwrap_or_default().as_bytes());
                let message = format!("the service says {ended}: {why}");
                let lower = why.to_ascii_lowercase();
                let is_hopeless = ended == "FAILED" && HOPELESS.iter().any(|words| lower.contains(words));
                Ok(State::Failed(if is_hopeless {
                    Failure::permanent(message)
                } else {
                    Failure::transient(message)
                }))
            }
        }
    }

    fn fetch(&self, line: &mut Line<'_>, job: &Job) -> Result<Proof, ServiceError> {
        let status = self.status(line, job)?;
        let Some(url) = status.receipt_url.or(status.output) else {
            return Err(ServiceError::transient(
                "the service says that the job is done, but not where its receipt is",
            ));
        };
        let answer = line.call(Call::get(url).limit(LONG).max_bytes(self.max_proof_bytes))?;
        match answer.status {
            200 => {
                self.check(&answer.body)?;
                let cycles = status.stats.map(|stats| stats.cycles);
                Ok(Proof { bytes: answer.body, public_values: None, cycles, verification_key: None })
            }
            404 => Err(ServiceError::transient(format!(
                "the job is done, but the service has no receipt: {}",
                answer.words()
            ))),
            _ => Err(refused(&answer)),
        }
    }

    fn made_from(&self, job: &Job) -> Option<Job> {
        snark_and_session(job).map(|(_, session)| format!("{STARK}{session}"))
    }

    fn cancel(&self, line: &mut Line<'_>, job: &Job) -> Result<(), ServiceError> {
        // Only sessions can be stopped, and only at Bonsai; Bento does not know the route.
        let Some(session) = job.strip_prefix(STARK) else { return Ok(()) };
        let answer = line.call(Call::get(format!("/sessions/stop/{session}")))?;
        match answer.status {
            200..=299 | 404 | 405 => Ok(()),
            _ => Err(refused(&answer)),
        }
    }

    fn verify(&self, _: &mut Line<'_>, _: &[u8], _: &[u8], _: Option<&str>) -> Result<Vec<u8>, ServiceError> {
        Err(ServiceError::permanent(
            "Bonsai and Bento verify nothing: the pipeline must name a verifier, `verify = [...]`",
        ))
    }
}

fn snark_and_session(job: &str) -> Option<(&str, &str)> {
    job.strip_prefix(SNARK)?.split_once('/')
}

/// The share in states such as `ProveSegments: 3/8`.
fn share(state: &str) -> f64 {
    let numbers = state.rsplit_once(' ').and_then(|(_, numbers)| numbers.split_once('/'));
    let share = numbers.and_then(|(done, all)| Some(done.parse::<f64>().ok()? / all.parse::<f64>().ok()?));
    share.filter(|share| share.is_finite()).map_or(0.0, |share| share.clamp(0.0, 1.0) * 0.9)
}
