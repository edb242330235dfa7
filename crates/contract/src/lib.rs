//! Calls of a contract, a transaction for each entry of an out log, or for each task of a stage.
//!
//! [`submit`] brings one entry to its end, and [`act`] one task: it asks what the pipeline asks, sends a transaction if there is
//! something to send, and waits until blocks confirm it. What was signed is in the [`journal`] before a node hears of it, so that a crash anywhere
//! finds the same transaction again, under the same nonce, and never sends a second one beside it.
//!
//! - `values`: what stands in the braces of the pipeline's texts;
//! - `abi`: functions and errors as Solidity declares them;
//! - `chain`: what nodes are asked;
//! - `account`: who signs; `kms`: keys that sign in AWS KMS;
//! - `journal`: what an account has sent;
//! - `settling`: what became of that: included, reorged out, dropped, stuck, overtaken;
//! - `reading`: what is asked before it and behind it, and what messages bring as files;
//! - `gaps`: a nonce that nobody has, and that all above it wait for;
//! - `submitting`: one entry or task, from its first question to its last confirmation;
//! - `acting`: a task, and what its transaction came to.

mod abi;
mod account;
mod acting;
mod chain;
mod gaps;
mod journal;
mod kms;
mod reading;
mod settling;
mod submitting;
mod values;

use std::time::Duration;

use proofyard_core::state::FailureKind;

pub use account::KeyError;
pub use acting::{OfTask, act};
pub use journal::{Change, Journals, Page, Pages, Written};
pub use kms::{Kms, KmsError};
pub use reading::{PROOF_BYTES, RESULT_BYTES};
pub use submitting::{check, submit};

/// What a call needs from outside.
pub trait Surroundings {
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Lets time pass between two looks.
    fn pause(&self, duration: Duration) -> impl Future<Output = ()>;
    /// Where keys sign that nobody has.
    fn kms(&self) -> &Kms;
    /// How long blocks are waited for here at most, also where the pipeline allows more.
    fn max_wait_ms(&self) -> u64 {
        u64::MAX
    }
}

/// For which sink or stage, and where its account's journal is kept.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name, behind its chain's and a `/` where chains share journals; a stage's as [`Place::of_stage`] writes it.
    pub sink: String,
    pub journals: Journals,
}

impl Place {
    /// As operators say it.
    fn sink_name(&self) -> &str {
        self.sink.rsplit('/').next().unwrap_or_default()
    }

    /// No sink is called so.
    pub fn of_stage(stage: &str, journals: Journals) -> Self {
        Self { sink: format!("stage/{stage}"), journals }
    }
}

/// Why an entry or a task is not at its end.
#[derive(Debug)]
pub enum Failure {
    /// Not now: the same entry is tried again.
    Later { reason: String, wait_ms: Option<u64> },
    /// Nothing is wrong, and something is waited for.
    Waits { reason: String, wait_ms: u64 },
    /// Another process has written the account's journal meanwhile: all is looked at anew.
    Again,
    /// The contract does not take the call as things are.
    Reverts(String),
    /// An operator has to look.
    Refused(String),
}

impl Failure {
    /// What it is where the call is a task's.
    pub fn kind(&self) -> FailureKind {
        match self {
            // Nothing is wrong with the task: it is tried again for long.
            Self::Later { .. } => FailureKind::Unavailable,
            Self::Waits { wait_ms, .. } => FailureKind::Waits { wait_ms: *wait_ms },
            Self::Again => FailureKind::Waits { wait_ms: submitting::millis(submitting::LAST_LOOK) },
            Self::Reverts(_) => FailureKind::Transient,
            Self::Refused(_) => FailureKind::Permanent,
        }
    }

    pub fn reason(self) -> String {
        match self {
            Self::Later { reason, .. }
            | Self::Waits { reason, .. }
            | Self::Reverts(reason)
            | Self::Refused(reason) => reason,
            Self::Again => "another process writes the account's journal".to_owned(),
        }
    }

    fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), wait_ms: None }
    }
}
