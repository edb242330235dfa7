//! What a proving service can do, whatever its protocol, and what can go wrong with it.

use std::time::{Duration, Instant};

use proofyard_prover::Failure;
use proofyard_prover::message::CancelReason;
use sha2::{Digest, Sha256};

use crate::http::{Answer, Line, NoAnswer};

/// A task, as a service gets it.
pub(crate) struct Task {
    pub id: String,
    pub input: Vec<u8>,
    /// The prover is killed then.
    pub deadline: Instant,
}

impl Task {
    /// An id for the job of this task that everyone derives alike: of the task, its input, what proves it, and how many jobs
    /// of it have ended without a proof.
    pub fn job_id(&self, program: &str, ended: u32) -> String {
        let mut hash = Sha256::new();
        for part in [self.id.as_bytes(), program.as_bytes(), &self.input, &ended.to_be_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        format!("proofyard-{}", hex::encode(&hash.finalize()[..16]))
    }
}

/// A job at the service, in the protocol's own words.
pub(crate) type Job = String;

pub(crate) enum Submitted {
    /// It is in work, or over: poll it.
    Job(Job),
    /// The service answered with the proof itself.
    Proof(Proof),
}

pub(crate) enum State {
    /// How much is done, from 0 to 1, and what is being done.
    Running(f64, String),
    /// It went on as another job.
    Next(Job),
    /// It is over, and this is all that the service says.
    Failed(Failure),
    Done,
}

pub(crate) struct Proof {
    pub bytes: Vec<u8>,
    /// What the service says they are.
    pub public_values: Option<Vec<u8>>,
    pub cycles: Option<u64>,
    /// Where the service has said it with this proof, else as at `setup`.
    pub verification_key: Option<String>,
}

/// What is known of a service once it was asked.
#[derive(Clone, Default)]
pub(crate) struct About {
    pub verification_key: Option<String>,
    pub proof_system: String,
    pub trusted_setup: Option<bool>,
}

/// A proving service. Calls are told apart by what a failure of theirs costs, so each says itself what an answer means.
pub(crate) trait Service {
    /// Whether ids are the service's, and so must be noted at once; else they are derived from the task.
    fn chooses_ids(&self) -> bool;

    /// A text that differs where another proof would be made: the program and the kind of proof.
    fn program(&self) -> String;

    fn about(&self, line: &mut Line<'_>) -> Result<About, ServiceError>;

    /// Creates the task's job, or finds it where ids are derived. Then `begun` is set before the job may be in work, since this
    /// call may be stopped at any moment.
    fn submit(
        &self,
        line: &mut Line<'_>,
        task: &Task,
        begun: &mut Option<Job>,
    ) -> Result<Submitted, ServiceError>;

    fn poll(&self, line: &mut Line<'_>, job: &Job) -> Result<State, ServiceError>;

    fn fetch(&self, line: &mut Line<'_>, job: &Job) -> Result<Proof, ServiceError>;

    /// The job out of which this one was made, where that need not be done again if this one has failed.
    fn made_from(&self, _job: &Job) -> Option<Job> {
        None
    }

    /// Ends the job, where the service can.
    fn cancel(&self, line: &mut Line<'_>, job: &Job) -> Result<(), ServiceError>;

    /// The public values of a proof that the service's verifier accepts.
    fn verify(
        &self,
        line: &mut Line<'_>,
        proof: &[u8],
        input: &[u8],
        key: Option<&str>,
    ) -> Result<Vec<u8>, ServiceError>;
}

/// Why a call did not do what it should.
#[derive(Debug)]
pub(crate) enum ServiceError {
    /// Not now; nothing has happened. The service may have said for how long.
    Unavailable(String, Option<Duration>),
    /// As `Unavailable`, but the service may mean by it that it does not know the job.
    PerhapsUnknown(String),
    /// The service does not know the job.
    Unknown(String),
    /// The answer was cut off.
    CutOff(String),
    Failed(Failure),
    Stopped(CancelReason),
}

impl ServiceError {
    pub fn unavailable(message: impl Into<String>) -> ServiceError {
        ServiceError::Unavailable(message.into(), None)
    }

    pub fn transient(message: impl ToString) -> ServiceError {
        ServiceError::Failed(Failure::transient(message))
    }

    pub fn permanent(message: impl ToString) -> ServiceError {
        ServiceError::Failed(Failure::permanent(message))
    }

    /// As the yard is notified of it, where the call is not tried again.
    pub fn into_failure(self) -> Failure {
        match self {
            ServiceError::Unavailable(message, wait) => Failure::unavailable(match wait {
                Some(wait) => format!("{message}; it asks to be left alone for {} s", wait.as_secs()),
                None => message,
            }),
            ServiceError::PerhapsUnknown(message) => Failure::unavailable(message),
            ServiceError::Unknown(message) | ServiceError::CutOff(message) => Failure::transient(message),
            ServiceError::Failed(failure) => failure,
            ServiceError::Stopped(reason) => Failure::transient(format!("it was cancelled: {reason}")),
        }
    }
}

/// No answer to a call that changes nothing, or that can be repeated without harm.
impl From<NoAnswer> for ServiceError {
    fn from(none: NoAnswer) -> ServiceError {
        match none {
            NoAnswer::NotSent(message) | NoAnswer::Lost(message) => ServiceError::unavailable(message),
            NoAnswer::CutOff(message) => ServiceError::CutOff(message),
            NoAnswer::TooLarge(message) => ServiceError::permanent(message),
            NoAnswer::Stopped(reason) => ServiceError::Stopped(reason),
        }
    }
}

/// What an answer means that is not the one that was asked for, wherever a protocol does not say otherwise.
pub(crate) fn refused(answer: &Answer) -> ServiceError {
    let message = format!("{} answered {} {}", answer.url, answer.status, answer.words());
    match answer.status {
        // A token that is not accepted, or a budget that is used up: no task's fault, and an operator can mend it.
        401..=403 | 408 | 409 | 425 | 429 | 500.. => ServiceError::Unavailable(message, answer.retry_after),
        404 | 410 => ServiceError::Unknown(message),
        _ => ServiceError::permanent(message),
    }
}
