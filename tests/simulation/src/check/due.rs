//! Nothing open lacks a due time: whatever is left to do after a commit, a sweep will visit.

use proofyard_core::state::{ChainName, Life, Task};

use super::Context;
use super::mirror::{Changed, Item};

pub fn check(context: &Context<'_>, commit: &[Changed]) {
    for change in commit {
        let must_be_due = match change.after.as_deref() {
            Some(Item::Scope(scope)) => scope.is_watched() && !scope.is_settled(),
            Some(Item::Task(task)) => is_wanted(context, task) && task_is_due(task),
            Some(Item::Chain(state)) => state.reorg.is_some(),
            Some(Item::Heartbeat(_)) => true,
            _ => false,
        };
        if let (Some(Item::Scope(before)), Some(Item::Scope(scope))) =
            (change.before.as_deref(), change.after.as_deref())
            && before.relists()
            && !scope.relists()
        {
            // Its block has returned to the chain: each of its open tasks is listed or due again.
            for task in context.mirror.tasks_of(scope.id()) {
                context.must(!scope.is_live() || !task_is_due(task) || task.due_ms().is_some(), || {
                    format!("{} returned, and no sweeper will look at its {task:?}", scope.id())
                });
            }
        }
        context.must(!must_be_due || change.due_ms.is_some(), || {
            format!("{} is open and no sweeper will look at it: {:?}", change.key, change.after)
        });
    }
    for change in commit {
        match change.after.as_deref() {
            Some(Item::Frontier(frontier)) => check_frontier_due(context, &frontier.chain),
            Some(Item::Tip(tip)) => check_frontier_due(context, &tip.chain),
            _ => {}
        }
    }
}

/// Tasks of a block off the chain need no due time; if the block returns, its scope lists them again.
fn is_wanted(context: &Context<'_>, task: &Task) -> bool {
    context.mirror.scope(&task.id().scope).is_some_and(|scope| scope.is_live() && !scope.relists())
}

/// Listed tasks need no due time, since workers poll for them, nor do gathering ones, since their scope has one. All other
/// tasks that are not over wait for a time.
fn task_is_due(task: &Task) -> bool {
    match task.life() {
        Life::Live { .. } | Life::BackingOff { .. } | Life::Unlisted | Life::Parked { .. } => true,
        Life::Gathering | Life::Listed | Life::Accepted { .. } | Life::Cancelled => false,
    }
}

fn check_frontier_due(context: &Context<'_>, chain: &ChainName) {
    let (Some(frontier), Some(tip)) = (context.mirror.frontier(chain), context.mirror.tip(chain)) else {
        return;
    };
    let is_open = tip.height().is_some_and(|height| height >= frontier.height);
    context.must(!is_open || frontier.due_ms.is_some(), || {
        format!("{chain}: blocks wait at {} and no sweeper will look", frontier.height)
    });
}
