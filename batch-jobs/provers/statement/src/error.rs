//! Errors, with messages for the operator.

use proofyard_prover::Failure;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    /// A hash, state or other hex field that is not what it should be.
    #[error("{0}")]
    Hex(String),
    /// The inputs are not what this prover works on.
    #[error("the inputs: {0}")]
    Inputs(String),
    /// The block given as input is not usable.
    #[error("the block given as input: {0}")]
    Block(String),
    /// A proof file that is truncated, too large, or not of this format.
    #[error("the proof file: {0}")]
    ProofFile(String),
    /// The proof is not a proof of what it says.
    #[error("the proof was rejected: {0}")]
    Rejected(String),
    /// A valid proof, but of another statement than was asked for.
    #[error("the proof is of another statement: {0}")]
    OtherStatement(String),
    /// A key that is missing, damaged, or not the one that was asked for.
    #[error("the key: {0}")]
    Key(String),
    /// Proofs that do not follow each other.
    #[error("the proofs do not join: {0}")]
    Join(String),
    /// The proof system's library failed.
    #[error("proving failed: {0}")]
    Proving(String),
    /// Reading or writing failed; the only transient kind.
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
}

impl Error {
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// The same error, said of one of several parts, such as "segment 2".
    pub fn of(self, part: impl std::fmt::Display) -> Self {
        match self {
            Self::Block(why) => Self::Block(format!("{part}: {why}")),
            Self::ProofFile(why) => Self::ProofFile(format!("{part}: {why}")),
            Self::Rejected(why) => Self::Rejected(format!("{part}: {why}")),
            Self::OtherStatement(why) => Self::OtherStatement(format!("{part}: {why}")),
            other => other,
        }
    }

    /// Whether every attempt with the same inputs fails.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.is_permanent() { Self::permanent(error) } else { Self::transient(error) }
    }
}
