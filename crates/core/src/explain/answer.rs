//! What is said of one height: the case, its sentence, what is below it, and what would move it.

use super::hold::Hold;
use super::{Case, Line};
use crate::chain_look::ChainLook;

/// The way out of a halt.
pub(super) const END_OF_HALT: &str = "finding out who is right, then `proofyard resume`";

/// What is said of one height.
pub(super) struct Answer {
    pub(super) case: Case,
    pub(super) verdict: String,
    pub(super) details: Vec<Line>,
    pub(super) ways: Vec<String>,
}

impl Answer {
    pub(super) fn new(case: Case, verdict: String) -> Self {
        Self { case, verdict, details: Vec::new(), ways: Vec::new() }
    }

    pub(super) fn of(look: &ChainLook, height: u64, hold: Hold) -> Self {
        let verdict = not_committed(look, height, &hold.because);
        Self { case: hold.case, verdict, details: Vec::new(), ways: hold.ways }
    }

    pub(super) fn detail(mut self, line: Line) -> Self {
        self.details.push(line);
        self
    }

    pub(super) fn way(mut self, way: impl Into<String>) -> Self {
        self.ways.push(way.into());
        self
    }

    /// As part of another answer, whose way out it is as well.
    pub(super) fn into_line(self) -> (Line, Vec<String>) {
        (Line::over(self.verdict, self.details), self.ways)
    }
}

pub(super) fn not_committed(look: &ChainLook, height: u64, because: &str) -> String {
    format!("Block {height} of chain {} is not committed: {because}.", look.chain())
}

/// What lets cuts close that lack a field of a block.
pub(super) fn ways_of_lacking(stage: &str) -> Vec<String> {
    vec![
        format!("a pipeline whose stage {stage} names a field that each block has, as its node names it"),
        "the same blocks once more, by the run of their file or from whoever sends them: a field that was not kept is \
         taken from them"
            .to_owned(),
    ]
}
