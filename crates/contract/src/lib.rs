//! Calls of a contract, a transaction for each entry of an out log, or for each task of a stage.
//!
//! [`submit`] brings one entry to its end, and [`act`] one task: it asks what the pipeline asks, sends a transaction if there is
//! something to send, and waits until blocks confirm it. What was signed is in the [`journal`] before a node hears of it, so that a crash anywhere
//! finds the same transaction again, under the same nonce, and never sends a second one beside it.
//!
//! - `values`: what stands in the braces of the pipeline's texts;
//! - `abi`: functions and errors as Solidity declares them;
//! - `chain`: what nodes are asked;
//! - `account`: who signs;
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
mod reading;
mod settling;
mod submitting;
mod values;

use std::path::PathBuf;
use std::time::Duration;

pub use account::KeyError;
pub use acting::{OfTask, act};
pub use submitting::{check, submit};

/// What a call needs from outside.
pub trait Surroundings {
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Lets time pass between two looks.
    fn pause(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// For which sink or stage, and where its account's journal is kept.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name; a stage's as [`Place::of_stage`] writes it.
    pub sink: String,
    /// A folder that all share whose accounts may be the same.
    pub journal: PathBuf,
}

impl Place {
    /// No sink is called so.
    pub fn of_stage(stage: &str, journal: PathBuf) -> Self {
        Self { sink: format!("stage/{stage}"), journal }
    }
}

/// Why an entry or a task is not at its end.
#[derive(Debug)]
pub enum Failure {
    /// Not now: the same entry is tried again.
    Later { reason: String, wait_ms: Option<u64> },
    /// The contract does not take the call as things are.
    Reverts(String),
    /// An operator has to look.
    Refused(String),
}

impl Failure {
    pub fn reason(self) -> String {
        let (Self::Later { reason, .. } | Self::Reverts(reason) | Self::Refused(reason)) = self;
        reason
    }

    fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), wait_ms: None }
    }
}
