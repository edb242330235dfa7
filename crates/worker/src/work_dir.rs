//! Where provers and verifiers write: each slot has a place for its provers and one for its verifiers, and in it a folder for
//! each attempt.
//!
//! ```text
//! work/prove-0/            the place of slot 0's provers: all that they may change
//!              tmp/        their TMPDIR
//!              17/out/     an attempt's output
//!     /verify-0/...        the same for its verifiers
//!     /4/                  files that all may read and none may change
//! ```
//!
//! Places and attempts' folders belong to the yard's user, also where processes run as other users; the folders in them
//! belong to those users, and are closed to everyone else. A thread of its own clears up after attempts: removing waits for
//! the disk, which may be syncing the proof that came from there. A folder that an attempt left as it got it, but for some
//! files, is emptied and kept as a spare: the next attempt gets it under a new name, which costs the file system a fraction
//! of making and removing one.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proofyard_prover::runner::User;
use rustix::fs::statvfs;

use crate::removing::{emptied_of_files, remove};

/// How many folders may wait for the removing thread; beyond that, the thread that drops one removes it.
const MAX_WAITING: usize = 64;

/// Below this a disk counts as full.
const LEAST_ROOM_BYTES: u64 = 1 << 20;
/// How often the start tries to remove what a dead process left, and its pause in between.
const MAX_TRIES: u32 = 20;
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// The work directory of one process.
pub struct WorkDir {
    path: PathBuf,
    next: AtomicU64,
    removals: Option<SyncSender<Left>>,
    remover: Option<JoinHandle<()>>,
}

/// Where the provers of one slot write, or its verifiers.
pub(crate) struct Place {
    folder: WorkFolder,
    /// The user who writes there, if not the worker's own.
    owner: Option<User>,
    spares: Arc<Spares>,
}

/// Empty folders of a place for attempts to come.
#[derive(Default)]
struct Spares(Mutex<Vec<PathBuf>>);

/// The folder of an attempt, or of a prover's files; cleared up when it is dropped.
pub(crate) struct WorkFolder {
    path: PathBuf,
    /// An attempt's: where it may become a spare.
    spares: Option<Arc<Spares>>,
    of: Arc<WorkDir>,
}

/// A folder that nobody needs any more.
struct Left {
    path: PathBuf,
    spares: Option<Arc<Spares>>,
}

/// While one attempt's folder is emptied, the next attempt has another one.
const MAX_SPARES: usize = 2;

/// What an attempt's process may write to, in the attempt's folder.
const OUT: &str = "out";
const TEMPORARY: &str = "tmp";
const HOME: &str = "home";

/// Other users may pass through to a name that they know, but may not list it.
const PASS_ONLY: u32 = 0o711;
const OWNER_ONLY: u32 = 0o700;

impl WorkDir {
    /// The folder, made anew. What attempts of a dead process left is moved aside, and removed by another thread, since it
    /// may be more than a start can wait for. What cannot be removed is tried again at the next start.
    pub fn emptied(path: PathBuf) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            move_aside(&path)?;
        }
        fs::create_dir_all(&path)?;
        let left = path.clone();
        thread::Builder::new().name("leftover remover".into()).spawn(move || remove_left(&left))?;
        Self::new(path)
    }

    /// A work directory in a folder that exists.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        let (removals, waiting) = sync_channel::<Left>(MAX_WAITING);
        let clear_up = move || waiting.into_iter().for_each(Left::clear_up);
        let remover = Some(thread::Builder::new().name("work remover".into()).spawn(clear_up)?);
        Ok(Self { path, next: AtomicU64::new(0), removals: Some(removals), remover })
    }

    /// Lets other users go through it to their places.
    pub fn opened_to_others(self) -> io::Result<Self> {
        fs::set_permissions(&self.path, Permissions::from_mode(PASS_ONLY))?;
        Ok(self)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is so little room that a failure to write is the host's fault.
    pub(crate) fn is_full(&self) -> bool {
        statvfs(&self.path).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < LEAST_ROOM_BYTES)
    }

    /// A new place under this name, for processes of this user.
    pub(crate) fn place(self: &Arc<Self>, name: &str, owner: Option<User>) -> io::Result<Place> {
        let folder = self.made(self.path.join(name), owner, None)?;
        make_private(&folder.path.join(TEMPORARY), owner)?;
        if owner.is_some() {
            make_private(&folder.path.join(HOME), owner)?;
        }
        Ok(Place { folder, owner, spares: Arc::default() })
    }

    /// A new, empty folder of the worker's own user, which provers may only read.
    pub(crate) fn own_folder(self: &Arc<Self>) -> io::Result<WorkFolder> {
        let path = self.path.join(self.next_name());
        fs::create_dir(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(WorkFolder { path, spares: None, of: Arc::clone(self) })
    }

    fn next_name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// A new folder of the worker's own user, in which this owner may get folders.
    fn made(
        self: &Arc<Self>,
        path: PathBuf,
        owner: Option<User>,
        spares: Option<Arc<Spares>>,
    ) -> io::Result<WorkFolder> {
        fs::create_dir(&path)?;
        if owner.is_some() {
            fs::set_permissions(&path, Permissions::from_mode(PASS_ONLY))?;
        }
        Ok(WorkFolder { path, spares, of: Arc::clone(self) })
    }
}

impl Place {
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The TMPDIR of the processes there.
    pub fn temporary(&self) -> PathBuf {
        self.folder.path.join(TEMPORARY)
    }

    /// The HOME of processes that run as another user.
    pub fn home(&self) -> Option<PathBuf> {
        self.owner.is_some().then(|| self.folder.path.join(HOME))
    }

    /// A folder for an attempt, under a name that was never used, with nothing in it but an empty [`WorkFolder::out`].
    pub fn folder(&self) -> io::Result<WorkFolder> {
        let of = &self.folder.of;
        let path = self.folder.path.join(of.next_name());
        let spares = Some(Arc::clone(&self.spares));
        if let Some(spare) = self.spares.take()
            && fs::rename(&spare, &path).is_ok()
        {
            return Ok(WorkFolder { path, spares, of: Arc::clone(of) });
        }
        let folder = of.made(path, self.owner, spares)?;
        make_private(&folder.out(), self.owner)?;
        Ok(folder)
    }
}

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<PathBuf> {
        self.lock().pop()
    }
}

impl WorkFolder {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that an attempt's process may write to.
    pub fn out(&self) -> PathBuf {
        self.path.join(OUT)
    }
}

/// A new folder, accessible to its owner alone.
fn make_private(path: &Path, owner: Option<User>) -> io::Result<()> {
    DirBuilder::new().mode(OWNER_ONLY).create(path)?;
    match owner {
        Some(User { uid, gid }) => chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let left = Left { path: std::mem::take(&mut self.path), spares: self.spares.take() };
        match self.of.removals.as_ref().map(|removals| removals.try_send(left)) {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(left) | TrySendError::Disconnected(left))) => left.clear_up(),
            None => {}
        }
    }
}

impl Left {
    /// What cannot be removed now is removed at the next start.
    fn clear_up(self) {
        if let Some(spares) = self.spares
            && spares.lock().len() < MAX_SPARES
            && emptied_of_files(&self.path, OUT)
        {
            spares.lock().push(self.path);
        } else {
            let _ = remove(&self.path);
        }
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        self.removals = None;
        if let Some(remover) = self.remover.take() {
            let _ = remover.join();
        }
    }
}

/// Stands between a folder's name and the time at which it was moved aside.
const LEFT: &str = "-left-";

fn move_aside(path: &Path) -> io::Result<()> {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    fs::rename(path, path.with_file_name(format!("{name}{LEFT}{now_ns}")))
}

/// Removes what was moved aside. Tries several times: processes of a dead yard may still be ending, and writing.
fn remove_left(path: &Path) {
    let Some((parent, name)) = path.parent().zip(path.file_name()) else { return };
    let beginning = format!("{}{LEFT}", name.to_string_lossy());
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_left = entry.file_name().to_string_lossy().starts_with(&beginning);
        for _ in 0..if is_left { MAX_TRIES } else { 0 } {
            if remove(&entry.path()).is_ok() {
                break;
            }
            thread::sleep(TRY_AGAIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_folder_is_gone_with_its_attempt_and_its_name_does_not_come_back() {
        let temp = tempfile::tempdir().unwrap();
        let work_dir = Arc::new(WorkDir::new(temp.path().to_owned()).unwrap());
        let place = work_dir.place("prove-0", None).unwrap();
        let folders: Vec<_> = (0..2 * MAX_WAITING).map(|_| place.folder().unwrap()).collect();
        for folder in &folders {
            fs::write(folder.out().join("proof"), b"proof").unwrap();
            let sealed = folder.out().join("sealed");
            fs::create_dir(&sealed).unwrap();
            fs::write(sealed.join("key"), b"key").unwrap();
            fs::set_permissions(sealed, Permissions::from_mode(0o555)).unwrap();
        }
        drop(folders);
        let last = place.folder().unwrap();
        assert_eq!(last.path, place.path().join((2 * MAX_WAITING).to_string()));
        drop((last, place, work_dir));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    /// Each attempt leaves something else, and the next finds none of it, whether or not it gets the same folder.
    #[test]
    fn an_attempt_finds_nothing_of_those_before_it() {
        let temp = tempfile::tempdir().unwrap();
        let work_dir = Arc::new(WorkDir::new(temp.path().to_owned()).unwrap());
        let place = work_dir.place("prove-0", None).unwrap();
        type Leave = fn(&WorkFolder);
        let leaves: [(Leave, bool); 6] = [
            (|folder| fs::write(folder.out().join("proof"), b"proof").unwrap(), true),
            (|folder| symlink("/etc/passwd", folder.out().join("proof")).unwrap(), true),
            (|folder| fs::create_dir(folder.out().join("more")).unwrap(), false),
            (|folder| fs::write(folder.path().join("beside"), b"").unwrap(), false),
            (|folder| fs::set_permissions(folder.out(), Permissions::from_mode(0o500)).unwrap(), true),
            (|folder| fs::rename(folder.out(), folder.path().join("moved")).unwrap(), false),
        ];
        for (leave, is_kept) in leaves {
            let folder = place.folder().unwrap();
            leave(&folder);
            let (path, spares) = (folder.path.clone(), folder.spares.clone());
            std::mem::forget(folder);
            Left { path: path.clone(), spares }.clear_up();
            assert_eq!(place.spares.lock().contains(&path), is_kept, "{}", path.display());
            let next = place.folder().unwrap();
            assert_ne!(next.path, path);
            assert!(!path.exists());
            assert_eq!(fs::read_dir(&next.path).unwrap().count(), 1);
            assert_eq!(fs::read_dir(next.out()).unwrap().count(), 0);
            assert_eq!(fs::metadata(next.out()).unwrap().mode() & 0o7777, OWNER_ONLY);
            // The remover's thread would make it a spare, at some time.
            std::mem::forget(next);
        }
    }

    /// However deep it is, and whatever else was moved aside before.
    #[test]
    fn a_start_does_not_wait_for_what_was_left() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("work");
        for left in ["work", "work-left-7"] {
            fs::create_dir_all(temp.path().join(left).join("17/out")).unwrap();
        }
        fs::create_dir(temp.path().join("workshop")).unwrap();
        let work_dir = WorkDir::emptied(path.clone()).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        let names = || fs::read_dir(temp.path()).unwrap().count();
        for _ in 0..1_000 {
            if names() == 2 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(names(), 2, "the folder, and one that is named alike");
        drop(work_dir);
    }
}
