//! Errors of artifact stores; which of them are transient, and which say that content is lost.

use std::io;
use std::path::{Path, PathBuf};

use proofyard_core::error::{Cause, Code, Coded};

#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("{} cannot be {doing}", .path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("{} has more than {max_bytes} bytes, which is all that is taken", .path.display())]
    TooLarge { path: PathBuf, max_bytes: u64 },
    #[error("artifact {} is missing; put back a copy of it, or prove its block again (`proofyard redo HEIGHT`)", .0.display())]
    Missing(PathBuf),
    #[error("artifact {} is damaged: {what}; put back a copy of it, or prove its block again (`proofyard redo HEIGHT`)", .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{0:?} is not a SHA-256 in lower-case hex")]
    BadName(String),
    /// A store on another machine failed.
    #[error("{artifact} cannot be {doing}")]
    Remote { artifact: String, doing: &'static str, source: Cause, passes: bool },
    #[error(
        "artifact {artifact} is missing; put back a copy of it, or prove its block again (`proofyard redo HEIGHT`)"
    )]
    MissingThere { artifact: String },
    #[error(
        "artifact {artifact} is damaged: {what}; put back a copy of it, or prove its block again (`proofyard redo HEIGHT`)"
    )]
    DamagedThere { artifact: String, what: String },
}

impl ArtifactError {
    /// Whether the error is transient: the disk is full, or the remote store is unavailable.
    pub fn passes(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full_disk(source),
            Self::Remote { passes, .. } => *passes,
            _ => false,
        }
    }

    /// The store does not have the content any more, or not as it was.
    pub fn is_lost(&self) -> bool {
        use ArtifactError::{Damaged, DamagedThere, Missing, MissingThere};
        matches!(self, Missing(_) | Damaged { .. } | MissingThere { .. } | DamagedThere { .. })
    }
}

impl Coded for ArtifactError {
    fn code(&self) -> Code {
        match self {
            Self::Io { .. } => Code::ArtifactFault,
            Self::TooLarge { .. } => Code::ArtifactTooLarge,
            Self::Missing(_) | Self::MissingThere { .. } => Code::ArtifactMissing,
            Self::Damaged { .. } | Self::DamagedThere { .. } => Code::ArtifactDamaged,
            Self::BadName(_) => Code::BadArtifactName,
            Self::Remote { .. } => Code::ArtifactStoreFault,
        }
    }
}

pub(crate) fn is_full_disk(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.to_owned();
    move |source| ArtifactError::Io { path, doing, source }
}
