//! Which stages of its pipeline work on a scope, and which of them commits or emits it.

use crate::pipeline::Pipeline;
use crate::state::{Scope, Subject};

/// Indexes of the stages that work on this scope, in dependency order.
pub(crate) fn stages_of(pipeline: &Pipeline, scope: &Scope) -> Vec<usize> {
    let cut = match scope.subject() {
        Subject::Block(_) => None,
        Subject::Cut(cut) => pipeline.stage(&cut.stage).map(|(index, _)| index),
    };
    let in_cut = matches!(scope.subject(), Subject::Cut(_));
    (0..pipeline.stages.len())
        .filter(|index| pipeline.stages[*index].cut_by == cut && (in_cut == cut.is_some()))
        .collect()
}

/// Whether a scope's proof was committed or emitted, by the frontier of its chain.
pub(crate) fn is_handed_on(pipeline: &Pipeline, scope: &Scope, frontier_height: u64) -> bool {
    let by_frontier = scope.cut().is_none() || goal_of(pipeline, scope) == Some(pipeline.commit);
    match by_frontier {
        true => frontier_height > scope.heights().1,
        false => scope.committed_ms().is_some(),
    }
}

/// The stage whose proof commits or emits this scope; none for a block that is committed by its cut.
pub(crate) fn goal_of(pipeline: &Pipeline, scope: &Scope) -> Option<usize> {
    match scope.subject() {
        Subject::Block(_) => pipeline.commit_cut().is_none().then_some(pipeline.commit),
        Subject::Cut(cut) => {
            let index = pipeline.stage(&cut.stage)?.0;
            let commits = pipeline.commit_cut() == Some(index);
            Some(if commits { pipeline.commit } else { pipeline.final_stage_of_cut(index) })
        }
    }
}
