//! How an attempt ends without a result, and what it counts as.
//!
//! | cause | counts as | ends with |
//! | --- | --- | --- |
//! | the prover says no, or its proof is wrong | a failure | `max_attempts`; a permanent one once a second worker says so |
//! | the prover says that it is unavailable | a delay | `total_ms`, or a day |
//! | it waits for what comes by itself, such as a block | nothing but time | the same |
//! | the prover's process dies by a signal that the yard did not send | a crash | `max_crashes` |
//! | the worker, its machine or its lease is lost | a loss | `max_losses` |
//! | the worker releases it, or its host has a fault | nothing | |
//! | an input is missing or damaged | nobody's | parks at once |
//!
//! Failures, delays and crashes wait before the next attempt; what was lost or released is listed again at once. A task
//! parks only with no live attempt left.
//!
//! Writes the task; its caller puts it, and frees the slot.

use super::failure::FailureOutcome;
use crate::error::Error;
use crate::listing::{PARKED_LOOK_MS, delete_listing, put_listing, reschedule};
use crate::pipeline::{MAX_BACKOFF_MS, TaskLimits};
use crate::planted_bug::PlantedBug;
use crate::state::{Attempt, FailureKind, Metered, Note, Task};
use crate::transaction::Tx;
use crate::yard::Yard;

/// The most of a message that stands in the reason why a task is parked.
const REASON_CHARACTERS: usize = 200;
/// The longest pause of a task whose prover is unavailable, and the shortest first one.
const MAX_DELAY_MS: u64 = 60_000;
const FIRST_DELAY_MS: u64 = 1_000;
/// How long a prover may be unavailable where the stage has no `total_ms`: a day.
const MAX_UNAVAILABLE_MS: u64 = 86_400_000;

/// Why an attempt is over.
pub(crate) enum Ending {
    Failed(Failed),
    Lost { reason: &'static str },
    Released { metered: Option<Metered> },
}

impl Ending {
    fn metered(&self) -> Option<Metered> {
        match self {
            Self::Failed(failed) => failed.metered,
            Self::Released { metered } => *metered,
            Self::Lost { .. } => None,
        }
    }
}

pub(crate) struct Failed {
    pub kind: FailureKind,
    pub message: String,
    pub log: Vec<String>,
    /// No other worker serves the pool of the one that failed.
    pub alone: bool,
    /// For how long that worker is passed by once the task is listed again.
    pub avoid_ms: u64,
    pub metered: Option<Metered>,
}

/// Ends a live attempt and says what becomes of its task; the caller writes the task.
pub(crate) async fn end_attempt(
    yard: &Yard,
    tx: &mut Tx<'_>,
    task: &mut Task,
    claim: &str,
    ending: Ending,
) -> Result<FailureOutcome, Error> {
    let now_ms = yard.port.now_ms();
    let limits = yard.limits_of(task).await?;
    let Some(attempt) = task.attempt(claim).cloned() else { return Ok(FailureOutcome::Stale) };
    // Who failed or let go says so itself; of who was lost it is known when it was last heard of.
    let (took_ms, at_work_ms) = match ending {
        Ending::Lost { .. } => {
            let ran = yard.ran(&attempt).await?;
            (ran.all_ms, ran.at_work_ms)
        }
        Ending::Failed(_) | Ending::Released { .. } => {
            let took_ms = now_ms.saturating_sub(attempt.started_ms);
            (took_ms, Some(took_ms))
        }
    };
    if let Some(at_work_ms) = at_work_ms {
        yard.charge(task, &attempt, at_work_ms, ending.metered()).await?;
    }
    let (wait_ms, reason) = count(yard, task, &attempt, ending, took_ms, now_ms, &limits);
    let reason = reason.or_else(|| reason_to_park(task, &limits));
    let outcome = place(yard, tx, task, limits.max_attempts, wait_ms, reason)?;
    if outcome == FailureOutcome::Retried {
        task.spend(wait_ms);
    }
    Ok(outcome)
}

/// Counts a live attempt as its ending says, and notes why. Answers how long its task waits before the next one, and why it
/// parks for this ending, if it does.
fn count(
    yard: &Yard,
    task: &mut Task,
    attempt: &Attempt,
    ending: Ending,
    took_ms: u64,
    now_ms: u64,
    limits: &TaskLimits,
) -> (u64, Option<String>) {
    let claim = &attempt.claim;
    let note = |message: String, log| Note {
        at_ms: now_ms,
        attempt: attempt.number,
        worker: attempt.worker.clone(),
        message,
        log,
    };
    match ending {
        Ending::Failed(failed) => {
            task.fail(claim, took_ms, failed.kind);
            let wait_ms = pause_ms(task, limits, failed.kind);
            if failed.kind.is_blamed() {
                let aside_ms = failed.avoid_ms.max(limits.backoff_ms);
                let until_ms = now_ms.saturating_add(wait_ms).saturating_add(aside_ms);
                task.avoid_until(&attempt.worker, until_ms);
            }
            let reason = reason_of_failure(task, limits, &failed);
            task.note(note(failed.message, failed.log), failed.kind.is_delay());
            (wait_ms, reason)
        }
        Ending::Lost { reason: why } => {
            match yard.planted(PlantedBug::LossCountedAsFailure) {
                true => task.fail(claim, took_ms, FailureKind::Transient),
                false => task.lose(claim, took_ms),
            };
            if yard.planted(PlantedBug::CheckpointForgotten) {
                task.forget_checkpoint();
            }
            task.note(note(why.to_owned(), vec![]), false);
            (0, None)
        }
        Ending::Released { .. } => {
            task.release(claim, took_ms);
            (0, None)
        }
    }
}

/// How long a task waits before its next attempt, after one that failed and is counted.
fn pause_ms(task: &Task, limits: &TaskLimits, kind: FailureKind) -> u64 {
    match kind {
        FailureKind::Permanent | FailureKind::Transient => {
            doubled(limits.backoff_ms, task.failures(), MAX_BACKOFF_MS)
        }
        FailureKind::Crash => doubled(limits.backoff_ms, task.crashes(), MAX_BACKOFF_MS),
        FailureKind::Unavailable => {
            doubled(limits.backoff_ms.max(FIRST_DELAY_MS), task.delays(), MAX_DELAY_MS)
        }
        FailureKind::Waits { wait_ms } => wait_ms.clamp(1, MAX_DELAY_MS),
        FailureKind::BadInput => 0,
    }
}

/// Parks, lists or holds back a task whose attempt just ended.
fn place(
    yard: &Yard,
    tx: &mut Tx<'_>,
    task: &mut Task,
    max_attempts: u32,
    wait_ms: u64,
    reason_to_park: Option<String>,
) -> Result<FailureOutcome, Error> {
    let tries_on = yard.planted(PlantedBug::NeverParks)
        || (yard.planted(PlantedBug::OneAttemptTooMany) && task.failures() == max_attempts);
    if !task.attempts().is_empty() {
        reschedule(yard, task);
        return Ok(FailureOutcome::OtherCopyRuns);
    }
    if let Some(reason) = reason_to_park.filter(|_| !tries_on) {
        delete_listing(tx, task);
        task.park(reason, yard.due_in(PARKED_LOOK_MS));
        return Ok(FailureOutcome::Parked);
    }
    // A second copy that nobody took yet stays listed.
    if !task.is_listed() {
        match wait_ms {
            0 => put_listing(tx, task.list(yard.port.now_ms()))?,
            _ if yard.planted(PlantedBug::TaskNotDue) => {}
            _ => {
                let waits_ms = (!yard.port.has_yards_clock()).then_some(wait_ms);
                task.back_off(waits_ms, yard.due_in(wait_ms));
            }
        }
    }
    Ok(FailureOutcome::Retried)
}

/// Why a task parks for what this failure brings up, if it does.
fn reason_of_failure(task: &Task, limits: &TaskLimits, failed: &Failed) -> Option<String> {
    let what = match failed.kind {
        FailureKind::BadInput => "an input is missing or damaged".to_owned(),
        FailureKind::Permanent if failed.alone && task.permanent().len() >= 2 => {
            "the pool's only worker says twice that it can never work".to_owned()
        }
        FailureKind::Unavailable if limits.total_ms.is_none() && task.spent_ms() >= MAX_UNAVAILABLE_MS => {
            "its prover was unavailable for a day".to_owned()
        }
        FailureKind::Waits { .. } if limits.total_ms.is_none() && task.spent_ms() >= MAX_UNAVAILABLE_MS => {
            "it has waited for a day".to_owned()
        }
        _ => spent(task, limits)?,
    };
    Some(format!("{what}: \"{}\"", one_line(&failed.message)))
}

/// Which budget is used up, whoever ended the last attempt: the one that used it up may have failed beside a copy of it.
fn spent(task: &Task, limits: &TaskLimits) -> Option<String> {
    if task.permanent().iter().any(|other| Some(other) != task.permanent().last()) {
        return Some("two workers say that it can never work".to_owned());
    }
    if task.failures() >= limits.max_attempts {
        return Some(format!("all {} attempts failed", limits.max_attempts));
    }
    if task.crashes() >= limits.max_crashes {
        return Some(match limits.max_crashes {
            1 => "its prover crashed".to_owned(),
            crashes => format!("its prover crashed {crashes} times"),
        });
    }
    let total_ms = limits.total_ms.filter(|total_ms| task.spent_ms() >= *total_ms)?;
    Some(format!("its total budget of {total_ms} ms is spent"))
}

/// Why a task parks after an attempt that did not fail, if it does.
fn reason_to_park(task: &Task, limits: &TaskLimits) -> Option<String> {
    match task.losses() > limits.max_losses {
        true => {
            Some(format!("{} workers were lost with it; at most {} may be", task.losses(), limits.max_losses))
        }
        false => spent(task, limits),
    }
}

/// `first_ms` at the first time, twice that at the second, and so on.
fn doubled(first_ms: u64, times: u32, most_ms: u64) -> u64 {
    let doublings = times.saturating_sub(1).min(32);
    first_ms.saturating_mul(1 << doublings).min(most_ms)
}

fn one_line(message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(REASON_CHARACTERS) {
        Some((at, _)) => format!("{}…", &words[..at]),
        None => words,
    }
}
