//! Readiness: whether a stage of a scope is over, has its tasks, may start and on what, or waits and for what.
//!
//! Opening groups asks this, and so do status, explain and report. Nobody else looks at which strategy a stage has.

use super::quorum::member_tasks;
use super::waits_for::{Depth, Gathered, WaitsFor};
use super::{matching, reduce, split};
use crate::error::Error;
use crate::pages::KeyPages;
use crate::pipeline::{CutRule, Pipeline, Stage, Strategy};
use crate::port::Key;
use crate::state::{Group, Inputs, Plan, Scope, Subject, TaskId};
use crate::transaction::read;
use crate::yard::Yard;

/// How a stage of a scope stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Readiness {
    /// Its group is decided, or was cancelled.
    Over(Group),
    /// Its group is there, and its tasks are being created or proved.
    Begun(Group),
    /// All that it gathers is there: the next look opens its group.
    Ready(Plan),
    /// Enough of its members agree: its group is opened with that decision.
    Decides,
    Waits(WaitsFor),
}

/// What a stage that reads the block alone gathers: all of it is there with the block. `None` for other stages, and for a block
/// that the stage cannot work on.
pub(crate) fn gathered_with_block(scope: &Scope, stage: &Stage) -> Option<Plan> {
    let block = scope.block().filter(|_| stage.reads_block_alone())?;
    match &stage.strategy {
        Strategy::Split => split::of_block(block),
        Strategy::Match { quorum: None, .. } => Some(matching::of_outputs(stage, Vec::new())),
        Strategy::Match { quorum: Some(_), .. } | Strategy::Sequential(_) => None,
    }
}

/// What is read first where a stage of an open scope is looked at.
pub(crate) fn keys_read(scope: &Scope, pipeline: &Pipeline, stage: &Stage) -> Vec<Key> {
    let mut keys = vec![Group::key_of(scope.id(), &stage.name)];
    if stage.may_disagree() {
        keys.extend(member_tasks(scope, pipeline, stage).iter().map(TaskId::task_key));
    }
    keys
}

impl Yard {
    pub(crate) async fn readiness(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        depth: Depth,
    ) -> Result<Readiness, Error> {
        let group: Option<Group> = read(&self.port, &Group::key_of(scope.id(), &stage.name)).await?;
        Ok(match group {
            Some(group) if group.is_over() => Readiness::Over(group),
            Some(group) => Readiness::Begun(group),
            None => match self.gathered(scope, pipeline, stage, depth).await? {
                Ok(_) if stage.may_disagree() => Readiness::Decides,
                Ok(plan) => Readiness::Ready(plan),
                Err(waits_for) => Readiness::Waits(waits_for),
            },
        })
    }

    async fn gathered(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        depth: Depth,
    ) -> Result<Gathered, Error> {
        if stage.after_commit && !self.is_committed(scope, pipeline).await? {
            return Ok(Err(WaitsFor::Commit));
        }
        if depth == Depth::Tell
            && let Some(blocked) = scope.blocked(&stage.name)
        {
            return Ok(Err(WaitsFor::Blocked(blocked.why.clone())));
        }
        match &stage.strategy {
            Strategy::Split => self.gathered_to_split(scope, pipeline, stage, depth).await,
            Strategy::Match { on, quorum: None } => {
                self.gathered_to_match(scope, pipeline, stage, on, depth).await
            }
            Strategy::Match { quorum: Some(quorum), .. } => {
                self.gathered_votes(scope, pipeline, stage, quorum).await
            }
            Strategy::Sequential(CutRule { arity: None, .. }) => {
                self.gathered_members(scope, pipeline, stage, depth).await
            }
            Strategy::Sequential(CutRule { arity: Some(arity), .. }) => {
                Ok(reduce::gathered(scope, pipeline, stage, *arity))
            }
        }
    }

    /// The outputs of the stages of this scope that a stage reads, or which of them are not decided.
    pub(super) async fn gathered_outputs(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        depth: Depth,
    ) -> Result<Result<Vec<(String, u32)>, WaitsFor>, Error> {
        let names: Vec<&str> = stage.sources().map(|source| pipeline.stages[source].name.as_str()).collect();
        let mut pages = KeyPages::of(&names, |name| Group::key_of(scope.id(), name));
        let (mut of, mut missing) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next::<Group>(&self.port).await? {
            for (name, group) in page {
                let Some(group) = group.filter(Group::is_decided) else {
                    missing.push((*name).to_owned());
                    continue;
                };
                // A quorum that only decides hands on the proofs that agreed.
                let outputs = group.outputs();
                match (group.expected, group.inputs) {
                    (0, Inputs::Outputs { of: agreed, .. }) => of.extend(agreed),
                    _ => of.push(((*name).to_owned(), outputs)),
                }
            }
            if depth == Depth::Open && !missing.is_empty() {
                break;
            }
        }
        Ok(if missing.is_empty() { Ok(of) } else { Err(WaitsFor::Stages(missing)) })
    }

    /// Whether what works only on committed blocks may work on this scope.
    async fn is_committed(&self, scope: &Scope, pipeline: &Pipeline) -> Result<bool, Error> {
        let (_, to) = scope.heights();
        let closed_after_commit = match scope.subject() {
            Subject::Block(_) => false,
            Subject::Cut(cut) => {
                pipeline.stage(&cut.stage).is_some_and(|(index, _)| pipeline.commit_cut() != Some(index))
            }
        };
        Ok(closed_after_commit || self.frontier(scope.chain()).await?.height > to)
    }
}
