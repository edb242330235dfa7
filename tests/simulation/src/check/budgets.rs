//! Budgets are kept exactly: what ended each attempt is known from the worker itself, or from who ended it, and is
//! counted here a second time. A task parks when its budget is spent, and not before.

use std::collections::BTreeMap;

use proofyard_core::pipeline::TaskLimits;
use proofyard_core::record::FailureKind;
use proofyard_core::state::{Attempt, Task, TaskId};

use super::Sight;
use super::mirror::{Item, Seen};
use crate::world::proving::Ending;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Spent {
    failures: u32,
    /// Who said that it can never work.
    permanent: Vec<String>,
    crashes: u32,
    delays: u32,
    losses: u32,
}

/// A pause, and what lies between a handler's look at its clock and its commit.
const A_PAUSE_MS: u64 = 15 * 60_000;

impl Spent {
    fn count(&mut self, kind: FailureKind, worker: &str) {
        match kind {
            FailureKind::Transient => self.failures += 1,
            FailureKind::Permanent => {
                self.failures += 1;
                self.permanent.push(worker.to_owned());
            }
            FailureKind::Crash => self.crashes += 1,
            FailureKind::Unavailable => self.delays += 1,
            FailureKind::BadInput => {}
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
pub struct Budgets(BTreeMap<TaskId, Spent>, BTreeMap<TaskId, u64>);

impl Budgets {
    pub fn check(&mut self, sight: &Sight<'_>, commit: &[Seen]) {
        for seen in commit {
            if let (Some(Item::Task(before)), Some(Item::Task(after))) =
                (seen.before.as_deref(), seen.after.as_deref())
            {
                self.task_moves(sight, before, after);
            }
        }
    }

    /// After a power loss what is stored is all there is.
    pub fn restart<'a>(&mut self, tasks: impl Iterator<Item = &'a Task>) {
        self.0 = tasks.map(|task| (task.id.clone(), spent(task))).collect();
    }

    fn task_moves(&mut self, sight: &Sight<'_>, before: &Task, after: &Task) {
        let own = self.0.entry(after.id.clone()).or_default();
        let now_ms = sight.simulation.now_ms();
        if before.is_parked() && after.is_open() {
            *own = Spent::default();
            self.1.insert(after.id.clone(), now_ms);
        }
        // It adds up times that were taken on several hosts, and can be no more than has passed.
        let first_ms = *self.1.entry(after.id.clone()).or_insert(now_ms);
        sight.must(after.spent_ms() <= now_ms - first_ms + A_PAUSE_MS, || {
            format!("{} has spent {} ms of {}", after.id, after.spent_ms(), now_ms - first_ms)
        });
        let is_live = |attempt: &&Attempt| after.attempts().iter().any(|other| other.claim == attempt.claim);
        let ended: Vec<&Attempt> = before.attempts().iter().filter(|attempt| !is_live(attempt)).collect();
        let counts = after.is_open() || after.is_parked();
        let mut parks_at_once = false;
        for attempt in ended.iter().filter(|_| counts) {
            match ending(sight, attempt) {
                Ending::Failed(kind) => {
                    own.count(kind, &attempt.worker);
                    // A pool's only worker confirms itself; what is missing or damaged is so for everybody.
                    let alone = sight.mirror.worker(&attempt.worker).is_some_and(|worker| worker.alone);
                    let is_sure = alone && kind == FailureKind::Permanent && own.permanent.len() >= 2;
                    parks_at_once |= kind == FailureKind::BadInput || is_sure;
                    let blames = !matches!(kind, FailureKind::BadInput | FailureKind::Unavailable);
                    let avoids = after.avoid().is_some_and(|avoid| avoid.worker == attempt.worker);
                    sight.must(avoids || !blames, || {
                        format!("{} failed at {} and may go there at once", after.id, attempt.worker)
                    });
                }
                Ending::Lost => own.losses += 1,
                Ending::Released => {}
            }
        }
        let own = own.clone();
        sight.must(!counts || own == spent(after), || {
            format!("{} counts {:?}, and {own:?} is right", after.id, spent(after))
        });
        let parks = after.is_parked() && !before.is_parked();
        if counts && (parks || (!ended.is_empty() && after.attempts().is_empty())) {
            parks_when_spent(sight, before, after, &own, parks_at_once, ended.is_empty());
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

/// A worker's own slot says how its attempt ended; anybody else only sees that the worker is gone.
fn ending(sight: &Sight<'_>, attempt: &Attempt) -> Ending {
    match sight.by.name {
        "slot" => sight.proving.ending(&attempt.claim),
        _ => Ending::Lost,
    }
}

/// A task whose last attempt ended.
fn parks_when_spent(
    sight: &Sight<'_>,
    before: &Task,
    task: &Task,
    own: &Spent,
    at_once: bool,
    none_ended: bool,
) {
    let Some(limits) = limits(sight, task) else { return };
    let is_parked = task.is_parked();
    let is_spent = own.is_over(&limits) || at_once;
    // The pause that is to come is added when it was judged.
    let total_is_over = |task: &Task| limits.total_ms.is_some_and(|total_ms| task.spent_ms() >= total_ms);
    let must = is_spent || total_is_over(before);
    let may = is_spent || total_is_over(task);
    if is_parked {
        sight.simulation.count("check: parked over its budget");
    }
    sight.must(!must || is_parked, || format!("{} goes on after {own:?} of {limits:?}", task.id));
    sight.must(!is_parked || (may && !none_ended), || {
        format!("{} parked ({:?}) after {own:?} of {limits:?}", task.id, task.parked())
    });
}

fn limits(sight: &Sight<'_>, task: &Task) -> Option<TaskLimits> {
    let pipeline = sight.pipeline_of(sight.mirror.scope(&task.id.scope)?)?;
    Some(pipeline.stage(&task.id.stage)?.1.limits.clone())
}
