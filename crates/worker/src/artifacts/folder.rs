//! The store of artifacts in a folder of this machine.
//!
//! `artifacts/ab/abcdef...` holds the content whose hash that is. Content gets its name only when it is on disk, so
//! that a name that exists after a crash has all of its bytes. Content that is found short or changed nevertheless (by a
//! failing disk, or by hand) is an error when it is read, and is replaced when the same content is put again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proofyard_core::state::{ArtifactRef, TaskId, is_sha256};
use sha2::{Digest, Sha256};

use super::draft::{copy_hashed, hex_of};
use super::error::io_error;
use super::{ArtifactError, ArtifactStore, Draft};
use crate::durable::{create_durably, sync_directory};

const FOLDER: &str = "artifacts";
/// For content that has no name yet; emptied at each start.
const UNNAMED: &str = "unnamed";
/// For unrecorded results: for each task a file that describes the result, and a link to the content.
const ASIDE: &str = "aside";
/// An unrecorded result that no attempt has used in so long is of a block that left the chain, or was given up.
const ASIDE_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The artifacts of one directory. Shared by all of a process's threads.
pub struct Artifacts {
    root: PathBuf,
    next_unnamed: AtomicU64,
    syncs: AtomicU64,
}

impl Artifacts {
    /// Opens the folder in a directory that this process alone uses, and clears what a crash left half-written.
    pub fn open(directory: &Path) -> Result<Self, ArtifactError> {
        let artifacts = Self::reading(directory);
        let unnamed = artifacts.root.join(UNNAMED);
        create_durably(&unnamed).map_err(io_error(&unnamed, "made"))?;
        artifacts.make_shards()?;
        artifacts.clear_aside()?;
        for entry in fs::read_dir(&unnamed).map_err(io_error(&unnamed, "listed"))? {
            let left = entry.map_err(io_error(&unnamed, "listed"))?.path();
            fs::remove_file(&left).map_err(io_error(&left, "removed"))?;
        }
        Ok(artifacts)
    }

    /// Removes what was set aside long ago.
    fn clear_aside(&self) -> Result<(), ArtifactError> {
        let folder = self.root.join(ASIDE);
        create_durably(&folder).map_err(io_error(&folder, "made"))?;
        for entry in fs::read_dir(&folder).map_err(io_error(&folder, "listed"))? {
            let entry = entry.map_err(io_error(&folder, "listed"))?;
            let modified = entry.metadata().and_then(|found| found.modified());
            if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ASIDE_FOR)) {
                fs::remove_file(entry.path()).map_err(io_error(&entry.path(), "removed"))?;
            }
        }
        Ok(())
    }

    fn aside(&self, task: &TaskId) -> Aside {
        let name = hex_of(&Sha256::digest(task.to_string()));
        let at = |kind: &str| self.root.join(ASIDE).join(format!("{name}.{kind}"));
        Aside { content: at("content"), made: at("made"), part: at("part") }
    }

    /// All at once and synced, so that no content gets its name in a folder that a power loss may take away.
    fn make_shards(&self) -> Result<(), ArtifactError> {
        for shard in 0..=u8::MAX {
            let folder = self.root.join(format!("{shard:02x}"));
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io_error(&folder, "made")(error));
                }
                _ => {}
            }
        }
        sync_directory(&self.root).map_err(io_error(&self.root, "synced"))
    }

    /// The folder for reading only, while another process may have the directory.
    pub fn reading(directory: &Path) -> Self {
        // Its paths are given to programs with another working directory.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        Self { root: directory.join(FOLDER), next_unnamed: AtomicU64::new(0), syncs: AtomicU64::new(0) }
    }

    /// The folder for a process that puts content there while another may have the directory. Drafts of this process are
    /// lost if the other one starts meanwhile.
    pub fn beside(directory: &Path) -> Self {
        // The process that has the directory counts its drafts from 0.
        let first_unnamed = u64::from(std::process::id()) << 32;
        Self { next_unnamed: AtomicU64::new(first_unnamed), ..Self::reading(directory) }
    }

    /// Where the content is, or would be.
    pub fn path(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError> {
        let name = &artifact.sha256;
        match name.get(..2) {
            Some(shard) if is_sha256(name) => Ok(self.root.join(shard).join(name)),
            _ => Err(ArtifactError::BadName(name.clone())),
        }
    }

    /// Keeps a copy of these bytes. It is on disk, under its name, when this returns.
    pub fn put_bytes(&self, content: &[u8]) -> Result<ArtifactRef, ArtifactError> {
        self.keep(&self.draft(content, u64::MAX, Path::new("the content"))?)
    }

    /// The content, checked against its name. Its size is checked against `max_bytes` before anything is read.
    pub fn read(&self, artifact: &ArtifactRef, max_bytes: u64) -> Result<Vec<u8>, ArtifactError> {
        if artifact.bytes > max_bytes {
            return Err(ArtifactError::TooLarge { path: self.path(artifact)?, max_bytes });
        }
        let mut content = Vec::new();
        self.check(artifact, &mut content)?;
        Ok(content)
    }

    /// Whether the content is there and whole; reads all of it.
    pub fn verify(&self, artifact: &ArtifactRef) -> Result<(), ArtifactError> {
        self.check(artifact, &mut io::sink())
    }

    /// The file, for reading what is not to be held in memory. Only its size is checked.
    pub fn open_file(&self, artifact: &ArtifactRef) -> Result<File, ArtifactError> {
        let path = self.path(artifact)?;
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ArtifactError::Missing(path.clone()),
            _ => ArtifactError::Io { path: path.clone(), doing: "read", source: error },
        })?;
        let bytes = file.metadata().map_err(io_error(&path, "read"))?.len();
        if bytes != artifact.bytes {
            let what = format!("it has {bytes} of {} bytes", artifact.bytes);
            return Err(ArtifactError::Damaged { path, what });
        }
        Ok(file)
    }

    fn check(&self, artifact: &ArtifactRef, copy: &mut impl Write) -> Result<(), ArtifactError> {
        let path = self.path(artifact)?;
        let file = self.open_file(artifact)?;
        let found =
            copy_hashed(file.take(artifact.bytes), copy).map_err(|failure| failure.at(&path, &path))?;
        if found != *artifact {
            let what = format!("its {} bytes hash to {}", found.bytes, found.sha256);
            return Err(ArtifactError::Damaged { path, what });
        }
        Ok(())
    }

    /// The folder that holds all of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many syncs were waited for since it was opened.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn count_sync(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    fn unnamed_path(&self) -> PathBuf {
        self.root.join(UNNAMED).join(self.next_unnamed.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn give_name(&self, draft: &Draft) -> Result<(), ArtifactError> {
        let path = self.path(draft.artifact())?;
        let folder = path.parent().unwrap_or(&self.root);
        if self.verify(draft.artifact()).is_err() {
            // It was missing, or damaged; this repairs it.
            fs::rename(draft.path(), &path).map_err(io_error(&path, "named"))?;
        }
        // Also when the name was there: the process that gave it may have died before this.
        self.count_sync();
        sync_directory(folder).map_err(io_error(folder, "synced"))
    }
}

impl ArtifactStore for Artifacts {
    fn fetch(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError> {
        self.verify(artifact)?;
        self.path(artifact)
    }

    fn draft(&self, content: impl Read, max_bytes: u64, source: &Path) -> Result<Draft, ArtifactError> {
        Draft::copied(self.unnamed_path(), content, max_bytes, source)
    }

    fn keep(&self, draft: &Draft) -> Result<ArtifactRef, ArtifactError> {
        self.count_sync();
        draft.end_sync().map_err(io_error(draft.path(), "synced"))?;
        self.give_name(draft)?;
        Ok(draft.artifact().clone())
    }

    fn set_aside(&self, draft: &Draft, task: &TaskId, made: Vec<u8>) -> Result<(), ArtifactError> {
        let aside = self.aside(task);
        aside.remove();
        fs::hard_link(draft.path(), &aside.content).map_err(io_error(&aside.content, "made"))?;
        fs::write(&aside.part, made).map_err(io_error(&aside.part, "written"))?;
        // A file of this name is complete.
        fs::rename(&aside.part, &aside.made).map_err(io_error(&aside.made, "named"))
    }

    fn discard_unrecorded(&self, task: &TaskId) {
        self.aside(task).remove();
    }

    /// Gives the content its name, as if the earlier attempt had kept it.
    fn unrecorded(&self, task: &TaskId) -> Result<Option<Vec<u8>>, ArtifactError> {
        let aside = self.aside(task);
        let made = match fs::read(&aside.made) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            made => made.map_err(io_error(&aside.made, "read"))?,
        };
        let content = File::open(&aside.content).map_err(io_error(&aside.content, "read"))?;
        self.keep(&self.draft(content, u64::MAX, &aside.content)?)?;
        Ok(Some(made))
    }

    fn reject_unrecorded(&self, task: &TaskId, _why: &str) {
        self.discard_unrecorded(task);
    }

    fn name_of(&self, artifact: &ArtifactRef) -> String {
        self.path(artifact).map_or_else(|_| artifact.sha256.clone(), |path| path.display().to_string())
    }
}

/// The files of a task's unrecorded result.
struct Aside {
    content: PathBuf,
    made: PathBuf,
    /// `made`, while it is written.
    part: PathBuf,
}

impl Aside {
    /// First the description, without which the content is never used.
    fn remove(&self) {
        if fs::remove_file(&self.made).is_ok() || self.content.exists() {
            let _ = fs::remove_file(&self.content);
        }
    }
}
