//! Promise 3, once: a result is accepted once and stays; and the books of a task are right: what it lists, who
//! holds it, what its failures and losses were.

use proofyard_core::state::{Life, Task};

use super::Sight;
use super::mirror::{Item, Seen};

pub fn check(sight: &Sight<'_>, commit: &[Seen]) {
    for seen in commit {
        match (seen.before.as_deref(), seen.after.as_deref()) {
            (before, Some(Item::Task(after))) => {
                let before = match before {
                    Some(Item::Task(before)) => Some(&**before),
                    _ => None,
                };
                task_moves(sight, before, after);
            }
            (Some(Item::Task(task)), None) => sight.must(false, || format!("task {} was deleted", task.id)),
            (Some(Item::Slot(before)), _) => slot_moves(sight, before),
            _ => {}
        }
    }
}

fn task_moves(sight: &Sight<'_>, before: Option<&Task>, after: &Task) {
    let id = &after.id;
    if let Some(before) = before {
        count(sight, before, after);
        sight.must(!before.is_accepted() || before.accepted() == after.accepted(), || {
            format!("the accepted result of {id} changed")
        });
        sight.must(before.rank == after.rank, || format!("the rank of {id} changed"));
    }
    sight.must(after.attempts().len() <= Task::MAX_LIVE_ATTEMPTS, || {
        format!("{id} has {} live attempts", after.attempts().len())
    });
    let reported = sight.proving.failures_reported(id);
    sight.must(after.failures() <= reported, || {
        format!("{id} counts {} failures, and provers failed {reported} times", after.failures())
    });
    for attempt in after.attempts() {
        let is_held =
            sight.mirror.slot(&attempt.worker, attempt.slot).is_some_and(|slot| slot.holds(&attempt.claim));
        let is_dead = sight.mirror.worker(&attempt.worker).is_none_or(|worker| worker.dead);
        sight.must(is_held || is_dead, || {
            format!("{id} is held by {} slot {}, which does not know of it", attempt.worker, attempt.slot)
        });
    }
}

fn count(sight: &Sight<'_>, before: &Task, after: &Task) {
    let is_new = std::mem::discriminant(before.life()) != std::mem::discriminant(after.life());
    if after.attempts().len() > 1 && before.attempts().len() == 1 {
        sight.simulation.count("check: second copy runs");
    }
    if after.losses() > before.losses() {
        sight.simulation.count("check: attempt lost");
    }
    match after.life() {
        Life::Parked { .. } if is_new => sight.simulation.count("check: task parked"),
        Life::Cancelled if is_new => sight.simulation.count("check: task cancelled"),
        _ if after.is_open() && before.is_parked() => sight.simulation.count("check: task unparked"),
        Life::Accepted { .. } if is_new => {
            let number = after.accepted().map(|accepted| accepted.attempt);
            let was_live = before.attempts().iter().any(|attempt| Some(attempt.number) == number);
            if !was_live {
                sight.simulation.count("check: late result accepted");
            }
            if before.is_parked() {
                sight.simulation.count("check: result of a parked task accepted");
            }
        }
        _ => {}
    }
}

/// A slot lets go only of what its task no longer counts as running there.
fn slot_moves(sight: &Sight<'_>, before: &proofyard_core::state::Slot) {
    let Some(held) = &before.held else { return };
    let slot = sight.mirror.slot(&before.worker, before.slot);
    if slot.is_some_and(|slot| slot.holds(&held.claim)) {
        return;
    }
    let still_runs = sight
        .mirror
        .task(&held.task)
        .is_some_and(|task| task.attempts().iter().any(|attempt| attempt.claim == held.claim));
    let is_dead = sight.mirror.worker(&before.worker).is_none_or(|worker| worker.dead);
    sight.must(!still_runs || is_dead, || {
        format!("{} slot {} let go of {}, which still counts on it", before.worker, before.slot, held.task)
    });
}
