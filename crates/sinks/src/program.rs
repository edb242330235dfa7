//! A program that is run for each message, which it gets as one line of JSON on its input.
//!
//! Exit code 0: it has it. 75: not now; 65: never this one. Anything else counts as "not now". The last line that it prints
//! says why, or, as `{"wait_ms": 30000}`, also how long to wait.

use proofyard_core::error::with_causes;
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::sinks::Trouble;
use proofyard_prover::runner::{Cancel, ErrorKind, Launch, run_program};
use serde::{Deserialize, Serialize};

use crate::{Destination, Message, Outcome, ToNotify};

/// `EX_TEMPFAIL` of `sysexits`.
pub const EXIT_LATER: u8 = 75;
/// `EX_DATAERR`.
pub const EXIT_REFUSED: u8 = 65;

/// What a program may print at last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitLine {
    /// How long to wait before the next try.
    pub wait_ms: u64,
    #[serde(default)]
    pub reason: Option<String>,
    /// Nothing of the message was begun, and nobody outside knows of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing_sent: bool,
    /// Nothing is wrong, and something else is to happen first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_wait: bool,
}

impl WaitLine {
    pub fn saying(wait_ms: u64, reason: String) -> Self {
        Self { wait_ms, reason: Some(reason), nothing_sent: false, is_wait: false }
    }
}

/// A program that passes messages on.
pub struct Program {
    pub launch: Launch,
    /// Ends the message that is under way.
    pub cancel: Cancel,
    /// The target that it is told with each message, where it serves several.
    pub target: Option<SinkTarget>,
}

impl Destination for Program {
    fn tell(&mut self, message: &Message) -> Outcome {
        let line = match &self.target {
            None => serde_json::to_vec(message),
            Some(target) => {
                serde_json::to_vec(&ToNotify { target: target.clone(), message: message.clone() })
            }
        };
        let mut line = match line {
            Ok(line) => line,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        line.push(b'\n');
        let error = match run_program(&self.launch, &line, &self.cancel) {
            Ok(_) => return Outcome::Done,
            Err(error) => error,
        };
        let last = error.log.last().map(String::as_str).unwrap_or_default();
        let told = serde_json::from_str::<WaitLine>(last).ok();
        let wait_ms = told.as_ref().map(|told| told.wait_ms);
        let nothing_sent = told.as_ref().is_some_and(|told| told.nothing_sent);
        let is_wait = told.as_ref().is_some_and(|told| told.is_wait);
        let said = told.and_then(|told| told.reason).or(Some(last.to_owned()).filter(|_| wait_ms.is_none()));
        let said = said.filter(|said| !said.is_empty());
        match error.kind {
            ErrorKind::Cancelled => Outcome::Interrupted,
            ErrorKind::Died { exit: Some(exit), .. } if exit == i32::from(EXIT_REFUSED) => {
                Outcome::Refused(said.unwrap_or_else(|| with_causes(&error).to_string()))
            }
            ErrorKind::Unavailable => {
                let reason = said.unwrap_or_else(|| error.to_string());
                Outcome::Later(Trouble { nothing_sent, is_wait, ..Trouble::asking(reason, wait_ms) })
            }
            _ => {
                let reason = match said {
                    Some(said) => format!("{error}: {said}"),
                    None => error.to_string(),
                };
                Outcome::Later(Trouble::asking(reason, wait_ms))
            }
        }
    }
}
