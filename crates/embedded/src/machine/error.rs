//! What can go wrong with a machine as a whole.

use std::io;
use std::path::PathBuf;

use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::port::PortError;
use proofyard_worker::artifacts::ArtifactError;
use proofyard_worker::isolation::IsolationError;

use crate::lock::DataDirError;

#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    #[error(transparent)]
    Yard(#[from] Error),
    #[error("{} cannot be {doing}", .path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("pool {pool} is declared in two ways; pipelines of one yard must declare it alike")]
    PoolsDiffer { pool: String },
    #[error(
        "stages {stage} of two pipelines have an action and one pool together, with different `slots`; give both as many, or one \
         of them another name"
    )]
    SlotsDiffer { stage: String },
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("{what} needs {name}, and the environment here has no such text")]
    NoVariable { what: String, name: String },
    #[error(
        "{what} is the work of {program}, which is neither beside this program nor in PATH; build it with \
         `cargo build --release -p {program}`"
    )]
    NoSinkProgram { what: String, program: &'static str },
    #[error("{what}: {reason}")]
    BadSink { what: String, reason: String },
}

impl Coded for MachineError {
    fn code(&self) -> Code {
        match self {
            Self::DataDir(error) => error.code(),
            Self::Port(error) => error.code(),
            Self::Artifacts(error) => error.code(),
            Self::Yard(error) => error.code(),
            Self::Io { .. } => Code::MachineFault,
            Self::PoolsDiffer { .. } | Self::SlotsDiffer { .. } => Code::PoolsDiffer,
            Self::Isolation(error) => error.code(),
            Self::NoVariable { .. } => Code::NoVariable,
            Self::NoSinkProgram { .. } => Code::NoSinkProgram,
            Self::BadSink { .. } => Code::BadSink,
        }
    }
}
