//! How an attempt ends without a result: the prover said no, the worker vanished, or the worker let go.
//!
//! Failures use up attempts and wait before the next; losses are counted apart and are listed again at once;
//! a release counts as neither. A task parks only with no live attempt left.

use std::sync::Arc;

use crate::error::Error;
use crate::mistake::Mistake;
use crate::pipeline::{MAX_BACKOFF_MS, Pool, TaskLimits};
use crate::port::{Port, Wake};
use crate::state::{Avoid, Listing, Note, Slot, Task, TaskId, TaskStatus, Worker};
use crate::transaction::{Tx, transact};
use crate::yard::Yard;

/// Longest failure message kept, in characters.
const MAX_MESSAGE: usize = 2_000;
/// Log lines kept of one failed attempt, and characters of each.
const MAX_LOG_LINES: usize = 20;
const MAX_LOG_LINE: usize = 400;
/// Parked work is looked at hourly.
const PARKED_LOOK_MS: u64 = 3_600_000;
/// What an attempt may take beyond its own limits (proving and verifying are limited by the worker) before the
/// sweeper takes it for lost.
const TIME_LIMIT_GRACE_MS: u64 = 30_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The prover says that it can never work; parks once a second attempt confirms it.
    Permanent,
    Transient,
    /// What the task is made from is missing or damaged: another worker would find the same, so it is not counted
    /// against this one.
    BadInput,
}

/// A worker's word that an attempt failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureReport {
    pub worker: String,
    pub slot: u32,
    pub claim: String,
    pub task: TaskId,
    pub kind: FailureKind,
    pub message: String,
    /// The prover's last log lines.
    pub log: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureOutcome {
    Retried,
    Parked,
    /// Another copy of the task still runs.
    OtherCopyRuns,
    /// The attempt was not live any more; nothing was counted.
    Stale,
}

/// Why an attempt is over.
pub(crate) enum Ending {
    Failed { kind: FailureKind, message: String, log: Vec<String> },
    Lost { reason: &'static str },
    Released,
}

impl<P: Port> Yard<P> {
    /// Records that an attempt failed, and frees the slot.
    pub async fn record_failure(&self, report: &FailureReport) -> Result<FailureOutcome, Error> {
        transact(&self.port, async |tx| {
            let ending = Ending::Failed {
                kind: report.kind,
                message: shortened(&report.message, MAX_MESSAGE),
                log: kept_lines(&report.log),
            };
            let outcome = self.end(tx, &report.task, &report.claim, ending).await?;
            self.free_slot(tx, &report.worker, report.slot, &report.claim).await?;
            if outcome != FailureOutcome::Stale && report.kind != FailureKind::BadInput {
                self.count_against(tx, &report.worker, &report.task).await?;
            }
            Ok(outcome)
        })
        .await
    }

    /// Records that a worker lets an attempt go, and frees the slot.
    pub async fn record_release(
        &self,
        worker: &str,
        slot: u32,
        claim: &str,
        task: &TaskId,
    ) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            self.end(tx, task, claim, Ending::Released).await?;
            self.free_slot(tx, worker, slot, claim).await
        })
        .await
    }

    /// Ends the attempt with this claim, if it is live.
    async fn end(
        &self,
        tx: &mut Tx<'_, P>,
        id: &TaskId,
        claim: &str,
        how: Ending,
    ) -> Result<FailureOutcome, Error> {
        let task: Option<Task> = tx.check(&id.task_key()).await?;
        let Some(mut task) = task.filter(|task| task.attempts.iter().any(|attempt| attempt.claim == claim))
        else {
            return Ok(FailureOutcome::Stale);
        };
        let outcome = end_attempt(self, tx, &mut task, claim, how).await?;
        tx.put(&task)?;
        Ok(outcome)
    }

    /// Empties the slot if it still holds this claim.
    pub(crate) async fn free_slot(
        &self,
        tx: &mut Tx<'_, P>,
        worker: &str,
        slot: u32,
        claim: &str,
    ) -> Result<(), Error> {
        let held: Option<Slot> = tx.check(&Slot::key_of(worker, slot)).await?;
        if let Some(held) = held.filter(|slot| slot.holds(claim)) {
            tx.put(&Slot { held: None, ..held })?;
        }
        Ok(())
    }

    /// A worker that fails task after task is quarantined.
    async fn count_against(&self, tx: &mut Tx<'_, P>, worker: &str, task: &TaskId) -> Result<(), Error> {
        let Some(mut worker): Option<Worker> = tx.check(&Worker::key_of(worker)).await? else {
            return Ok(());
        };
        worker.failures_in_row += 1;
        if let Some(pool) = self.pool_of(task.chain(), &worker.pool).await?
            && worker.failures_in_row >= pool.quarantine_after
            && !worker.alone
        {
            worker.failures_in_row = 0;
            worker.quarantined_until_ms = Some(self.port.now_ms() + pool.quarantine_ms);
        }
        tx.put(&worker)
    }

    async fn pool_of(&self, chain: &str, pool: &str) -> Result<Option<Pool>, Error> {
        Ok(self.chain(chain).await?.1.pools.get(pool).cloned())
    }

    pub(crate) async fn limits_of(&self, task: &Task) -> Result<Arc<TaskLimits>, Error> {
        let pipeline = self.pipeline(task.id.chain(), &task.pipeline).await?;
        let limits = pipeline.stage(&task.id.stage).map(|(_, stage)| stage.limits.clone());
        let unknown = || crate::error::Refusal::UnknownTask(task.id.to_string());
        Ok(Arc::new(limits.ok_or_else(unknown)?))
    }
}

/// Ends a live attempt and says what becomes of its task; the caller writes the task.
pub(crate) async fn end_attempt<P: Port>(
    yard: &Yard<P>,
    tx: &mut Tx<'_, P>,
    task: &mut Task,
    claim: &str,
    ending: Ending,
) -> Result<FailureOutcome, Error> {
    let now_ms = yard.port.now_ms();
    let limits = yard.limits_of(task).await?;
    let Some(position) = task.attempts.iter().position(|attempt| attempt.claim == claim) else {
        return Ok(FailureOutcome::Stale);
    };
    let attempt = task.attempts.remove(position);
    let mut wait_ms = 0;
    match ending {
        Ending::Failed { kind, message, log } => {
            task.failures += 1;
            wait_ms = backoff_ms(&limits, task.failures);
            if kind == FailureKind::Permanent {
                task.permanent.push(attempt.worker.clone());
            }
            task.avoid = Some(Avoid {
                worker: attempt.worker.clone(),
                until_ms: now_ms + wait_ms + limits.backoff_ms,
            });
            note(task, Note { at_ms: now_ms, attempt: attempt.number, worker: attempt.worker, message, log });
        }
        Ending::Lost { reason } => {
            if yard.planted(Mistake::LossCountedAsFailure) {
                task.failures += 1;
            } else {
                task.losses += 1;
            }
            let message = reason.to_owned();
            note(
                task,
                Note { at_ms: now_ms, attempt: attempt.number, worker: attempt.worker, message, log: vec![] },
            );
        }
        Ending::Released => {}
    }
    place(yard, tx, task, &limits, now_ms, wait_ms)
}

/// Parks, lists or holds back a task whose attempt just ended.
fn place<P: Port>(
    yard: &Yard<P>,
    tx: &mut Tx<'_, P>,
    task: &mut Task,
    limits: &TaskLimits,
    now_ms: u64,
    wait_ms: u64,
) -> Result<FailureOutcome, Error> {
    let mut outcome = FailureOutcome::Retried;
    let tries_on = yard.planted(Mistake::NeverParks)
        || (yard.planted(Mistake::OneAttemptTooMany) && task.failures == limits.max_attempts);
    if task.status != TaskStatus::Open {
        outcome = FailureOutcome::Stale;
    } else if !task.attempts.is_empty() {
        outcome = FailureOutcome::OtherCopyRuns;
    } else if let Some(reason) = reason_to_park(task, limits, now_ms).filter(|_| !tries_on) {
        unlist(tx, task);
        task.status = TaskStatus::Parked;
        task.parked = Some(reason);
        outcome = FailureOutcome::Parked;
    } else if wait_ms == 0 && !task.listed {
        list(tx, task, now_ms)?;
    }
    rearm(task, limits, now_ms, wait_ms);
    if yard.planted(Mistake::TaskNotDue) && task.is_open() && task.attempts.is_empty() {
        task.due_ms = None;
    }
    Ok(outcome)
}

/// Lists an open task for workers.
pub(crate) fn list<P: Port>(tx: &mut Tx<'_, P>, task: &mut Task, now_ms: u64) -> Result<(), Error> {
    task.listed = true;
    task.listed_ms = now_ms;
    tx.put(&Listing::of(task))?;
    tx.send(Wake::Pool { pool: task.pool.clone() });
    Ok(())
}

pub(crate) fn unlist<P: Port>(tx: &mut Tx<'_, P>, task: &mut Task) {
    if task.listed {
        task.listed = false;
        tx.delete(crate::transaction::Item::key(&Listing::of(task)));
    }
}

/// Sets when the sweeper must look at a task: only while it backs off, or nears its hedge or time limit.
pub(crate) fn rearm(task: &mut Task, limits: &TaskLimits, now_ms: u64, wait_ms: u64) {
    task.due_ms = match task.status {
        TaskStatus::Parked => Some(now_ms + PARKED_LOOK_MS),
        TaskStatus::Open if task.attempts.is_empty() => (!task.listed).then_some(now_ms + wait_ms),
        TaskStatus::Open => {
            let started = task.attempts.iter().map(|attempt| attempt.started_ms).min().unwrap_or(now_ms);
            let hedge = limits.hedge_ms.filter(|_| may_hedge(task)).map(|hedge_ms| started + hedge_ms);
            let limit = started + attempt_limit_ms(limits);
            Some(hedge.map_or(limit, |hedge| hedge.min(limit)))
        }
        TaskStatus::Accepted | TaskStatus::Cancelled => None,
    };
}

/// A straggler gets one second copy.
pub(crate) fn may_hedge(task: &Task) -> bool {
    !task.listed && task.attempts.len() == 1
}

/// Setting up, proving, setting a verifier up and verifying each have the stage's time limit, kept by the worker.
pub(crate) fn attempt_limit_ms(limits: &TaskLimits) -> u64 {
    limits.time_limit_ms.saturating_mul(4).saturating_add(TIME_LIMIT_GRACE_MS)
}

fn reason_to_park(task: &Task, limits: &TaskLimits, now_ms: u64) -> Option<String> {
    let spent_ms = task.first_claimed_ms.map_or(0, |first| now_ms.saturating_sub(first));
    if task.permanent.len() >= 2 {
        Some("two attempts ended with a permanent error".into())
    } else if task.failures >= limits.max_attempts {
        Some(format!("all {} attempts failed", limits.max_attempts))
    } else if task.losses > limits.max_losses {
        Some(format!("{} workers were lost with it; at most {} may be", task.losses, limits.max_losses))
    } else {
        let total_ms = limits.total_ms.filter(|total_ms| spent_ms >= *total_ms)?;
        Some(format!("its total budget of {total_ms} ms is spent"))
    }
}

/// `backoff_ms` after the first failure, twice that after the second, and so on.
fn backoff_ms(limits: &TaskLimits, failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    limits.backoff_ms.saturating_mul(1 << doublings).min(MAX_BACKOFF_MS)
}

fn note(task: &mut Task, note: Note) {
    if task.notes.len() >= Task::MAX_NOTES {
        task.notes.remove(0);
    }
    task.notes.push(note);
}

fn kept_lines(log: &[String]) -> Vec<String> {
    let from = log.len().saturating_sub(MAX_LOG_LINES);
    log[from..].iter().map(|line| shortened(line, MAX_LOG_LINE)).collect()
}

fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Sets when the sweeper must look at a task that was just claimed.
pub(crate) async fn rearm_claimed<P: Port>(yard: &Yard<P>, task: &mut Task) -> Result<(), Error> {
    let limits = yard.limits_of(task).await?;
    rearm(task, &limits, yard.port.now_ms(), 0);
    Ok(())
}
