//! Tells others over HTTP of what was proved.
//!
//! [`tell`] makes the calls that one message needs, and says what became of it. It keeps nothing: what was told is kept in
//! the yard's state. Which word is sent when is decided there too.

mod beacon;
mod ethproofs;
mod http;
mod webhook;

pub use beacon::MAX_PROOF_BYTES;
use proofyard_core::pipeline::{EndpointUrl, SinkTarget};
use proofyard_core::sinks::Trouble;
use proofyard_sinks::{Outcome, ToNotify};

/// What a target needs from outside.
pub trait Surroundings {
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// Where variables are looked for.
    fn variables_are_in(&self) -> String {
        "the environment here".to_owned()
    }
    /// Seconds since the Unix epoch, by which messages are signed.
    fn now_s(&self) -> u64;
}

/// Tells a target its message.
pub fn tell(told: &ToNotify, surroundings: &impl Surroundings) -> Outcome {
    let outcome = match &told.target {
        SinkTarget::Webhook(target) => webhook::tell(target, &told.message, surroundings),
        SinkTarget::Ethproofs(target) => ethproofs::tell(target, &told.message, surroundings),
        SinkTarget::Beacon(target) => beacon::tell(target, &told.message, surroundings),
        SinkTarget::File { .. }
        | SinkTarget::Command { .. }
        | SinkTarget::Contract(_)
        | SinkTarget::Aws(_) => {
            Err(Failure::Refused("sinks of this kind are not told over HTTP from here".to_owned()))
        }
    };
    match outcome {
        Ok(()) => Outcome::Done,
        Err(Failure::Later(trouble)) => Outcome::Later(trouble),
        Err(Failure::Refused(reason)) => Outcome::Refused(reason),
    }
}

/// Why a message was not taken.
enum Failure {
    Later(Trouble),
    Refused(String),
}

impl Failure {
    fn later(reason: impl Into<String>) -> Self {
        Self::Later(Trouble::saying(reason))
    }

    fn reason(&self) -> &str {
        match self {
            Self::Later(trouble) => &trouble.reason,
            Self::Refused(reason) => reason,
        }
    }
}

fn url(url: &EndpointUrl, surroundings: &impl Surroundings) -> Result<String, Failure> {
    match url {
        EndpointUrl::Is(url) => Ok(url.clone()),
        EndpointUrl::From(name) => variable(name, surroundings),
    }
}

fn variable(name: &str, surroundings: &impl Surroundings) -> Result<String, Failure> {
    let value = surroundings.variable(name).filter(|value| !value.trim().is_empty());
    let value =
        value.ok_or_else(|| Failure::later(format!("{} has no {name}", surroundings.variables_are_in())))?;
    Ok(value.trim().to_owned())
}
