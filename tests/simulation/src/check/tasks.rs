//! Invariant 3, once: a result is accepted once and stays; and what a task's item says of its attempts is right: which
//! slots hold it, how many failures it had.

use proofyard_core::state::{Life, Task};

use super::Context;
use super::mirror::{Changed, Item};

pub fn check(context: &Context<'_>, commit: &[Changed]) {
    for change in commit {
        match (change.before.as_deref(), change.after.as_deref()) {
            (before, Some(Item::Task(after))) => {
                let before = match before {
                    Some(Item::Task(before)) => Some(&**before),
                    _ => None,
                };
                check_task(context, before, after);
            }
            (Some(Item::Task(task)), None) => {
                context.must(false, || format!("task {} was deleted", task.id()))
            }
            (Some(Item::Slot(before)), _) => check_slot(context, before),
            _ => {}
        }
    }
}

fn check_task(context: &Context<'_>, before: Option<&Task>, after: &Task) {
    let id = after.id();
    if let Some(before) = before {
        count(context, before, after);
        context.must(!before.is_accepted() || before.accepted() == after.accepted(), || {
            format!("the accepted result of {id} changed")
        });
        context.must(before.rank() == after.rank(), || format!("the rank of {id} changed"));
    }
    if let Some(kept) = after.checkpoint().filter(|_| before.and_then(Task::checkpoint) != after.checkpoint())
    {
        let claim = kept.split('/').next().unwrap_or_default();
        context.must(before.is_some_and(|before| before.attempt(claim).is_some()), || {
            format!("{id} keeps {kept}, and the attempt that asked for it is over")
        });
    }
    context.must(!after.is_accepted() || after.checkpoint().is_none(), || {
        format!("{id} is accepted and still keeps a checkpoint")
    });
    context.must(after.attempts().len() <= Task::MAX_LIVE_ATTEMPTS, || {
        format!("{id} has {} live attempts", after.attempts().len())
    });
    let reported = context.proving.failures_reported(id);
    context.must(after.failures() <= reported, || {
        format!("{id} counts {} failures, and provers failed {reported} times", after.failures())
    });
    for attempt in after.attempts() {
        let is_held =
            context.mirror.slot(&attempt.worker, attempt.slot).is_some_and(|slot| slot.holds(&attempt.claim));
        let is_dead = context.mirror.worker(&attempt.worker).is_none_or(|worker| worker.dead);
        context.must(is_held || is_dead, || {
            format!("{id} is held by {} slot {}, whose item does not say so", attempt.worker, attempt.slot)
        });
    }
}

fn count(context: &Context<'_>, before: &Task, after: &Task) {
    let is_new = std::mem::discriminant(before.life()) != std::mem::discriminant(after.life());
    if after.attempts().len() > 1 && before.attempts().len() == 1 {
        context.simulation.count("check: second copy runs");
    }
    if after.losses() > before.losses() {
        context.simulation.count("check: attempt lost");
    }
    match after.life() {
        Life::Parked { .. } if is_new => context.simulation.count("check: task parked"),
        Life::Cancelled if is_new => context.simulation.count("check: task cancelled"),
        _ if after.is_open() && before.is_parked() => context.simulation.count("check: task unparked"),
        Life::Accepted { .. } if is_new => {
            let number = after.accepted().map(|accepted| accepted.attempt);
            let was_live = before.attempts().iter().any(|attempt| Some(attempt.number) == number);
            if !was_live {
                context.simulation.count("check: late result accepted");
            }
            if before.is_parked() {
                context.simulation.count("check: result of a parked task accepted");
            }
        }
        _ => {}
    }
}

/// A slot gives a claim up only when its task no longer counts that attempt as live.
fn check_slot(context: &Context<'_>, before: &proofyard_core::state::Slot) {
    let Some(held) = &before.held else { return };
    let slot = context.mirror.slot(&before.worker, before.slot);
    if slot.is_some_and(|slot| slot.holds(&held.claim)) {
        return;
    }
    let still_runs = context
        .mirror
        .task(&held.task)
        .is_some_and(|task| task.attempts().iter().any(|attempt| attempt.claim == held.claim));
    let is_dead = context.mirror.worker(&before.worker).is_none_or(|worker| worker.dead);
    context.must(!still_runs || is_dead, || {
        format!(
            "{} slot {} gave up {}, whose attempt still counts as live",
            before.worker, before.slot, held.task
        )
    });
}
