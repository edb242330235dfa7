//! The folder of artifacts: each written once, named by its SHA-256, never changed.
//!
//! `artifacts/ab/abcdef...` holds the content whose hash that is. Content gets its name only when it is on disk, so
//! that a name that exists after a crash has all of its bytes. What is found short or changed nevertheless (a failing
//! disk, a careless hand) is an error when it is read, and is replaced when the same content is put again.
//!
//! A home that keeps its artifacts elsewhere has an [`ArtifactStore`] of its own, over such a folder for what is here.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proofyard_core::state::{ArtifactRef, TaskId, is_sha256};
use sha2::{Digest, Sha256};

use crate::durable::{create_durably, sync_directory};

const FOLDER: &str = "artifacts";
/// For content that has no name yet; emptied at each start.
const UNNAMED: &str = "unnamed";
/// For what was made and is not recorded: for each task a file of what is to be known, and a link to the content.
const ASIDE: &str = "aside";
/// What nobody asked for in so long is of a block that is gone.
const ASIDE_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
const CHUNK_BYTES: usize = 1 << 16;

/// Where a worker finds what its tasks are made of, and puts what it made. Content is named by its hash.
///
/// It is called inside [`crate::WorkerHome::block_on`], on that thread, and blocks it: a store that waits on a network does so
/// on threads of its own.
pub trait ArtifactStore: Send + Sync + 'static {
    /// The content as a file on this machine, checked against its name.
    fn fetch(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError>;
    /// Copies at most `max_bytes` to this machine; `source` is what an error calls them. Unnamed yet, it can be read at
    /// once.
    fn draft(&self, content: impl Read, max_bytes: u64, source: &Path) -> Result<Draft, ArtifactError>;
    /// Gives a draft its name. It is durable, under its name, when this returns.
    fn keep(&self, draft: &Draft) -> Result<ArtifactRef, ArtifactError>;
    /// Keeps a draft, and beside it, until nobody can want it any more, what its task's next attempt is to know if this
    /// one's result is never recorded. A store may remember nothing: then that attempt makes it again.
    fn keep_for(&self, draft: &Draft, _task: &TaskId, _made: Vec<u8>) -> Result<ArtifactRef, ArtifactError> {
        self.keep(draft)
    }
    /// The same before its verifier is asked: should this process die meanwhile, the task's next attempt finds the draft
    /// on this machine. It need not outlive a power loss.
    fn set_aside(&self, _draft: &Draft, _task: &TaskId, _made: Vec<u8>) -> Result<(), ArtifactError> {
        Ok(())
    }
    /// Told that no later attempt needs what was left for it.
    fn forget(&self, _task: &TaskId) {}
    /// What an earlier attempt at this task left to be known, if anything did. It may be damaged.
    fn recall(&self, _task: &TaskId) -> Result<Option<Vec<u8>>, ArtifactError> {
        Ok(None)
    }
    /// Told why what was recalled is of no use.
    fn dismiss(&self, _task: &TaskId, _why: &str) {}
    /// What messages call an artifact: a path, or an address.
    fn name_of(&self, artifact: &ArtifactRef) -> String;
}

#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("{} cannot be {doing}: {source}", .path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("{} has more than {max_bytes} bytes, which is all that is taken", .path.display())]
    TooLarge { path: PathBuf, max_bytes: u64 },
    #[error("artifact {} is missing; put back a copy of it, or prove its block again (`proofyard redo HEIGHT`)", .0.display())]
    Missing(PathBuf),
    #[error("artifact {} is damaged: {what}; put back a copy of it, or prove its block again (`proofyard redo HEIGHT`)", .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{0:?} is not a SHA-256 in lower-case hex")]
    BadName(String),
    /// Of a store on another machine.
    #[error("{artifact} cannot be {doing}: {reason}")]
    Remote { artifact: String, doing: &'static str, reason: String, passes: bool },
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
    /// The same call may succeed later: once there is room again, or the other machine answers.
    pub fn passes(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full_disk(source),
            Self::Remote { passes, .. } => *passes,
            _ => false,
        }
    }

    /// Nobody has it any more as it was, as far as its store knows.
    pub fn is_lost(&self) -> bool {
        use ArtifactError::{Damaged, DamagedThere, Missing, MissingThere};
        matches!(self, Missing(_) | Damaged { .. } | MissingThere { .. } | DamagedThere { .. })
    }
}

pub(crate) fn is_full_disk(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Content that has no name yet: beside the artifacts, perhaps not on disk, gone when this is dropped.
pub struct Draft {
    path: PathBuf,
    file: Arc<File>,
    artifact: ArtifactRef,
    sync: Cell<Option<JoinHandle<io::Result<()>>>>,
}

impl Draft {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it will be called if it is kept.
    pub fn artifact(&self) -> &ArtifactRef {
        &self.artifact
    }

    /// Has the disk sync it from now on, so that keeping it need not wait for all of that.
    pub fn begin_sync(&self) {
        let file = Arc::clone(&self.file);
        let sync = thread::Builder::new().name("artifact sync".into()).spawn(move || file.sync_all());
        self.sync.set(sync.ok());
    }

    fn end_sync(&self) -> io::Result<()> {
        match self.sync.take().map(JoinHandle::join) {
            Some(Ok(synced)) => synced,
            Some(Err(_)) => Err(io::Error::other("the thread that synced it panicked")),
            None => self.file.sync_all(),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // At worst it is cleared at the next start; if it was kept, it is not here any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// The artifacts of one directory. Shared by all of a process's threads.
pub struct Artifacts {
    root: PathBuf,
    next_unnamed: AtomicU64,
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

    /// What was set aside long ago goes.
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

    /// All at once and synced, so that no content gets its name in a folder that may itself be lost.
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
        // Paths in it are told to programs that run elsewhere.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        Self { root: directory.join(FOLDER), next_unnamed: AtomicU64::new(0) }
    }

    /// The folder for a process that puts content there while another may have the directory. What it is about to name
    /// is lost if that process starts meanwhile.
    pub fn beside(directory: &Path) -> Self {
        // A process that has the directory counts from 0.
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

    /// The folder of it all.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn unnamed_path(&self) -> PathBuf {
        self.root.join(UNNAMED).join(self.next_unnamed.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn give_name(&self, draft: &Draft) -> Result<(), ArtifactError> {
        let path = self.path(&draft.artifact)?;
        let folder = path.parent().unwrap_or(&self.root);
        if self.verify(&draft.artifact).is_err() {
            // Missing, or damaged and mended by this.
            fs::rename(&draft.path, &path).map_err(io_error(&path, "named"))?;
        }
        // Also when the name was there: whoever gave it may have died before this.
        sync_directory(folder).map_err(io_error(folder, "synced"))
    }
}

impl ArtifactStore for Artifacts {
    fn fetch(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError> {
        self.verify(artifact)?;
        self.path(artifact)
    }

    fn draft(&self, content: impl Read, max_bytes: u64, source: &Path) -> Result<Draft, ArtifactError> {
        let path = self.unnamed_path();
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
        // Provers get its path, and none has a reason to write to it.
        draft
            .file
            .set_permissions(Permissions::from_mode(0o444))
            .map_err(io_error(&draft.path, "made read-only"))?;
        Ok(draft)
    }

    fn keep(&self, draft: &Draft) -> Result<ArtifactRef, ArtifactError> {
        draft.end_sync().map_err(io_error(&draft.path, "synced"))?;
        self.give_name(draft)?;
        Ok(draft.artifact.clone())
    }

    fn set_aside(&self, draft: &Draft, task: &TaskId, made: Vec<u8>) -> Result<(), ArtifactError> {
        let aside = self.aside(task);
        aside.remove();
        fs::hard_link(&draft.path, &aside.content).map_err(io_error(&aside.content, "made"))?;
        fs::write(&aside.part, made).map_err(io_error(&aside.part, "written"))?;
        // By this name it is whole.
        fs::rename(&aside.part, &aside.made).map_err(io_error(&aside.made, "named"))
    }

    fn forget(&self, task: &TaskId) {
        self.aside(task).remove();
    }

    /// The content gets its name here, as that of any other artifact.
    fn recall(&self, task: &TaskId) -> Result<Option<Vec<u8>>, ArtifactError> {
        let aside = self.aside(task);
        let made = match fs::read(&aside.made) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            made => made.map_err(io_error(&aside.made, "read"))?,
        };
        let content = File::open(&aside.content).map_err(io_error(&aside.content, "read"))?;
        self.keep(&self.draft(content, u64::MAX, &aside.content)?)?;
        Ok(Some(made))
    }

    fn dismiss(&self, task: &TaskId, _why: &str) {
        self.forget(task);
    }

    fn name_of(&self, artifact: &ArtifactRef) -> String {
        self.path(artifact).map_or_else(|_| artifact.sha256.clone(), |path| path.display().to_string())
    }
}

/// Where what was made for a task is, until its result is recorded.
struct Aside {
    content: PathBuf,
    made: PathBuf,
    /// What is to be known, while it is written.
    part: PathBuf,
}

impl Aside {
    /// First that by which the rest is found.
    fn remove(&self) {
        if fs::remove_file(&self.made).is_ok() || self.content.exists() {
            let _ = fs::remove_file(&self.content);
        }
    }
}

/// Which side of a copy failed.
enum CopyFailure {
    Reading(io::Error),
    Writing(io::Error),
}

impl CopyFailure {
    fn at(self, source: &Path, target: &Path) -> ArtifactError {
        match self {
            CopyFailure::Reading(error) => io_error(source, "read")(error),
            CopyFailure::Writing(error) => io_error(target, "written")(error),
        }
    }
}

fn copy_hashed(mut from: impl Read, to: &mut impl Write) -> Result<ArtifactRef, CopyFailure> {
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

fn hex_of(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.to_owned();
    move |source| ArtifactError::Io { path, doing, source }
}
