//! The writer's connection: groups of batches, and how long the log may become. What is written is synced by those who wait
//! for that, see `log_syncs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use proofyard_core::port::{CommitOutcome, PortError};
use rusqlite::Connection;

use super::copier::{Copier, Failed, copy_log, note_failed_sync};
use super::error::{again, explain, is_failed_sync};
use super::item_cache::ItemCache;
use super::log_syncs::LogSyncs;
use super::schema::{BUSY_TIMEOUT, open_writer};
use super::statements::Work;

/// The copier is asked each time the log has grown by so many pages.
const COPY_EACH_PAGES: i32 = 1_000;
/// From so many pages on, the writer itself finishes the copy and restarts the log, once the copier is idle. If readers
/// prevent that, it tries again at the next [`COPY_EACH_PAGES`].
const RESTART_AT_PAGES: i32 = 8_000;
/// From so many pages on, the writer waits for the copier to become idle.
const WAIT_AT_PAGES: i32 = 16_000;
const READERS_TIMEOUT: Duration = Duration::from_millis(50);

pub(super) type Answer = Result<CommitOutcome, PortError>;

/// What the leader works with. The copier stands before the connection, so that the connection is closed last.
pub(super) struct Database {
    copier: Copier,
    connection: Connection,
    cache: Arc<ItemCache>,
    file: PathBuf,
    pub(super) failed: Failed,
    pub(super) syncs: Arc<LogSyncs>,
    log_pages: Arc<AtomicI32>,
    /// The log's length when the copier was last asked.
    asked_at_pages: i32,
    restart_at_pages: i32,
}

impl Database {
    pub(super) fn open(file: &Path, cache: Arc<ItemCache>) -> Result<Self, PortError> {
        let mut connection = open_writer(file)?;
        let log_pages = Arc::new(AtomicI32::new(0));
        let pages = log_pages.clone();
        let hook = move |_: &mut rusqlite::hooks::Wal, count| {
            pages.store(count, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(|error| explain(file, error))?;
        // SQLite itself syncs around checkpoints alone.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(|error| explain(file, error))?;
        let failed = Failed::default();
        let syncs = Arc::new(LogSyncs::open(file, failed.clone())?);
        let copier = Copier::start(file, failed.clone())?;
        let file = file.to_owned();
        Ok(Self {
            copier,
            connection,
            cache,
            file,
            failed,
            syncs,
            log_pages,
            asked_at_pages: 0,
            restart_at_pages: RESTART_AT_PAGES,
        })
    }

    /// Writes them in one transaction; each gets its answer.
    pub(super) fn commit_group(&mut self, group: &[&Work]) -> Vec<Answer> {
        if let Some(failure) = self.failed.get() {
            return group.iter().map(|_| Err(again(failure))).collect();
        }
        match self.try_group(group) {
            Ok(outcomes) => {
                group.iter().zip(&outcomes).for_each(|(work, outcome)| work.keep(*outcome, &self.cache));
                outcomes.into_iter().map(Ok).collect()
            }
            Err(error) if group.len() == 1 || is_failed_sync(&error) => {
                let is_lasting = is_failed_sync(&error);
                let failure = Arc::new(explain(&self.file, error));
                if is_lasting {
                    self.failed.get_or_init(|| Arc::clone(&failure));
                }
                group.iter().map(|_| Err(again(&failure))).collect()
            }
            // One batch may be too large for the disk, and the others not.
            Err(_) => group.iter().flat_map(|work| self.commit_group(&[work])).collect(),
        }
    }

    fn try_group(&mut self, group: &[&Work]) -> rusqlite::Result<Vec<CommitOutcome>> {
        self.roll_back()?;
        execute(&self.connection, "BEGIN IMMEDIATE")?;
        let changes = self.connection.total_changes();
        let written: rusqlite::Result<Vec<_>> =
            group.iter().map(|work| work.write(&self.connection)).collect();
        let done = written.and_then(|outcomes| {
            self.syncs.write(|| {
                execute(&self.connection, "COMMIT")?;
                Ok(self.connection.total_changes() != changes)
            })?;
            Ok(outcomes)
        });
        if done.is_err() {
            self.roll_back()?;
        }
        done
    }

    /// Ends the transaction, unless SQLite has rolled it back by itself.
    fn roll_back(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() { Ok(()) } else { execute(&self.connection, "ROLLBACK") }
    }

    /// Keeps the log from growing without bound: asks the copier, and restarts the log once it is long.
    pub(super) fn bound_log(&mut self) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < self.asked_at_pages {
            self.asked_at_pages = 0;
            self.restart_at_pages = RESTART_AT_PAGES;
        }
        if pages >= self.restart_at_pages && self.failed.get().is_none() {
            if pages >= WAIT_AT_PAGES {
                self.copier.wait_until_idle();
            }
            // The copier is not asked in this branch, so that it becomes idle soon.
            if self.copier.is_idle() {
                self.restart_log(pages);
            }
        } else if pages - self.asked_at_pages >= COPY_EACH_PAGES && self.copier.ask() {
            self.asked_at_pages = pages;
        }
    }

    /// Copies the little that the copier has left, and restarts the log. This waits for readers, but not for a long read of
    /// another program.
    fn restart_log(&mut self, pages: i32) {
        let done = self.connection.busy_timeout(READERS_TIMEOUT);
        let done = done.and_then(|()| copy_log(&self.connection, "RESTART"));
        let done = done.and_then(|()| self.connection.busy_timeout(BUSY_TIMEOUT));
        note_failed_sync(&self.failed, &self.file, done);
        self.restart_at_pages = pages + COPY_EACH_PAGES;
    }
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}
