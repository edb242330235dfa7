//! Budgets are kept exactly: what ended each attempt is known from the worker itself, or from who ended it, and is
//! counted here a second time. A task parks when its budget is spent, and not before.

use std::collections::BTreeMap;

use proofyard_core::pipeline::TaskLimits;
use proofyard_core::record::FailureKind;
use proofyard_core::state::{Attempt, Task, TaskId, TaskStatus};

use super::mirror::{Item, Seen};
use super::{CLOCK_SKEW_MS, Sight};
use crate::world::proving::Ending;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spent {
    failures: u32,
    permanent: u32,
    losses: u32,
}

#[derive(Default)]
pub struct Budgets(BTreeMap<TaskId, Spent>);

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
        if before.status == TaskStatus::Parked && after.status == TaskStatus::Open {
            *own = Spent::default();
        }
        let is_live = |attempt: &&Attempt| after.attempts.iter().any(|other| other.claim == attempt.claim);
        let ended: Vec<&Attempt> = before.attempts.iter().filter(|attempt| !is_live(attempt)).collect();
        let counts = matches!(after.status, TaskStatus::Open | TaskStatus::Parked);
        for attempt in ended.iter().filter(|_| counts) {
            match ending(sight, attempt) {
                Ending::Failed(kind) => {
                    own.failures += 1;
                    own.permanent += u32::from(kind == FailureKind::Permanent);
                    let avoids = after.avoid.as_ref().is_some_and(|avoid| avoid.worker == attempt.worker);
                    sight.must(avoids, || {
                        format!("{} failed at {} and may go there at once", after.id, attempt.worker)
                    });
                }
                Ending::Lost => own.losses += 1,
                Ending::Released => {}
            }
        }
        let own = *own;
        sight.must(!counts || own == spent(after), || {
            format!("{} counts {:?}, and {own:?} is right", after.id, spent(after))
        });
        let parks = after.status == TaskStatus::Parked && before.status != TaskStatus::Parked;
        if counts && (parks || (!ended.is_empty() && after.attempts.is_empty())) {
            parks_when_spent(sight, after, own, ended.is_empty());
        }
    }
}

fn spent(task: &Task) -> Spent {
    Spent { failures: task.failures, permanent: task.permanent.len() as u32, losses: task.losses }
}

/// A worker's own slot says how its attempt ended; anybody else only sees that the worker is gone.
fn ending(sight: &Sight<'_>, attempt: &Attempt) -> Ending {
    match sight.by.name {
        "slot" => sight.proving.ending(&attempt.claim),
        _ => Ending::Lost,
    }
}

/// A task whose last attempt ended.
fn parks_when_spent(sight: &Sight<'_>, task: &Task, own: Spent, none_ended: bool) {
    let Some(limits) = limits(sight, task) else { return };
    let is_parked = task.status == TaskStatus::Parked;
    let is_spent =
        own.failures >= limits.max_attempts || own.losses > limits.max_losses || own.permanent >= 2;
    let taken_ms = |now_ms: u64| task.first_claimed_ms.map_or(0, |first_ms| now_ms.saturating_sub(first_ms));
    let total_is_over = |now_ms: u64| limits.total_ms.is_some_and(|total_ms| taken_ms(now_ms) >= total_ms);
    let now_ms = sight.simulation.now_ms();
    let must = is_spent || total_is_over(now_ms.saturating_sub(CLOCK_SKEW_MS));
    let may = is_spent || total_is_over(now_ms + CLOCK_SKEW_MS);
    if is_parked {
        sight.simulation.count("check: parked over its budget");
    }
    sight.must(!must || is_parked, || format!("{} goes on after {own:?} of {limits:?}", task.id));
    sight.must(!is_parked || (may && !none_ended), || {
        format!("{} parked ({:?}) after {own:?} of {limits:?}", task.id, task.parked)
    });
}

fn limits(sight: &Sight<'_>, task: &Task) -> Option<TaskLimits> {
    let pipeline = sight.pipeline_of(sight.mirror.scope(&task.id.scope)?)?;
    Some(pipeline.stage(&task.id.stage)?.1.limits.clone())
}
