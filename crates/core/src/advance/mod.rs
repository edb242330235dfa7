//! Advancing: read again, take every step that is now due. Anyone may, at any time, any number of times.

mod adopt;
mod chain;
mod commit;
mod cuts;
mod deadline;
mod groups;
pub(crate) mod handed_on;
mod next_cut;
mod open;
mod quorum;
mod reduce;
mod reorg;
mod scope;

pub(crate) use deadline::deadline_ms;
pub(crate) use handed_on::handed_on_by;
pub(crate) use next_cut::NextCut;

use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::port::{Port, Wake};
use crate::state::{Scope, Subject};
use crate::yard::Yard;

/// What a look at a scope found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub moved: bool,
    /// When the newest of its groups opened or was decided.
    pub latest_ms: u64,
}

/// What a look at one stage found.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) moved: bool,
    pub(crate) over: bool,
}

impl Step {
    pub(crate) const MOVED: Self = Self { moved: true, over: false };
    pub(crate) const WAITS: Self = Self { moved: false, over: false };
    pub(crate) const OVER: Self = Self { moved: false, over: true };
}

impl<P: Port> Yard<P> {
    /// Takes the steps that a wake hints at. Pools, sinks and the judge are the home's to wake.
    pub async fn advance(&self, wake: &Wake) -> Result<(), Error> {
        match wake {
            Wake::Chain { chain } => self.advance_chain(chain).await,
            Wake::Scope { scope } => self.advance_scope(scope).await,
            Wake::Pool { .. } | Wake::Sink { .. } | Wake::Judge { .. } => Ok(()),
        }
    }
}

/// Indexes of the stages that work on this scope, in dependency order.
pub(crate) fn stages_of(pipeline: &Pipeline, scope: &Scope) -> Vec<usize> {
    let cut = match &scope.subject {
        Subject::Block(_) => None,
        Subject::Cut(cut) => pipeline.stage(&cut.stage).map(|(index, _)| index),
    };
    let in_cut = matches!(scope.subject, Subject::Cut(_));
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
    match &scope.subject {
        Subject::Block(_) => pipeline.commit_cut().is_none().then_some(pipeline.commit),
        Subject::Cut(cut) => {
            let index = pipeline.stage(&cut.stage)?.0;
            let commits = pipeline.commit_cut() == Some(index);
            Some(if commits { pipeline.commit } else { pipeline.final_stage_of_cut(index) })
        }
    }
}
