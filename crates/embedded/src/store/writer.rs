//! The one writer, with group commit: whoever commits while nobody does writes its own batch and all that wait meanwhile.
//!
//! Each caller queues its batch. The first becomes the leader: it takes every batch that is waiting, writes them in one SQLite
//! transaction, answers all of them after its commit, and hands the lead to the first of those that queued since. So a commit
//! that meets no other stays on its caller's thread, and while the disk syncs one group, the next one gathers: the busier the
//! yard is, the more batches share a sync. No batch is ever delayed to make a group larger.
//!
//! The transaction is synced only if one of its batches is durable. That one sync also covers what earlier groups
//! left unsynced: the log is one file that only grows between checkpoints, a sync is for the whole file, and a
//! checkpoint syncs the log before it copies it and the database before the log starts anew.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proofyard_core::error::Cause;
use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, PortError, Version};
use rusqlite::{Connection, OptionalExtension, params};

use super::copier::{Copier, Failed, copy_log, note_failed_sync};
use super::error::{explain, is_failed_sync};
use super::item_cache::ItemCache;
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

/// Shared by all threads that commit.
pub(super) struct Writer {
    queue: Mutex<Queue>,
    /// The leader's.
    state: Mutex<State>,
    failed: Failed,
    file: PathBuf,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Somebody writes, and will hand the lead on.
    is_led: bool,
}

struct Job {
    work: Work,
    caller: Arc<Caller>,
}

enum Work {
    Commit(Batch),
    Reschedule(Key, Version, Option<u64>),
    #[cfg(test)]
    Hook(Mutex<Option<Hook>>),
}

/// A thread that waits for its job to be done, or to lead.
#[derive(Default)]
struct Caller {
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
enum Turn {
    #[default]
    Waits,
    Leads,
    Done(Answer),
    /// The writer panicked with it.
    Lost,
}

impl Writer {
    pub(super) fn open(file: &Path, cache: Arc<ItemCache>) -> Result<Self, PortError> {
        let state = State::open(file, cache)?;
        let failed = state.failed.clone();
        Ok(Self { queue: Mutex::default(), state: Mutex::new(state), failed, file: file.to_owned() })
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
        self.ask(Work::Hook(Mutex::new(Some(Box::new(hook)))))
    }

    pub(super) fn failure(&self) -> Option<PortError> {
        self.failed.get().map(again)
    }

    fn ask(&self, work: Work) -> Answer {
        let caller = Arc::new(Caller::default());
        let job = Job { work, caller: Arc::clone(&caller) };
        let mut queue = lock(&self.queue);
        queue.waiting.push_back(job);
        let leads = !std::mem::replace(&mut queue.is_led, true);
        drop(queue);
        if !leads && let Some(answer) = caller.wait() {
            return answer.unwrap_or_else(|| self.lost());
        }
        self.lead();
        // Its own job was the first of those that waited, or stood among them.
        caller.wait().flatten().unwrap_or_else(|| self.lost())
    }

    /// Writes what waits, and hands the lead on.
    fn lead(&self) {
        let mut queue = lock(&self.queue);
        let size = queue.waiting.len().min(MAX_GROUP);
        let group: Vec<Job> = queue.waiting.drain(..size).collect();
        drop(queue);
        let written = catch_unwind(AssertUnwindSafe(|| {
            let mut state = lock(&self.state);
            state.commit_group(group);
            state.bound_log();
        }));
        if written.is_err() {
            self.failed.get_or_init(|| Arc::new(self.gone()));
        }
        let mut queue = lock(&self.queue);
        match queue.waiting.front() {
            Some(next) => next.caller.tell(Turn::Leads),
            None => queue.is_led = false,
        }
    }

    fn lost(&self) -> Answer {
        Err(self.failure().unwrap_or_else(|| self.gone()))
    }

    fn gone(&self) -> PortError {
        let reason = format!("the writer of {} has stopped; start again", self.file.display());
        PortError::Broken(reason.into())
    }
}

impl Caller {
    fn tell(&self, turn: Turn) {
        *lock(&self.turn) = turn;
        self.changed.notify_one();
    }

    /// `None`: it is to lead; otherwise its answer, if its job was not lost.
    fn wait(&self) -> Option<Option<Answer>> {
        let waits = |turn: &mut Turn| matches!(turn, Turn::Waits);
        let turn = self.changed.wait_while(lock(&self.turn), waits);
        match std::mem::take(&mut *turn.unwrap_or_else(PoisonError::into_inner)) {
            Turn::Done(answer) => Some(Some(answer)),
            Turn::Lost => Some(None),
            Turn::Waits | Turn::Leads => None,
        }
    }
}

impl Drop for Job {
    /// A caller without an answer would wait for ever.
    fn drop(&mut self) {
        let mut turn = lock(&self.caller.turn);
        if matches!(*turn, Turn::Waits | Turn::Leads) {
            *turn = Turn::Lost;
            self.caller.changed.notify_one();
        }
    }
}

/// What is guarded is whole also after a panic: see [`Writer::lead`].
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the leader works with. The copier stands before the connection, so that the connection is closed last.
struct State {
    copier: Copier,
    connection: Connection,
    cache: Arc<ItemCache>,
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
    fn open(file: &Path, cache: Arc<ItemCache>) -> Result<Self, PortError> {
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
            cache,
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

    fn commit_group(&mut self, mut group: Vec<Job>) {
        if let Some(failure) = self.failed.get() {
            return group.into_iter().for_each(|job| job.reply(Err(again(failure))));
        }
        match self.try_group(&group) {
            Ok(outcomes) => {
                let done: Vec<(Job, CommitOutcome)> = group.into_iter().zip(outcomes).collect();
                done.iter().for_each(|(job, outcome)| job.work.keep(*outcome, &self.cache));
                done.into_iter().for_each(|(job, outcome)| job.reply(Ok(outcome)));
            }
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
        self.caller.tell(Turn::Done(answer));
    }
}

impl Work {
    fn is_durable(&self) -> bool {
        matches!(self, Work::Commit(batch) if batch.durable)
    }

    /// What was committed is what is read from now on.
    fn keep(&self, outcome: CommitOutcome, cache: &ItemCache) {
        if let (Work::Commit(batch), CommitOutcome::Committed) = (self, outcome) {
            cache.committed(batch);
        }
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
