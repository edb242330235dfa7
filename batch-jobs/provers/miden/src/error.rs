//! What can go wrong, in the words of whoever reads it.

use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    /// A word, hash or other hex field that is not what it should be.
    #[error("{0}")]
    Word(String),
    /// The block given as input is not usable.
    #[error("the block given as input: {0}")]
    Block(String),
    /// A proof file that is truncated, too large, or not of this format.
    #[error("the proof file: {0}")]
    Artifact(String),
    /// The proof is not a proof of what it says.
    #[error("the proof was rejected: {0}")]
    Rejected(String),
    /// A valid proof, but of another statement than was asked for.
    #[error("the proof is of another statement: {0}")]
    OtherStatement(String),
    /// Segment proofs that do not make up the block.
    #[error("the segments do not join: {0}")]
    Join(String),
    /// The virtual machine or its prover failed.
    #[error("proving failed: {0}")]
    Proving(String),
    /// Reading or writing failed; the one kind that may pass by itself.
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// The same error, said of one of several segments.
    pub(crate) fn of_segment(self, index: usize) -> Self {
        match self {
            Self::Rejected(why) => Self::Rejected(format!("segment {index}: {why}")),
            Self::OtherStatement(why) => Self::OtherStatement(format!("segment {index}: {why}")),
            other => other,
        }
    }

    /// Whether trying again with the same inputs is of no use.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }
}
