//! Budgets are counted exactly. How each attempt ended is known here from the worker itself, or from the handler that
//! ended it, and is counted a second time. A task parks when a budget is spent, and not before.

use std::collections::BTreeMap;

use proofyard_core::pipeline::TaskLimits;
use proofyard_core::record::FailureKind;
use proofyard_core::state::{Attempt, Task, TaskId, WorkerId};

use super::Context;
use super::mirror::{Changed, Item};
use crate::world::proving::Ending;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Spent {
    failures: u32,
    /// The workers that reported a permanent failure.
    permanent: Vec<WorkerId>,
    crashes: u32,
    delays: u32,
    losses: u32,
}

/// The longest backoff, and the time between a handler's reading of its clock and its commit.
const LONGEST_PAUSE_MS: u64 = 15 * 60_000;

impl Spent {
    fn count(&mut self, kind: FailureKind, worker: &WorkerId) {
        match kind {
            FailureKind::Transient => self.failures += 1,
            FailureKind::Permanent => {
                self.failures += 1;
                self.permanent.push(worker.clone());
            }
            FailureKind::Crash => self.crashes += 1,
            FailureKind::Unavailable => self.delays += 1,
            FailureKind::Waits { .. } | FailureKind::BadInput => {}
        }
    }

    fn is_over(&self, limits: &TaskLimits) -> bool {
        let confirmed = self.permanent.iter().any(|worker| Some(worker) != self.permanent.first());
        self.failures >= limits.max_attempts
            || self.losses > limits.max_losses
            || self.crashes >= limits.max_crashes
            || confirmed
    }
}

#[derive(Default)]
pub struct Budgets {
    spent: BTreeMap<TaskId, Spent>,
    /// When each task was first seen, or last unparked.
    since_ms: BTreeMap<TaskId, u64>,
}

impl Budgets {
    pub fn check(&mut self, context: &Context<'_>, commit: &[Changed]) {
        for change in commit {
            if let (Some(Item::Task(before)), Some(Item::Task(after))) =
                (change.before.as_deref(), change.after.as_deref())
            {
                self.check_task(context, before, after);
            }
        }
    }

    /// After a power loss what is stored is all there is.
    pub fn restart<'a>(&mut self, tasks: impl Iterator<Item = &'a Task>) {
        self.spent = tasks.map(|task| (task.id().clone(), spent(task))).collect();
    }

    fn check_task(&mut self, context: &Context<'_>, before: &Task, after: &Task) {
        let own = self.spent.entry(after.id().clone()).or_default();
        let now_ms = context.simulation.now_ms();
        if before.is_parked() && after.is_open() {
            *own = Spent::default();
            self.since_ms.insert(after.id().clone(), now_ms);
        }
        // The total adds up times that several hosts measured; it cannot be more than has passed.
        let first_ms = *self.since_ms.entry(after.id().clone()).or_insert(now_ms);
        context.must(after.spent_ms() <= now_ms - first_ms + LONGEST_PAUSE_MS, || {
            format!("{} has spent {} ms of {}", after.id(), after.spent_ms(), now_ms - first_ms)
        });
        let is_live = |attempt: &&Attempt| after.attempts().iter().any(|other| other.claim == attempt.claim);
        let ended: Vec<&Attempt> = before.attempts().iter().filter(|attempt| !is_live(attempt)).collect();
        let counts = after.is_open() || after.is_parked();
        let mut parks_at_once = false;
        for attempt in ended.iter().filter(|_| counts) {
            match ending(context, attempt) {
                Ending::Failed(kind) => {
                    own.count(kind, &attempt.worker);
                    // A pool's only worker confirms its own permanent failure; a missing or damaged input needs no
                    // confirmation.
                    let alone = context.mirror.worker(&attempt.worker).is_some_and(|worker| worker.alone);
                    let is_sure = alone && kind == FailureKind::Permanent && own.permanent.len() >= 2;
                    parks_at_once |= kind == FailureKind::BadInput || is_sure;
                    let blames = !matches!(
                        kind,
                        FailureKind::BadInput | FailureKind::Unavailable | FailureKind::Waits { .. }
                    );
                    let avoids = after.avoid().is_some_and(|avoid| avoid.worker == attempt.worker);
                    context.must(avoids || !blames, || {
                        format!("{} failed at {} and may go there at once", after.id(), attempt.worker)
                    });
                }
                Ending::Lost => own.losses += 1,
                Ending::Released => {}
            }
        }
        let own = own.clone();
        context.must(!counts || own == spent(after), || {
            format!("{} counts {:?}, and {own:?} is right", after.id(), spent(after))
        });
        let parks = after.is_parked() && !before.is_parked();
        if counts && (parks || (!ended.is_empty() && after.attempts().is_empty())) {
            check_parking(context, before, after, &own, parks_at_once, ended.is_empty());
        }
    }
}

fn spent(task: &Task) -> Spent {
    Spent {
        failures: task.failures(),
        permanent: task.permanent().to_vec(),
        crashes: task.crashes(),
        delays: task.delays(),
        losses: task.losses(),
    }
}

/// How an attempt ended: what its worker reported, where the worker's own slot ended it; a loss where another process did.
fn ending(context: &Context<'_>, attempt: &Attempt) -> Ending {
    match context.by.name {
        "slot" => context.proving.ending(&attempt.claim),
        _ => Ending::Lost,
    }
}

/// A task whose last attempt ended parks if, and only if, a budget is spent.
fn check_parking(
    context: &Context<'_>,
    before: &Task,
    task: &Task,
    own: &Spent,
    at_once: bool,
    none_ended: bool,
) {
    let Some(limits) = limits(context, task) else { return };
    let is_parked = task.is_parked();
    let is_spent = own.is_over(&limits) || at_once;
    // The coming backoff is added to the total after the handler compared it: so either answer is right in between.
    let total_is_over = |task: &Task| limits.total_ms.is_some_and(|total_ms| task.spent_ms() >= total_ms);
    let must = is_spent || total_is_over(before);
    let may = is_spent || total_is_over(task);
    if is_parked {
        context.simulation.count("check: parked over its budget");
    }
    context.must(!must || is_parked, || format!("{} goes on after {own:?} of {limits:?}", task.id()));
    context.must(!is_parked || (may && !none_ended), || {
        format!("{} parked ({:?}) after {own:?} of {limits:?}", task.id(), task.parked())
    });
}

fn limits(context: &Context<'_>, task: &Task) -> Option<TaskLimits> {
    let pipeline = context.pipeline_of(context.mirror.scope(&task.id().scope)?)?;
    Some(pipeline.stage(&task.id().stage)?.1.limits.clone())
}
