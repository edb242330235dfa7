//! The data directory and its lock: one yard process for a directory.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proofyard_core::error::{Code, Coded};
use proofyard_worker::durable::{create_durably, parent_of, sync_directory};

/// The state's name in the data directory.
pub const STATE_FILE: &str = "state.db";
/// Holds the process id of the yard that has the directory, for the error message of a second one.
const LOCK_FILE: &str = "lock";

/// The files that may be in a directory without a state: our lock, and what a new file system has.
const OWN_FILES: &[&str] = &[LOCK_FILE, "lost+found"];

/// Only the yard's user may read payloads and proofs, and change the state.
const PRIVATE_DIRECTORY: u32 = 0o700;
pub(crate) const PRIVATE_FILE: u32 = 0o600;

/// Takes other users' permissions away, which an earlier version or an operator may have left. Has no effect on another
/// user's files.
pub(crate) fn close_to_others(path: &Path, mode: u32) {
    let open = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if open {
        let _ = fs::set_permissions(path, Permissions::from_mode(mode));
    }
}

/// A data directory that this process alone uses, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("there is no yard in {}: the directory does not exist", .0.display())]
    Missing(PathBuf),
    #[error("there is no yard in {}: nothing was ever run there; `proofyard run` starts one", .0.display())]
    NoYard(PathBuf),
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error(
        "{} holds something else ({found}) and no yard; name a new directory, or an empty one",
        .path.display()
    )]
    NotAYard { path: PathBuf, found: String },
    #[error("another proofyard (pid {pid}) uses {0}; talk to it with `proofyard status --data {0}`", .path.display())]
    InUse { path: PathBuf, pid: String },
    #[error("{} cannot be {doing}; a yard needs a directory that it may write to", .path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
}

impl Coded for DataDirError {
    fn code(&self) -> Code {
        match self {
            Self::Missing(_) | Self::NoYard(_) => Code::NoYard,
            Self::NotADirectory(_) => Code::NotADirectory,
            Self::NotAYard { .. } => Code::NotAYard,
            Self::InUse { .. } => Code::InUse,
            Self::Io { .. } => Code::DataDirectoryUnusable,
        }
    }
}

impl DataDir {
    /// Locks the directory for this process; with `create`, makes it first where it is missing. A directory that holds
    /// anything else than a yard is refused, since a yard empties some of its folders at each start.
    pub fn open(path: &Path, create: bool) -> Result<Self, DataDirError> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => expect_own(path)?,
            Ok(_) => return Err(DataDirError::NotADirectory(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match create {
                true => create_durably(path).map_err(failed(path, "made"))?,
                false => return Err(DataDirError::Missing(path.to_owned())),
            },
            Err(error) => return Err(failed(path, "opened")(error)),
        }
        let lock = take_lock(path)?;
        close_to_others(path, PRIVATE_DIRECTORY);
        // The process that made the directory may have died before its name was on disk. This may fail where the directory
        // above cannot be opened; then ours was made by someone else, long ago.
        let _ = sync_directory(parent_of(path));
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Refuses a directory that has no state, and holds anything but a lock.
fn expect_own(path: &Path) -> Result<(), DataDirError> {
    if path.join(STATE_FILE).try_exists().map_err(failed(path, "opened"))? {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed(path, "listed"))? {
        let name = entry.map_err(failed(path, "listed"))?.file_name();
        let name = name.to_string_lossy();
        if !OWN_FILES.contains(&&*name) && !name.starts_with(STATE_FILE) {
            return Err(DataDirError::NotAYard { path: path.to_owned(), found: name.into_owned() });
        }
    }
    Ok(())
}

fn take_lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(&path)
        .map_err(failed(&path, "opened for writing"))?;
    close_to_others(&path, PRIVATE_FILE);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(DataDirError::InUse { path: dir.to_owned(), pid: holder(&mut file) });
        }
        Err(TryLockError::Error(error)) => return Err(failed(&path, "locked")(error)),
    }
    write_holder(&mut file).map_err(failed(&path, "written"))?;
    Ok(file)
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The process id of the lock's holder, as far as the file says: it is empty for a moment after the lock is taken.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => pid.to_string(),
        _ => "unknown".to_owned(),
    }
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, doing, source }
}
