//! Copies the log into the database beside the writer, so that no commit waits for it.
//!
//! It copies what was committed when it began. Only when it has caught up with the writer can the log start anew;
//! under steady load that never happens by itself, and so `writer` finishes the copy when the log is long.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use proofyard_core::port::PortError;
use rusqlite::Connection;

use super::error::{explain, is_failed_sync};
use super::schema::open_copier;

/// Why nothing can be written any more, once that is so.
pub(super) type Failed = Arc<OnceLock<String>>;

pub(super) struct Copier {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Asked,
    Copying,
    Closed,
}

/// Where the writer and the copier meet.
struct Desk {
    stage: Mutex<Stage>,
    changed: Condvar,
}

impl Copier {
    pub(super) fn start(file: &Path, failed: Failed) -> Result<Self, PortError> {
        let connection = open_copier(file).map_err(|error| explain(file, &error))?;
        let desk = Arc::new(Desk { stage: Mutex::new(Stage::Idle), changed: Condvar::new() });
        let (file, shared) = (file.to_owned(), desk.clone());
        let thread = std::thread::Builder::new()
            .name("state-copier".to_owned())
            .spawn(move || run(&connection, &file, &shared, &failed))
            .map_err(|error| PortError::Unavailable(format!("the copier's thread did not start: {error}")))?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Has the log copied soon; whether it was free to.
    pub(super) fn ask(&self) -> bool {
        self.desk.change(Stage::Idle, Stage::Asked)
    }

    pub(super) fn is_idle(&self) -> bool {
        *self.desk.lock() == Stage::Idle
    }

    pub(super) fn wait_until_idle(&self) {
        self.desk.wait(|stage| stage == Stage::Idle);
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        *self.desk.lock() = Stage::Closed;
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, from: Stage, to: Stage) -> bool {
        let mut stage = self.lock();
        let changes = *stage == from;
        if changes {
            *stage = to;
            self.changed.notify_all();
        }
        changes
    }

    fn wait(&self, until: impl Fn(Stage) -> bool) -> Stage {
        let waited = self.changed.wait_while(self.lock(), |stage| !until(*stage));
        *waited.unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(connection: &Connection, file: &Path, desk: &Desk, failed: &Failed) {
    while desk.wait(|stage| matches!(stage, Stage::Asked | Stage::Closed)) == Stage::Asked {
        desk.change(Stage::Asked, Stage::Copying);
        note_failed_sync(failed, file, &copy_log(connection, "PASSIVE"));
        desk.change(Stage::Copying, Stage::Idle);
    }
}

/// Nothing is lost when this fails, save by a failed sync: the log stays and is copied later.
pub(super) fn copy_log(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

pub(super) fn note_failed_sync(failed: &Failed, file: &Path, done: &rusqlite::Result<()>) {
    if let Err(error) = done
        && is_failed_sync(error)
    {
        failed.get_or_init(|| explain(file, error).to_string());
    }
}
