//! The one writer, with group commit: whoever commits while nobody does writes its own batch and all that wait meanwhile.
//!
//! Each caller queues its batch. The first becomes the leader: it takes every batch that is waiting, writes them in one SQLite
//! transaction, answers all of them after its commit, and hands the lead to the first of those that queued since. So a commit
//! that meets no other stays on its caller's thread. No batch is ever delayed to make a group larger. Who needs a batch on disk
//! then waits for a sync, which is shared as well (see `log_syncs`): others write meanwhile.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use proofyard_core::port::{Batch, CommitOutcome, Key, PortError, Version};

use super::copier::Failed;
use super::database::{Answer, Database};
use super::error::again;
use super::item_cache::ItemCache;
use super::log_syncs::LogSyncs;
use super::statements::Work;

/// The most batches that share one transaction.
const MAX_GROUP: usize = 256;

/// Shared by all threads that commit.
pub(super) struct Writer {
    queue: Mutex<Queue>,
    /// The leader's.
    database: Mutex<Database>,
    failed: Failed,
    syncs: Arc<LogSyncs>,
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
        let database = Database::open(file, cache)?;
        let (failed, syncs) = (database.failed.clone(), Arc::clone(&database.syncs));
        let (queue, database, file) = (Mutex::default(), Mutex::new(database), file.to_owned());
        Ok(Self { queue, database, failed, syncs, file })
    }

    pub(super) fn commit(&self, batch: Batch) -> Answer {
        batch.check_shape()?;
        let is_durable = batch.durable;
        let outcome = self.ask(Work::Commit(batch))?;
        if is_durable && outcome == CommitOutcome::Committed {
            self.syncs.wait_for_written()?;
        }
        Ok(outcome)
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
    pub(super) fn hook(&self, hook: impl FnOnce(&rusqlite::Connection) + Send + 'static) -> Answer {
        self.ask(Work::Hook(Mutex::new(Some(Box::new(hook)))))
    }

    pub(super) fn failure(&self) -> Option<PortError> {
        self.failed.get().map(again)
    }

    pub(super) fn syncs(&self) -> &LogSyncs {
        &self.syncs
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
            let mut database = lock(&self.database);
            let works: Vec<&Work> = group.iter().map(|job| &job.work).collect();
            let answers = database.commit_group(&works);
            group.into_iter().zip(answers).for_each(|(job, answer)| job.caller.tell(Turn::Done(answer)));
            database.bound_log();
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
