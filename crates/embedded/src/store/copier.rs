//! Copies the log into the database beside the writer, so that no commit waits for it.
//!
//! It copies what was committed when it began. Only when it has caught up with the writer can the log start anew;
//! under steady load that never happens by itself, and so `writer` finishes the copy when the log is long.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use proofyard_core::port::PortError;
use rusqlite::Connection;

use super::error::{explain, is_failed_sync};
use super::schema::open_copier;

/// Why nothing can be written any more, once that is so.
pub(super) type Failed = Arc<OnceLock<String>>;

pub(super) struct Copier {
    asks: Option<SyncSender<()>>,
    copying: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Copier {
    pub(super) fn start(file: &Path, failed: Failed) -> Result<Self, PortError> {
        let connection = open_copier(file).map_err(|error| explain(file, &error))?;
        let (asks, waiting) = sync_channel(1);
        let copying = Arc::new(AtomicBool::new(false));
        let (file, busy) = (file.to_owned(), copying.clone());
        let thread = std::thread::Builder::new()
            .name("state-copier".to_owned())
            .spawn(move || run(&connection, &file, &waiting, &busy, &failed))
            .map_err(|error| PortError::Unavailable(format!("the copier's thread did not start: {error}")))?;
        Ok(Self { asks: Some(asks), copying, thread: Some(thread) })
    }

    /// Has the log copied soon.
    pub(super) fn ask(&self) {
        if let Some(asks) = &self.asks {
            // One that waits already is enough.
            let _ = asks.try_send(());
        }
    }

    pub(super) fn is_copying(&self) -> bool {
        self.copying.load(Ordering::Acquire)
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, file: &Path, asks: &Receiver<()>, copying: &AtomicBool, failed: &Failed) {
    while asks.recv().is_ok() {
        copying.store(true, Ordering::Release);
        note_failed_sync(failed, file, &copy_log(connection, "PASSIVE"));
        copying.store(false, Ordering::Release);
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
