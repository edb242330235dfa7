//! Quorums: an entry of the out log holds exactly the members that agreed when the quorum decided, and every proof
//! that is not of the largest group that agrees halts its chain.

use std::collections::BTreeMap;

use proofyard_core::pipeline::{Pipeline, Source, Stage};
use proofyard_core::state::{OutEntry, OutKind, Progress, Scope, ScopeId, Task, TaskId};

use super::Context;
use super::mirror::{Changed, Item};
use super::proofs::quorum;

type Place = (ScopeId, String);

#[derive(Default)]
pub struct Quorums {
    /// Which sets of members may have decided each quorum: more than one only where several sets are equally large.
    agreed: BTreeMap<Place, Vec<Vec<String>>>,
    /// At which step a proof last came that was not of the largest group.
    dissent: BTreeMap<Place, u64>,
    /// At which step a halt last named each scope.
    halted: BTreeMap<ScopeId, u64>,
}

impl Quorums {
    pub fn check(&mut self, context: &Context<'_>, commit: &[Changed]) {
        for change in commit {
            match (change.before.as_deref(), change.after.as_deref()) {
                (before, Some(Item::Task(after))) if after.is_accepted() => {
                    let is_new = !matches!(before, Some(Item::Task(before)) if before.is_accepted());
                    if is_new {
                        self.note_member(context, after);
                    }
                }
                // A power loss may take a decision back, and the next one may be another.
                (before, Some(Item::Group(group)))
                    if group.decided.is_some()
                        && !matches!(before, Some(Item::Group(before)) if before.decided.is_some()) =>
                {
                    if let Some(ways) = ways_to_agree(context, &group.scope, &group.stage) {
                        self.agreed.insert((group.scope.clone(), group.stage.clone()), ways);
                    }
                }
                (Some(Item::Group(group)), None) => {
                    self.agreed.remove(&(group.scope.clone(), group.stage.clone()));
                }
                (None, Some(Item::Halt(cause))) => {
                    let state = context.mirror.chain(&cause.chain);
                    context.must(state.is_some_and(|state| state.halted.is_some()), || {
                        format!("{} goes on with {cause:?}", cause.chain)
                    });
                    if let Some(scope) = cause.halt.scope.clone() {
                        self.halted.insert(scope, context.simulation.steps());
                    }
                }
                _ => {}
            }
        }
        for change in commit {
            if let (None, Some(Item::Out(entry))) = (change.before.as_deref(), change.after.as_deref()) {
                self.check_entry(context, entry);
            }
        }
    }

    fn note_member(&mut self, context: &Context<'_>, task: &Task) {
        let Some(scope) = context.mirror.scope(&task.id().scope) else { return };
        let Some(pipeline) = context.pipeline_of(scope) else { return };
        let Some((index, _)) = pipeline.stage(&task.id().stage) else { return };
        for (_, reader) in pipeline.readers(index).filter(|(_, reader)| quorum(reader).is_some()) {
            let now = votes(context, scope, pipeline, reader);
            let without: Vec<_> =
                now.iter().filter(|(member, _)| *member != task.id().stage).cloned().collect();
            if dissent(&now) > dissent(&without) {
                context.simulation.count(match scope.progress() {
                    Progress::Missed => "check: dissent in a missed block",
                    _ if scope.is_settled() => "check: dissent in a settled block",
                    _ => "check: dissent",
                });
                let place = (scope.id().clone(), reader.name.clone());
                self.dissent.insert(place, context.simulation.steps());
            }
        }
    }

    fn check_entry(&self, context: &Context<'_>, entry: &OutEntry) {
        let OutKind::Proof { scope: id, proofs, .. } = &entry.kind else { return };
        let Some(scope) = context.mirror.scope(id) else { return };
        let Some(pipeline) = context.pipeline_of(scope) else { return };
        let stage = match scope.cut().and_then(|cut| pipeline.stage(&cut.stage)) {
            Some((cut, _)) if pipeline.commit_cut() != Some(cut) => pipeline.final_stage_of_cut(cut),
            _ => pipeline.commit,
        };
        let stage = &pipeline.stages[stage];
        let own = vec![vec![stage.name.clone()]];
        let ways = match stage.provers.is_empty() {
            true => self.agreed.get(&(id.clone(), stage.name.clone())),
            false => Some(&own),
        };
        let held: Vec<String> = proofs.iter().map(|proof| proof.stage.clone()).collect();
        context.must(ways.is_some_and(|ways| ways.contains(&held)), || {
            format!("{id}: {held:?} are handed on, and {ways:?} agreed")
        });
        if held.len() > 1 {
            context.simulation.count("check: proofs of several members handed on");
        }
        for proof in proofs {
            let task = context.mirror.task(&TaskId::new(id, &proof.stage, proof.index));
            let accepted = task.and_then(|task| task.accepted());
            let is_it = accepted.is_some_and(|accepted| {
                accepted.artifact == proof.artifact && accepted.public_values == proof.public_values
            });
            context.must(is_it, || format!("{id}: {proof:?} is handed on, and {accepted:?} was accepted"));
            context.must(proof.public_values == proofs[0].public_values, || {
                format!("{id}: the proofs that are handed on do not agree: {proofs:?}")
            });
        }
    }

    /// Once everything has settled: a disagreement that halted nothing.
    pub fn unreported_dissent(&self, context: &Context<'_>) -> Option<String> {
        self.dissent.iter().find_map(|((id, stage), step)| {
            let scope = context.mirror.scope(id)?;
            let is_seen = self.halted.get(id).is_some_and(|halted| halted >= step);
            // A power loss may have taken the dissenting proof back.
            let pipeline = context.pipeline_of(scope)?;
            let still = dissent(&votes(context, scope, pipeline, pipeline.stage(stage)?.1)) > 0;
            (scope.is_canonical() && still && !is_seen)
                .then(|| format!("{id}: the members of {stage} disagree, and nothing halted"))
        })
    }
}

/// Each member that has a proof, with its public values, in the stage's order.
fn votes(context: &Context<'_>, scope: &Scope, pipeline: &Pipeline, stage: &Stage) -> Vec<(String, String)> {
    let members = stage.from.iter().filter_map(|source| match source {
        Source::Block => None,
        Source::Stage(source) => Some(pipeline.stages[*source].name.clone()),
    });
    let vote = |member: String| {
        let task = context.mirror.task(&TaskId::new(scope.id(), &member, 0))?;
        let values = task.accepted()?.public_values.clone()?;
        Some((member, values))
    };
    members.filter_map(vote).collect()
}

/// Proofs that are not of the largest group.
fn dissent(votes: &[(String, String)]) -> usize {
    let said = |value: &String| votes.iter().filter(|(_, other)| other == value).count();
    votes.len() - votes.iter().map(|(_, value)| said(value)).max().unwrap_or(0)
}

/// Every largest group of members that agree, where there are as many as the quorum needs.
fn ways_to_agree(context: &Context<'_>, scope: &ScopeId, stage: &str) -> Option<Vec<Vec<String>>> {
    let scope = context.mirror.scope(scope)?;
    let pipeline = context.pipeline_of(scope)?;
    let stage = pipeline.stage(stage)?.1;
    let need = quorum(stage)?.need as usize;
    let votes = votes(context, scope, pipeline, stage);
    let mut groups: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (member, value) in &votes {
        groups.entry(value).or_default().push(member.clone());
    }
    let most = groups.values().map(Vec::len).max().unwrap_or(0);
    context.must(most >= need, || {
        format!("{}/{} agreed on {votes:?}, and needs {need}", scope.id(), stage.name)
    });
    Some(groups.into_values().filter(|group| group.len() == most).collect())
}
