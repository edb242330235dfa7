//! Drafts: content that is to become an artifact. It is copied and hashed, and synced in the background; it has no name
//! yet.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofyard_core::state::ArtifactRef;
use sha2::{Digest, Sha256};

use super::Syncer;
use super::error::{ArtifactError, io_error};
use super::syncer::Syncing;

const CHUNK_BYTES: usize = 1 << 16;

/// Content that has no name yet: beside the artifacts, perhaps not on disk, gone when this is dropped.
pub struct Draft {
    path: PathBuf,
    file: Arc<File>,
    artifact: ArtifactRef,
    sync: Cell<Option<Syncing>>,
}

impl Draft {
    /// Copies at most `max_bytes` into a new file at this path; errors name the content as `source`.
    pub(super) fn copied(
        path: PathBuf,
        content: impl Read,
        max_bytes: u64,
        source: &Path,
    ) -> Result<Self, ArtifactError> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = Arc::new(file.map_err(io_error(&path, "made"))?);
        let artifact = ArtifactRef { sha256: String::new(), bytes: 0 };
        let mut draft = Draft { path, file, artifact, sync: Cell::default() };
        // The source may grow while it is read.
        let limited = content.take(max_bytes.saturating_add(1));
        draft.artifact =
            copy_hashed(limited, &mut &*draft.file).map_err(|failure| failure.at(source, &draft.path))?;
        if draft.artifact.bytes > max_bytes {
            return Err(ArtifactError::TooLarge { path: source.to_owned(), max_bytes });
        }
        // Verifiers get its path, and have no reason to write to it.
        draft
            .file
            .set_permissions(Permissions::from_mode(0o444))
            .map_err(io_error(&draft.path, "made read-only"))?;
        Ok(draft)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name, if it is kept.
    pub fn artifact(&self) -> &ArtifactRef {
        &self.artifact
    }

    /// Starts syncing it, so that keeping it has less to wait for.
    pub fn begin_sync(&self, syncer: &Syncer) {
        self.sync.set(syncer.begin(&self.file));
    }

    pub(super) fn end_sync(&self) -> io::Result<()> {
        match self.sync.take() {
            Some(syncing) => syncing.end(),
            None => self.file.sync_all(),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // If this fails, the next start removes it; if it was kept, it is not here any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Which side of a copy failed.
pub(super) enum CopyFailure {
    Reading(io::Error),
    Writing(io::Error),
}

impl CopyFailure {
    pub fn at(self, source: &Path, target: &Path) -> ArtifactError {
        match self {
            CopyFailure::Reading(error) => io_error(source, "read")(error),
            CopyFailure::Writing(error) => io_error(target, "written")(error),
        }
    }
}

pub(super) fn copy_hashed(mut from: impl Read, to: &mut impl Write) -> Result<ArtifactRef, CopyFailure> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyFailure::Reading(error)),
        };
        let Some(part) = chunk.get(..read) else { break };
        hash.update(part);
        to.write_all(part).map_err(CopyFailure::Writing)?;
        bytes += read as u64;
    }
    Ok(ArtifactRef { sha256: hex_of(&hash.finalize()), bytes })
}

pub(super) fn hex_of(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
