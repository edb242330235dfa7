//! Where provers write: a folder for each attempt.
//!
//! Another thread removes them, since that waits for the disk while it syncs the very proof that came from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Folders that wait to be removed; beyond these, whoever is done with one removes it.
const MAX_WAITING: usize = 64;

pub(crate) struct WorkDir {
    path: PathBuf,
    next: AtomicU64,
    removals: Option<SyncSender<PathBuf>>,
    remover: Option<JoinHandle<()>>,
}

/// One attempt's, gone with it.
pub(crate) struct AttemptFolder {
    path: PathBuf,
    of: Arc<WorkDir>,
}

impl WorkDir {
    /// A folder that exists, and holds nothing of an earlier process.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        let (removals, waiting) = sync_channel::<PathBuf>(MAX_WAITING);
        let remove = move || waiting.iter().for_each(|path| remove(&path));
        let remover = Some(thread::Builder::new().name("work remover".into()).spawn(remove)?);
        Ok(Self { path, next: AtomicU64::new(0), removals: Some(removals), remover })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new, empty folder.
    pub fn folder(self: &Arc<Self>) -> io::Result<AttemptFolder> {
        let path = self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path)?;
        Ok(AttemptFolder { path, of: Arc::clone(self) })
    }
}

impl AttemptFolder {
    /// A new folder in it.
    pub fn inner(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for AttemptFolder {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        match self.of.removals.as_ref().map(|removals| removals.try_send(path.clone())) {
            Some(Ok(())) => {}
            _ => remove(&path),
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

/// What cannot be removed now is removed at the next start.
fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_with_its_attempt_and_its_name_does_not_come_back() {
        let temp = tempfile::tempdir().unwrap();
        let work_dir = Arc::new(WorkDir::new(temp.path().to_owned()).unwrap());
        let folders: Vec<_> = (0..2 * MAX_WAITING).map(|_| work_dir.folder().unwrap()).collect();
        for folder in &folders {
            fs::write(folder.inner("out").unwrap().join("proof"), b"proof").unwrap();
            folder.inner("out").unwrap_err();
        }
        drop(folders);
        let last = work_dir.folder().unwrap();
        assert_eq!(last.path, temp.path().join((2 * MAX_WAITING).to_string()));
        drop((last, work_dir));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
