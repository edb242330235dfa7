//! What can go wrong with a machine as a whole.

use std::io;
use std::path::PathBuf;

use proofyard_core::error::Error;
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
    #[error("{} cannot be {doing}: {source}", .path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("pool {pool} is declared in two ways; pipelines of one yard must declare it alike")]
    PoolsDiffer { pool: String },
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("prover {prover} needs {name} (`environment_from`), and the environment here has no such text")]
    NoVariable { prover: String, name: String },
}
