//! Invariant 5, only true proofs: every accepted result is true for its task, its public values are those that are
//! in the proof, and nothing starts before all that it gathers was accepted.

use std::collections::BTreeMap;

use proofyard_core::pipeline::{CutRule, Output, Pipeline, Quorum, Source, Stage, Strategy};
use proofyard_core::state::{Group, Scope, ScopeId, Subject, Task, TaskId, TaskResult};

use super::mirror::{Changed, Item};
use super::{Context, reduction};

pub fn check(context: &Context<'_>, commit: &[Changed]) {
    for change in commit {
        match (change.before.as_deref(), change.after.as_deref()) {
            (before, Some(Item::Task(after))) => {
                let was_accepted = matches!(before, Some(Item::Task(before)) if before.is_accepted());
                if let Some(accepted) = after.accepted().filter(|_| !was_accepted) {
                    check_true(context, after, accepted);
                }
            }
            (None, Some(Item::Group(group))) => check_gathered(context, group),
            (Some(Item::Group(before)), Some(Item::Group(after)))
                if before.decided.is_none() && after.decided.is_some() =>
            {
                check_complete(context, after);
            }
            _ => {}
        }
    }
}

fn check_true(context: &Context<'_>, task: &Task, accepted: &TaskResult) {
    context.simulation.count("check: result accepted");
    let id = task.id();
    let artifact = context.proving.artifact(&accepted.artifact);
    context.must(context.proving.is_true_for(&accepted.artifact, &id.scope, &id.stage, id.index), || {
        format!("{id} accepted {artifact:?}")
    });
    let scope = context.mirror.scope(&id.scope);
    let stage =
        scope.and_then(|scope| context.pipeline_of(scope)).and_then(|pipeline| pipeline.stage(&id.stage));
    if stage.is_some_and(|(_, stage)| stage.output == Output::Proof) {
        context
            .must(accepted.public_values == artifact.map(|artifact| artifact.public_values.clone()), || {
                format!("{id} accepted public values {:?} that are not in the proof", accepted.public_values)
            });
    }
}

/// A group appears only when all that it gathers is there.
fn check_gathered(context: &Context<'_>, group: &Group) {
    let Some(scope) = context.mirror.scope(&group.scope) else {
        return context.must(false, || format!("{}/{} has no scope", group.scope, group.stage));
    };
    let Some(pipeline) = context.pipeline_of(scope) else { return };
    let Some((index, stage)) = pipeline.stage(&group.stage) else { return };
    if quorum(stage).is_some() && stage.provers.is_empty() {
        return;
    }
    let expected = expected_tasks(context, scope, pipeline, index);
    context.must(expected == Some(group.expected), || {
        format!(
            "{}/{} expects {} tasks, and {expected:?} are right",
            group.scope, group.stage, group.expected
        )
    });
    for source in &stage.from {
        let Source::Stage(source) = source else { continue };
        context.must(is_gathered(context, scope, pipeline, stage, *source), || {
            format!(
                "{}/{} starts before {} is complete",
                group.scope, group.stage, pipeline.stages[*source].name
            )
        });
    }
}

/// How many tasks the group of a stage must have; from the block and the accepted list, not from the handlers.
fn expected_tasks(context: &Context<'_>, scope: &Scope, pipeline: &Pipeline, index: usize) -> Option<u32> {
    let stage = &pipeline.stages[index];
    if stage.provers.is_empty() {
        return Some(0);
    }
    match (&stage.strategy, stage.from.first()?) {
        (Strategy::Split, Source::Block) => scope.block().map(|block| block.segments),
        (Strategy::Split, Source::Stage(source)) => {
            let id = TaskId::new(scope.id(), &pipeline.stages[*source].name, 0);
            context.mirror.task(&id)?.accepted()?.list.as_ref().map(|list| list.count)
        }
        (Strategy::Sequential(CutRule { arity: Some(arity), .. }), _) => {
            Some(reduction::tree(scope.cut()?.members.len() as u32, *arity).len() as u32)
        }
        _ => Some(1),
    }
}

/// Whether all of `source` that `reader` gathers in this scope is accepted.
fn is_gathered(
    context: &Context<'_>,
    scope: &Scope,
    pipeline: &Pipeline,
    reader: &Stage,
    source: usize,
) -> bool {
    let stage = &pipeline.stages[source];
    // Of a reduced cut each task waits for its own children: see `reduction`.
    if matches!(reader.strategy, Strategy::Sequential(CutRule { arity: Some(_), .. })) {
        return true;
    }
    match (scope.subject(), stage.cut_by) {
        (Subject::Cut(cut), None) => (cut.from..).zip(&cut.members).all(|(height, member)| {
            let id = ScopeId::of_block(scope.chain(), height, &member.hash, member.generation);
            context.mirror.scope(&id).is_some_and(|block| is_done(context, block, pipeline, source))
        }),
        // Members of a quorum that runs a prover of its own need not all be there.
        _ if quorum(reader).is_some() => true,
        _ => is_done(context, scope, pipeline, source),
    }
}

/// Whether a stage is over in a scope: all its tasks accepted, or its quorum agreed.
pub fn is_done(context: &Context<'_>, scope: &Scope, pipeline: &Pipeline, index: usize) -> bool {
    let stage = &pipeline.stages[index];
    if let Some(quorum) = quorum(stage)
        && stage.provers.is_empty()
    {
        return agrees(context, scope, pipeline, stage, quorum);
    }
    let Some(expected) = expected_tasks(context, scope, pipeline, index) else { return false };
    (0..expected).all(|task| {
        let task = context.mirror.task(&TaskId::new(scope.id(), &stage.name, task));
        task.is_some_and(|task| task.is_accepted())
    })
}

pub fn quorum(stage: &Stage) -> Option<&Quorum> {
    match &stage.strategy {
        Strategy::Match { quorum, .. } => quorum.as_ref(),
        _ => None,
    }
}

fn agrees(context: &Context<'_>, scope: &Scope, pipeline: &Pipeline, stage: &Stage, quorum: &Quorum) -> bool {
    let mut votes: BTreeMap<String, u32> = BTreeMap::new();
    for source in &stage.from {
        let Source::Stage(source) = source else { continue };
        let id = TaskId::new(scope.id(), &pipeline.stages[*source].name, 0);
        let accepted = context.mirror.task(&id).and_then(|task| task.accepted());
        if let Some(public_values) = accepted.and_then(|accepted| accepted.public_values.clone()) {
            *votes.entry(public_values).or_default() += 1;
        }
    }
    votes.values().any(|votes| *votes >= quorum.need)
}

fn check_complete(context: &Context<'_>, group: &Group) {
    let Some(scope) = context.mirror.scope(&group.scope) else { return };
    let Some(pipeline) = context.pipeline_of(scope) else { return };
    let Some((index, _)) = pipeline.stage(&group.stage) else { return };
    context.simulation.count("check: group decided");
    context.must(is_done(context, scope, pipeline, index), || {
        format!("{}/{} was decided before all its results are there", group.scope, group.stage)
    });
}
