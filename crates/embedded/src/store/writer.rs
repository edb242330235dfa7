//! The one writer: a thread with group commit.
//!
//! It takes every batch that is waiting, writes them in one SQLite transaction, and answers all of them after its commit.
//! While the disk syncs one group, the next one gathers: the busier the yard is, the more batches share a sync. No batch is
//! ever delayed to make a group larger.
//!
//! The transaction is synced only if one of its batches is durable. That one sync also covers what earlier groups
//! left unsynced: the log is one file that only grows between checkpoints, a sync is for the whole file, and a
//! checkpoint syncs the log before it copies it and the database before the log starts anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use proofyard_core::error::{Cause, because};
use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, PortError, Version};
use rusqlite::{Connection, OptionalExtension, params};

use super::copier::{Copier, Failed, copy_log, note_failed_sync};
use super::error::{explain, is_failed_sync};
use super::schema::{BUSY_TIMEOUT, open_writer};
use super::time_of;

/// The most batches that share one transaction.
const MAX_GROUP: usize = 256;
/// The copier is asked each time the log has grown by so many pages.
const COPY_EACH_PAGES: i32 = 1_000;
/// From so many pages on, the writer itself finishes the copy and restarts the log, once the copier is idle. If readers
/// prevent that, it tries again at the next [`COPY_EACH_PAGES`].
const RESTART_AT_PAGES: i32 = 8_000;
/// From so many pages on, the writer waits for the copier to become idle.
const WAIT_AT_PAGES: i32 = 16_000;
const READERS_TIMEOUT: Duration = Duration::from_millis(50);

const VERSION: &str = "SELECT version FROM items WHERE partition = ?1 AND sort = ?2";
const PUT: &str =
    "INSERT INTO items (partition, sort, version, value, due_ms, due_shard) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (partition, sort) DO UPDATE SET version = ?3, value = ?4, due_ms = ?5, due_shard = ?6";
const DELETE: &str = "DELETE FROM items WHERE partition = ?1 AND sort = ?2";
const RESCHEDULE: &str = "UPDATE items SET due_ms = ?4 WHERE partition = ?1 AND sort = ?2 AND version = ?3";
const MARK_SYNC: &str = "UPDATE syncs SET count = count + 1";

#[cfg(test)]
pub(super) type Hook = Box<dyn FnOnce(&Connection) + Send>;

type Answer = Result<CommitOutcome, PortError>;

/// The handle to the writer's thread. Dropping it waits until the thread has done the jobs that it has.
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    failed: Failed,
    file: PathBuf,
}

struct Job {
    work: Work,
    answer: SyncSender<Answer>,
}

enum Work {
    Commit(Batch),
    Reschedule(Key, Version, Option<u64>),
    #[cfg(test)]
    Hook(std::sync::Mutex<Option<Hook>>),
}

impl Writer {
    pub(super) fn start(file: &Path) -> Result<Self, PortError> {
        let state = State::open(file)?;
        let failed = state.failed.clone();
        let (jobs, waiting) = sync_channel(MAX_GROUP);
        let thread = std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || state.run(&waiting))
            .map_err(|error| PortError::Unavailable(because("the writer's thread did not start", error)))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), failed, file: file.to_owned() })
    }

    pub(super) fn commit(&self, batch: Batch) -> Answer {
        batch.check_shape()?;
        self.ask(Work::Commit(batch))
    }

    pub(super) fn reschedule(
        &self,
        key: Key,
        version: Version,
        due_ms: Option<u64>,
    ) -> Result<bool, PortError> {
        Ok(self.ask(Work::Reschedule(key, version, due_ms))? == CommitOutcome::Committed)
    }

    #[cfg(test)]
    pub(super) fn hook(&self, hook: impl FnOnce(&Connection) + Send + 'static) -> Answer {
        self.ask(Work::Hook(std::sync::Mutex::new(Some(Box::new(hook)))))
    }

    pub(super) fn failure(&self) -> Option<PortError> {
        let stopped = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        self.failed.get().map(again).or_else(|| stopped.then(|| self.gone()))
    }

    fn gone(&self) -> PortError {
        let reason = format!("the writer of {} has stopped; start again", self.file.display());
        PortError::Broken(reason.into())
    }

    fn ask(&self, work: Work) -> Answer {
        let gone = || self.gone();
        let (answer, answered) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Job { work, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has closed its callers' channels, which is an error there.
            let _ = thread.join();
        }
    }
}

/// What the writer's thread owns. The copier stands before the connection, so that the connection is closed last.
struct State {
    copier: Copier,
    connection: Connection,
    file: PathBuf,
    failed: Failed,
    log_pages: Arc<AtomicI32>,
    /// The log's length when the copier was last asked.
    asked_at_pages: i32,
    restart_at_pages: i32,
    /// Whether the connection syncs each commit, as it is set now.
    syncing: bool,
    /// Whether the log holds commits that were never synced.
    unsynced: bool,
}

impl State {
    fn open(file: &Path) -> Result<Self, PortError> {
        let mut connection = open_writer(file)?;
        let log_pages = Arc::new(AtomicI32::new(0));
        let pages = log_pages.clone();
        let hook = move |_: &mut rusqlite::hooks::Wal, count| {
            pages.store(count, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(|error| explain(file, error))?;
        set_syncing(&connection, true).map_err(|error| explain(file, error))?;
        let failed = Failed::default();
        let copier = Copier::start(file, failed.clone())?;
        let file = file.to_owned();
        Ok(Self {
            copier,
            connection,
            file,
            failed,
            log_pages,
            asked_at_pages: 0,
            restart_at_pages: RESTART_AT_PAGES,
            syncing: true,
            // An earlier process may have left commits in the log, if a reader kept it from being copied.
            unsynced: true,
        })
    }

    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut group = vec![first];
            while group.len() < MAX_GROUP
                && let Ok(job) = jobs.try_recv()
            {
                group.push(job);
            }
            self.commit_group(group);
            self.bound_log();
        }
    }

    fn commit_group(&mut self, mut group: Vec<Job>) {
        if let Some(failure) = self.failed.get() {
            return group.into_iter().for_each(|job| job.reply(Err(again(failure))));
        }
        match self.try_group(&group) {
            Ok(outcomes) => group.into_iter().zip(outcomes).for_each(|(job, outcome)| job.reply(Ok(outcome))),
            Err(error) if group.len() == 1 || is_failed_sync(&error) => {
                let is_lasting = is_failed_sync(&error);
                let failure = Arc::new(explain(&self.file, error));
                group.drain(..).for_each(|job| job.reply(Err(again(&failure))));
                if is_lasting {
                    self.failed.get_or_init(|| failure);
                }
            }
            // One batch may be too large for the disk, and the others not.
            Err(_) => group.into_iter().for_each(|job| self.commit_group(vec![job])),
        }
    }

    fn try_group(&mut self, group: &[Job]) -> rusqlite::Result<Vec<CommitOutcome>> {
        let durable = group.iter().any(|job| job.work.is_durable());
        self.roll_back()?;
        if durable != self.syncing {
            set_syncing(&self.connection, durable)?;
            self.syncing = durable;
        }
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = self.write_group(group, durable).and_then(|done| {
            self.connection.execute_batch("COMMIT")?;
            Ok(done)
        });
        match done {
            Ok((outcomes, wrote)) => {
                self.unsynced = !durable && (self.unsynced || wrote);
                Ok(outcomes)
            }
            Err(error) => {
                self.roll_back()?;
                Err(error)
            }
        }
    }

    /// Ends the transaction, unless SQLite has rolled it back by itself.
    fn roll_back(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() { Ok(()) } else { self.connection.execute_batch("ROLLBACK") }
    }

    fn write_group(&self, group: &[Job], durable: bool) -> rusqlite::Result<(Vec<CommitOutcome>, bool)> {
        let changes = self.connection.total_changes();
        let outcomes =
            group.iter().map(|job| job.work.write(&self.connection)).collect::<rusqlite::Result<_>>()?;
        let mut wrote = self.connection.total_changes() != changes;
        // A durable batch that only checks must make durable what it checked; but SQLite does not sync a commit that writes
        // nothing.
        if durable && !wrote && self.unsynced {
            self.connection.prepare_cached(MARK_SYNC)?.execute([])?;
            wrote = true;
        }
        Ok((outcomes, wrote))
    }

    /// Keeps the log from growing without bound: asks the copier, and restarts the log once it is long.
    fn bound_log(&mut self) {
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

/// The same error, for one more who meets it.
fn again(failure: &Arc<PortError>) -> PortError {
    let cause: Cause = Box::new(Arc::clone(failure));
    match **failure {
        PortError::Unavailable(_) => PortError::Unavailable(cause),
        PortError::Broken(_) => PortError::Broken(cause),
    }
}

/// FULL syncs the log at each commit, NORMAL only around checkpoints. It may be changed between transactions.
fn set_syncing(connection: &Connection, syncing: bool) -> rusqlite::Result<()> {
    connection.execute_batch(if syncing {
        "PRAGMA synchronous = FULL"
    } else {
        "PRAGMA synchronous = NORMAL"
    })
}

impl Job {
    fn reply(self, answer: Answer) {
        // The caller is waiting for it, unless its thread has died.
        let _ = self.answer.send(answer);
    }
}

impl Work {
    fn is_durable(&self) -> bool {
        matches!(self, Work::Commit(batch) if batch.durable)
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<CommitOutcome> {
        match self {
            Work::Commit(batch) => write_batch(connection, batch),
            Work::Reschedule(Key { partition, sort }, version, due_ms) => {
                let (version, due_ms) = (version.cast_signed(), due_ms.map(time_of));
                let mut statement = connection.prepare_cached(RESCHEDULE)?;
                Ok(match statement.execute(params![partition, sort, version, due_ms])? {
                    0 => CommitOutcome::Conflict,
                    _ => CommitOutcome::Committed,
                })
            }
            #[cfg(test)]
            Work::Hook(hook) => {
                let hook = hook.lock().unwrap().take();
                hook.into_iter().for_each(|hook| hook(connection));
                Ok(CommitOutcome::Committed)
            }
        }
    }
}

/// Checks every expectation before the first write, so that a conflict leaves the rest of the group untouched.
fn write_batch(connection: &Connection, batch: &Batch) -> rusqlite::Result<CommitOutcome> {
    for op in &batch.ops {
        if !holds(connection, op)? {
            return Ok(CommitOutcome::Conflict);
        }
    }
    for op in &batch.ops {
        write_op(connection, op, batch.version)?;
    }
    Ok(CommitOutcome::Committed)
}

fn holds(connection: &Connection, op: &Op) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(VERSION)?;
    let found: Option<i64> =
        statement.query_row(params![op.key.partition, op.key.sort], |row| row.get(0)).optional()?;
    Ok(match op.expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Version(version) => found == Some(version.cast_signed()),
    })
}

fn write_op(connection: &Connection, op: &Op, version: u64) -> rusqlite::Result<()> {
    let Key { partition, sort } = &op.key;
    match &op.action {
        Action::Check => {}
        Action::Put { value, due_ms } => {
            let due_ms = due_ms.map(time_of);
            let shard = op.key.due_shard();
            let mut statement = connection.prepare_cached(PUT)?;
            statement.execute(params![partition, sort, version.cast_signed(), value, due_ms, shard])?;
        }
        Action::Delete => {
            connection.prepare_cached(DELETE)?.execute(params![partition, sort])?;
        }
    }
    Ok(())
}
