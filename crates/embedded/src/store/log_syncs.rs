//! Syncs of the log: one at a time, each for all that was written before it began.
//!
//! Writing and syncing are apart, so that nobody writes behind a sync: a commit that need not be durable waits for none, and
//! the next group is written while the disk still takes the one before. Whoever needs what was written on disk waits here. The
//! first to come syncs; those who come meanwhile share the next sync.
//!
//! One sync covers all earlier commits: a sync is for the whole file; the log only grows until it starts anew, and before that
//! a checkpoint has synced the database.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use proofyard_core::error::because;
use proofyard_core::port::PortError;

use super::copier::Failed;
use super::error::{again, explain_failed_sync};

pub(super) struct LogSyncs {
    log: File,
    /// The database, for messages.
    file: PathBuf,
    failed: Failed,
    /// Held while SQLite commits: others can read a commit a moment before it counts as written.
    committing: Mutex<()>,
    /// Transactions written since the log was opened, from 1.
    written: AtomicU64,
    progress: Mutex<Progress>,
    changed: Condvar,
    done: AtomicU64,
    waited_for: AtomicU64,
}

struct Progress {
    /// So many of the transactions written are on disk.
    synced: u64,
    /// A thread syncs.
    is_syncing: bool,
}

impl LogSyncs {
    /// Of the log beside the database, which must be open for writing: as long as it is, nobody removes or replaces the file.
    pub(super) fn open(file: &Path, failed: Failed) -> Result<Self, PortError> {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        let log = File::open(&log).map_err(|error| {
            let reason = format!("{} cannot be opened, to sync what is written", Path::new(&log).display());
            PortError::Unavailable(because(reason, error))
        })?;
        Ok(Self {
            log,
            file: file.to_owned(),
            failed,
            committing: Mutex::default(),
            // An earlier process may have left commits in the log that were never synced, if a reader kept it from being copied.
            written: AtomicU64::new(1),
            progress: Mutex::new(Progress { synced: 0, is_syncing: false }),
            changed: Condvar::new(),
            done: AtomicU64::new(0),
            waited_for: AtomicU64::new(0),
        })
    }

    /// Commits: `commit` has SQLite do so, and says whether anything was written.
    pub(super) fn write(&self, commit: impl FnOnce() -> rusqlite::Result<bool>) -> rusqlite::Result<()> {
        let _committing = lock(&self.committing);
        if commit()? {
            self.written.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Returns once all that could be read before this call is on disk.
    pub(super) fn wait_for_all(&self) -> Result<(), PortError> {
        drop(lock(&self.committing));
        self.wait_for_written()
    }

    /// Returns once all whose commit was answered before this call is on disk.
    pub(super) fn wait_for_written(&self) -> Result<(), PortError> {
        let wanted = self.written.load(Ordering::Acquire);
        let mut progress = lock(&self.progress);
        if progress.synced < wanted {
            self.waited_for.fetch_add(1, Ordering::Relaxed);
        }
        while progress.synced < wanted {
            if let Some(failure) = self.failed.get() {
                return Err(again(failure));
            }
            if progress.is_syncing {
                progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            progress.is_syncing = true;
            drop(progress);
            let synced = self.sync();
            progress = lock(&self.progress);
            progress.is_syncing = false;
            progress.synced = progress.synced.max(synced.unwrap_or_default());
            self.changed.notify_all();
        }
        Ok(())
    }

    /// How many of the transactions written are on disk after it; `None` where it failed.
    fn sync(&self) -> Option<u64> {
        let written = self.written.load(Ordering::Acquire);
        match self.log.sync_data() {
            Ok(()) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                Some(written)
            }
            Err(error) => {
                self.failed.get_or_init(|| Arc::new(explain_failed_sync(&self.file, error)));
                None
            }
        }
    }

    /// How often the log was synced since it was opened.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many commits, and others who read, waited for that: several may share a sync.
    pub(super) fn waited_for(&self) -> u64 {
        self.waited_for.load(Ordering::Relaxed)
    }
}

/// What is guarded is whole also after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
