//! Checkpoints the log (copies it into the database) on a thread of its own, so that no commit waits for that.
//!
//! A run copies what was committed when it began. The log can restart only when all of it is copied, which under steady load
//! never happens here: so the writer finishes the copy when the log is long.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use proofyard_core::error::because;
use proofyard_core::port::PortError;
use rusqlite::Connection;

use super::error::{explain, is_failed_sync};
use super::schema::open_copier;

/// Why the state cannot be written any more; empty while it can.
pub(super) type Failed = Arc<OnceLock<Arc<PortError>>>;

pub(super) struct Copier {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Asked,
    Copying,
    Closed,
}

/// What the writer and the copier share.
struct Shared {
    phase: Mutex<Phase>,
    changed: Condvar,
}

impl Copier {
    pub(super) fn start(file: &Path, failed: Failed) -> Result<Self, PortError> {
        let connection = open_copier(file).map_err(|error| explain(file, error))?;
        let shared = Arc::new(Shared { phase: Mutex::new(Phase::Idle), changed: Condvar::new() });
        let (file, of_thread) = (file.to_owned(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("state-copier".to_owned())
            .spawn(move || run(&connection, &file, &of_thread, &failed))
            .map_err(|error| PortError::Unavailable(because("the copier's thread did not start", error)))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Starts a run, unless one is under way; answers whether it did.
    pub(super) fn ask(&self) -> bool {
        self.shared.change(Phase::Idle, Phase::Asked)
    }

    pub(super) fn is_idle(&self) -> bool {
        *self.shared.lock() == Phase::Idle
    }

    pub(super) fn wait_until_idle(&self) {
        self.shared.wait(|phase| phase == Phase::Idle);
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        *self.shared.lock() = Phase::Closed;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, from: Phase, to: Phase) -> bool {
        let mut phase = self.lock();
        let changes = *phase == from;
        if changes {
            *phase = to;
            self.changed.notify_all();
        }
        changes
    }

    fn wait(&self, until: impl Fn(Phase) -> bool) -> Phase {
        let waited = self.changed.wait_while(self.lock(), |phase| !until(*phase));
        *waited.unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(connection: &Connection, file: &Path, shared: &Shared, failed: &Failed) {
    while shared.wait(|phase| matches!(phase, Phase::Asked | Phase::Closed)) == Phase::Asked {
        shared.change(Phase::Asked, Phase::Copying);
        note_failed_sync(failed, file, copy_log(connection, "PASSIVE"));
        shared.change(Phase::Copying, Phase::Idle);
    }
}

/// If this fails, nothing is lost (but see [`is_failed_sync`]): the log stays, and is copied later.
pub(super) fn copy_log(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

pub(super) fn note_failed_sync(failed: &Failed, file: &Path, done: rusqlite::Result<()>) {
    if let Err(error) = done
        && is_failed_sync(&error)
    {
        failed.get_or_init(|| Arc::new(explain(file, error)));
    }
}
