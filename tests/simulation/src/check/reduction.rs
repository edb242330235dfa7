//! Reduced cuts (`arity`): the group is exactly the tree that follows from the cut's members, and no task of it may be
//! claimed before all of its children are accepted. The tree is computed here a second time, from ranges of members.

use std::collections::BTreeMap;

use proofyard_core::pipeline::{Pipeline, Source, Strategy};
use proofyard_core::state::{ArtifactRef, Cut, Group, Inputs, Scope, ScopeId, Task, TaskId};
use proofyard_core::work::Assignment;

use super::mirror::{Changed, Item, Mirror};
use super::{Context, proofs};

/// First and last member.
type Range = (u32, u32);

/// The ranges that each task joins, root first.
pub fn tree(members: u32, arity: u32) -> Vec<Vec<Range>> {
    let mut joins: BTreeMap<Range, Vec<Range>> = BTreeMap::new();
    let mut level: Vec<Range> = (0..members).map(|member| (member, member)).collect();
    while level.len() > 1 {
        let join = |group: &[Range]| {
            let whole = (group[0].0, group[group.len() - 1].1);
            if group.len() > 1 {
                joins.insert(whole, group.to_vec());
            }
            whole
        };
        level = level.chunks(arity as usize).map(join).collect();
    }
    let mut tasks = vec![joins.get(&level[0]).cloned().unwrap_or_else(|| level.clone())];
    let mut at = 0;
    while at < tasks.len() {
        let below: Vec<_> = tasks[at].iter().filter_map(|range| joins.get(range).cloned()).collect();
        tasks.extend(below);
        at += 1;
    }
    tasks
}

pub fn check(context: &Context<'_>, commit: &[Changed]) {
    for change in commit {
        match change.after.as_deref() {
            Some(Item::Task(task)) => {
                check_listed(context, task);
                let is_new =
                    !matches!(change.before.as_deref(), Some(Item::Task(before)) if before.is_accepted());
                if is_new && task.is_accepted() {
                    check_fed(context, task);
                }
            }
            Some(Item::Group(group)) if change.before.is_none() => check_tree(context, group),
            _ => {}
        }
    }
}

/// The members and the arity of the cut that a stage reduces.
fn reduces<'a>(
    mirror: &'a Mirror,
    pipeline: &Pipeline,
    scope: &ScopeId,
    stage: &str,
) -> Option<(&'a Scope, &'a Cut, u32)> {
    let Strategy::Sequential(rule) = &pipeline.stage(stage)?.1.strategy else { return None };
    let scope = mirror.scope(scope)?;
    Some((scope, scope.cut()?, rule.arity?))
}

fn check_tree(context: &Context<'_>, group: &Group) {
    let Some(scope) = context.mirror.scope(&group.scope) else { return };
    let Some(pipeline) = context.pipeline_of(scope) else { return };
    let Some((_, cut, arity)) = reduces(context.mirror, pipeline, &group.scope, &group.stage) else { return };
    let members = cut.members.len() as u32;
    let tree = tree(members, arity);
    if tree.len() > 1 {
        context.simulation.count("check: reduction of more than one task");
    }
    let fits = matches!(group.inputs, Inputs::Reduced { members: of, arity: by, .. } if (of, by) == (members, arity));
    context.must(fits && group.expected == tree.len() as u32, || {
        format!("{}/{} is {group:?}, and {members} members by {arity} are {tree:?}", group.scope, group.stage)
    });
}

fn check_listed(context: &Context<'_>, task: &Task) {
    let Some(pipeline) = context.mirror.scope(&task.id().scope).and_then(|scope| context.pipeline_of(scope))
    else {
        return;
    };
    let Some((scope, cut, arity)) = reduces(context.mirror, pipeline, &task.id().scope, &task.id().stage)
    else {
        return;
    };
    let tree = tree(cut.members.len() as u32, arity);
    let Some(children) = tree.get(task.id().index as usize) else {
        return context.must(false, || format!("{} is not in its tree {tree:?}", task.id()));
    };
    if task.gathers() {
        return context.must(!task.is_listed() && task.attempts().is_empty() && !task.is_accepted(), || {
            format!("{} gathers, and yet it may be worked on: {task:?}", task.id())
        });
    }
    for child in children {
        context.must(is_there(context, pipeline, scope, cut, &tree, task.id(), *child), || {
            format!("{} may be claimed before its child {child:?} is there", task.id())
        });
    }
}

/// The commit that accepts the last child of a task also lists the task: of two that are accepted at the same time, one
/// sees the other.
fn check_fed(context: &Context<'_>, child: &Task) {
    let Some(pipeline) = context.mirror.scope(&child.id().scope).and_then(|scope| context.pipeline_of(scope))
    else {
        return;
    };
    let Some((scope, cut, arity)) = reduces(context.mirror, pipeline, &child.id().scope, &child.id().stage)
    else {
        return;
    };
    let tree = tree(cut.members.len() as u32, arity);
    let Some(parent) = child.feeds().and_then(|parent| Some((parent, tree.get(parent as usize)?))) else {
        return;
    };
    let (parent, children) = (TaskId { index: parent.0, ..child.id().clone() }, parent.1);
    let is_decided = |member: u32| {
        let source = pipeline.stage(&child.id().stage).and_then(|(_, stage)| stage.from.first());
        let Some(Source::Stage(source)) = source else { return true };
        let Some(block) = cut.member_id(scope.chain(), member) else { return false };
        let group = context.mirror.group(&block, &pipeline.stages[*source].name);
        group.is_some_and(|group| group.decided.is_some())
    };
    let all_there = children.iter().all(|range| match task_over(&tree, *range) {
        Some(below) => {
            let below = context.mirror.task(&TaskId { index: below, ..child.id().clone() });
            below.is_some_and(|below| below.is_accepted())
        }
        None => is_decided(range.0),
    });
    let gathers = context.mirror.task(&parent).is_some_and(|parent| parent.gathers());
    if all_there && children.len() > 1 {
        context.simulation.count("check: the last child of a task came");
    }
    context.must(!(all_there && gathers && scope.is_live()), || {
        format!("{parent} still gathers, though {} was its last child", child.id())
    });
}

fn is_there(
    context: &Context<'_>,
    pipeline: &Pipeline,
    scope: &Scope,
    cut: &Cut,
    tree: &[Vec<Range>],
    task: &TaskId,
    child: Range,
) -> bool {
    if let Some(below) = task_over(tree, child) {
        let below = context.mirror.task(&TaskId { index: below, ..task.clone() });
        return below.is_some_and(|below| below.is_accepted());
    }
    let source = pipeline.stage(&task.stage).and_then(|(_, stage)| stage.from.first());
    let Some(Source::Stage(source)) = source else { return true };
    let member = cut.member_id(scope.chain(), child.0);
    let block = member.and_then(|member| context.mirror.scope(&member));
    block.is_some_and(|block| proofs::is_done(context, block, pipeline, *source))
}

/// The task that makes the output over these members; `None` where it is a member itself.
fn task_over(tree: &[Vec<Range>], range: Range) -> Option<u32> {
    if range.0 == range.1 {
        return None;
    }
    let over = |children: &Vec<Range>| (children[0].0, children[children.len() - 1].1) == range;
    tree.iter().position(over).map(|index| index as u32)
}

/// For a task of a reduction: `None` if its worker was given the right inputs, else what these are.
pub fn wrong_inputs(mirror: &Mirror, assignment: &Assignment) -> Option<Vec<Option<ArtifactRef>>> {
    let (pipeline, id) = (&assignment.pipeline, assignment.task.id());
    let (scope, cut, arity) = reduces(mirror, pipeline, &id.scope, &id.stage)?;
    let tree = tree(cut.members.len() as u32, arity);
    let output = |id: TaskId| mirror.task(&id)?.accepted().map(|accepted| accepted.artifact.clone());
    let artifact = |child: &Range| {
        if let Some(below) = task_over(&tree, *child) {
            return output(TaskId { index: below, ..id.clone() });
        }
        let member = cut.member_id(scope.chain(), child.0)?;
        match pipeline.stage(&id.stage)?.1.from.first()? {
            Source::Block => Some(mirror.scope(&member)?.block()?.payload.clone()),
            Source::Stage(source) => output(TaskId::new(&member, &pipeline.stages[*source].name, 0)),
        }
    };
    let right: Vec<_> = tree.get(id.index as usize)?.iter().map(artifact).collect();
    let given: Vec<_> = assignment.inputs.iter().map(|input| Some(input.artifact.clone())).collect();
    (given != right).then_some(right)
}
