//! Why a block is not committed, from state alone: what it waits for, who holds it since when, what was tried and
//! how it failed, and what would move it.

mod answer;
mod block;
mod cut;
mod hold;
mod passed;
mod stages;
mod text;
mod untold;

use crate::state::ChainName;
use serde::Serialize;

pub use text::{count, span};

/// The answer to "why is this block not committed?". `Display` writes it for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    pub chain: ChainName,
    pub height: u64,
    /// When this was read; times in the text are relative to it.
    pub now_ms: u64,
    pub case: Case,
    /// One short sentence.
    pub verdict: String,
    pub details: Vec<Line>,
    /// What would bring it on, exact commands included; empty where nothing needs to.
    pub what_would_move_it: Vec<String>,
}

/// What kind of answer it is, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    BelowStart,
    /// No block is known at the height.
    Unknown,
    /// Blocks are known at the height, and none is on the chain.
    NotCanonical,
    /// Not opened: the frontier is too far below.
    BeyondWindow,
    Paused,
    Halted,
    Reorg,
    /// Its next step is due, and is taken by whoever looks next.
    Due,
    /// Tasks wait for a worker, run, or back off.
    Working,
    /// A task waits for an operator.
    Parked,
    /// A stage's inputs do not fit together, or a block lacks what its cut looks at.
    Blocked,
    /// It is committed by a cut, and that has not closed yet.
    WaitsForCut,
    /// Proved, and a lower height is not.
    BehindFrontier,
    Committed,
    /// Given up at its deadline.
    Missed,
}

/// One line of an explanation, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub under: Vec<Line>,
}

impl Line {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), under: Vec::new() }
    }

    fn over(text: impl Into<String>, under: Vec<Self>) -> Self {
        Self { text: text.into(), under }
    }
}
