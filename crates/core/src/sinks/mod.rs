//! Sinks: the consumers of proofs. The state is the truth: what they were told is recorded once they have it, so that a
//! crash in between repeats it, and nothing is left out.
//!
//! - [`ordered`]: those that read an out log from a cursor of their own, at least once, in order;
//! - [`spaced`]: of the ordered ones, those that get the newest entry once in a while, for all below it;
//! - [`level`]: those that are told how far each block is, in any order of blocks, and never an older word after a newer;
//! - [`operator`]: what a person says of either: pause, resume, skip, again.

mod level;
mod operator;
mod ordered;
mod spaced;

pub use level::{BlockNews, NewsProof};
pub use operator::{SinkWord, SinkWordDone};
pub(crate) use ordered::Turn;

use crate::yard::Yard;

/// The first wait after a failed try, and the longest.
const FIRST_WAIT_MS: u64 = 1_000;
const LONGEST_WAIT_MS: u64 = 300_000;
/// The longest that a sink may ask us to wait.
const LONGEST_ASKED_MS: u64 = 3_600_000;

/// Why a message could not be handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: String,
    /// How long the other side asks us to wait, if it does.
    pub wait_ms: Option<u64>,
    /// Nothing is wrong: something else is to happen first, as blocks that confirm a transaction. It is no failure, and no
    /// pause grows by it.
    pub is_wait: bool,
    /// Nothing of the message was begun, and nobody outside knows of it.
    pub nothing_sent: bool,
}

impl Trouble {
    /// The other side may say how long to wait.
    pub fn asking(reason: impl Into<String>, wait_ms: Option<u64>) -> Self {
        Self { reason: reason.into(), wait_ms, is_wait: false, nothing_sent: false }
    }

    /// It does not say so.
    pub fn saying(reason: impl Into<String>) -> Self {
        Self::asking(reason, None)
    }

    /// It goes as it should, and is looked at again after so long.
    pub fn waiting(reason: impl Into<String>, wait_ms: u64) -> Self {
        Self { is_wait: true, ..Self::asking(reason, Some(wait_ms)) }
    }

    /// How many failures there are with this one.
    fn failures_after(&self, failures: u32) -> u32 {
        if self.is_wait { 0 } else { failures.saturating_add(1) }
    }
}

impl Yard {
    /// When a sink is tried again after so many failures before this one: after a pause that doubles, a little longer by
    /// chance so that many do not come back at once, and no sooner than it asks for.
    fn next_try_ms(&self, failures: u32, trouble: &Trouble) -> u64 {
        let asked_ms = trouble.wait_ms.unwrap_or(0).min(LONGEST_ASKED_MS);
        if trouble.is_wait {
            return self.port.now_ms().saturating_add(asked_ms);
        }
        let wait_ms = FIRST_WAIT_MS.saturating_mul(1 << failures.min(16)).min(LONGEST_WAIT_MS);
        let wait_ms = wait_ms + self.port.random() % (wait_ms / 4);
        self.port.now_ms().saturating_add(wait_ms.max(asked_ms))
    }
}
