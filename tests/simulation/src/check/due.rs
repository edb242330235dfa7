//! Nothing open lacks a `due`: whatever is left to do after a commit, the sweeper will look at.

use proofyard_core::state::{Life, Task};

use super::Sight;
use super::mirror::{Item, Seen};

pub fn check(sight: &Sight<'_>, commit: &[Seen]) {
    for seen in commit {
        let must_be_due = match seen.after.as_deref() {
            Some(Item::Scope(scope)) => scope.is_watched() && !scope.is_settled(),
            Some(Item::Task(task)) => is_wanted(sight, task) && task_is_due(task),
            Some(Item::Chain(state)) => state.reorg.is_some(),
            Some(Item::Heartbeat(_)) => true,
            _ => false,
        };
        if let (Some(Item::Scope(before)), Some(Item::Scope(scope))) =
            (seen.before.as_deref(), seen.after.as_deref())
            && before.relists()
            && !scope.relists()
        {
            // Whatever it has open is listed or looked after again.
            for task in sight.mirror.tasks_of(&scope.id) {
                sight.must(!scope.is_live() || !task_is_due(task) || task.due_ms().is_some(), || {
                    format!("{} returned, and no sweeper will look at its {task:?}", scope.id)
                });
            }
        }
        sight.must(!must_be_due || seen.due_ms.is_some(), || {
            format!("{} is open and no sweeper will look at it: {:?}", seen.key, seen.after)
        });
    }
    for seen in commit {
        match seen.after.as_deref() {
            Some(Item::Frontier(frontier)) => frontier_is_due(sight, &frontier.chain),
            Some(Item::Tip(tip)) => frontier_is_due(sight, &tip.chain),
            _ => {}
        }
    }
}

/// Off the chain nothing is due; what returns is listed again as a whole.
fn is_wanted(sight: &Sight<'_>, task: &Task) -> bool {
    sight.mirror.scope(&task.id.scope).is_some_and(|scope| scope.is_live() && !scope.relists())
}

/// Listed tasks wait for workers, which look by themselves, and those that gather for their scope, which is due itself;
/// all others that are open wait for a time.
fn task_is_due(task: &Task) -> bool {
    match task.life() {
        Life::Live { .. } | Life::BackingOff { .. } | Life::Unlisted | Life::Parked { .. } => true,
        Life::Gathering | Life::Listed | Life::Accepted { .. } | Life::Cancelled => false,
    }
}

fn frontier_is_due(sight: &Sight<'_>, chain: &str) {
    let (Some(frontier), Some(tip)) = (sight.mirror.frontier(chain), sight.mirror.tip(chain)) else { return };
    let is_open = tip.height().is_some_and(|height| height >= frontier.height);
    sight.must(!is_open || frontier.due_ms.is_some(), || {
        format!("{chain}: blocks wait at {} and no sweeper will look", frontier.height)
    });
}
