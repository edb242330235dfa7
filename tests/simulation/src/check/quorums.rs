//! Quorums: an entry of the out log holds exactly the members that agreed when the quorum decided, and every proof
//! that is not of the largest group that agrees halts its chain.

use std::collections::BTreeMap;

use proofyard_core::pipeline::{Pipeline, Source, Stage};
use proofyard_core::state::{OutEntry, OutKind, Progress, Scope, Task, TaskId};

use super::Sight;
use super::mirror::{Item, Seen};
use super::proofs::quorum;

type Place = (String, String);

#[derive(Default)]
pub struct Quorums {
    /// Which members may have agreed, where a quorum decided: more than one way only where they tie.
    agreed: BTreeMap<Place, Vec<Vec<String>>>,
    /// The last time that one more proof was not of the largest group, in steps.
    dissent: BTreeMap<Place, u64>,
    /// The last halt that named a scope, in steps.
    halted: BTreeMap<String, u64>,
}

impl Quorums {
    pub fn check(&mut self, sight: &Sight<'_>, commit: &[Seen]) {
        for seen in commit {
            match (seen.before.as_deref(), seen.after.as_deref()) {
                (before, Some(Item::Task(after))) if after.is_accepted() => {
                    let is_new = !matches!(before, Some(Item::Task(before)) if before.is_accepted());
                    if is_new {
                        self.member_comes(sight, after);
                    }
                }
                // What was decided before a power loss may be decided otherwise after it.
                (before, Some(Item::Group(group)))
                    if group.decided.is_some()
                        && !matches!(before, Some(Item::Group(before)) if before.decided.is_some()) =>
                {
                    if let Some(ways) = ways_to_agree(sight, &group.scope, &group.stage) {
                        self.agreed.insert((group.scope.clone(), group.stage.clone()), ways);
                    }
                }
                (Some(Item::Group(group)), None) => {
                    self.agreed.remove(&(group.scope.clone(), group.stage.clone()));
                }
                (None, Some(Item::Halt(cause))) => {
                    let state = sight.mirror.chain(&cause.chain);
                    sight.must(state.is_some_and(|state| state.halted.is_some()), || {
                        format!("{} goes on with {cause:?}", cause.chain)
                    });
                    if let Some(scope) = cause.halt.scope.clone() {
                        self.halted.insert(scope, sight.simulation.steps());
                    }
                }
                _ => {}
            }
        }
        for seen in commit {
            if let (None, Some(Item::Out(entry))) = (seen.before.as_deref(), seen.after.as_deref()) {
                self.holds_who_agreed(sight, entry);
            }
        }
    }

    fn member_comes(&mut self, sight: &Sight<'_>, task: &Task) {
        let Some(scope) = sight.mirror.scope(&task.id.scope) else { return };
        let Some(pipeline) = sight.pipeline_of(scope) else { return };
        let Some((index, _)) = pipeline.stage(&task.id.stage) else { return };
        for (_, reader) in pipeline.readers(index).filter(|(_, reader)| quorum(reader).is_some()) {
            let now = votes(sight, scope, pipeline, reader);
            let without: Vec<_> =
                now.iter().filter(|(member, _)| *member != task.id.stage).cloned().collect();
            if dissent(&now) > dissent(&without) {
                sight.simulation.count(match scope.progress() {
                    Progress::Missed => "check: dissent in a missed block",
                    _ if scope.is_settled() => "check: dissent in a settled block",
                    _ => "check: dissent",
                });
                let place = (scope.id.clone(), reader.name.clone());
                self.dissent.insert(place, sight.simulation.steps());
            }
        }
    }

    fn holds_who_agreed(&self, sight: &Sight<'_>, entry: &OutEntry) {
        let OutKind::Proof { scope: id, proofs, .. } = &entry.kind else { return };
        let Some(scope) = sight.mirror.scope(id) else { return };
        let Some(pipeline) = sight.pipeline_of(scope) else { return };
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
        sight.must(ways.is_some_and(|ways| ways.contains(&held)), || {
            format!("{id}: {held:?} are handed on, and {ways:?} agreed")
        });
        if held.len() > 1 {
            sight.simulation.count("check: proofs of several members handed on");
        }
        for proof in proofs {
            let task = sight.mirror.task(&TaskId::new(id, &proof.stage, proof.index));
            let accepted = task.and_then(|task| task.accepted());
            let is_it = accepted.is_some_and(|accepted| {
                accepted.artifact == proof.artifact && accepted.public_values == proof.public_values
            });
            sight.must(is_it, || format!("{id}: {proof:?} is handed on, and {accepted:?} was accepted"));
            sight.must(proof.public_values == proofs[0].public_values, || {
                format!("{id}: the proofs that are handed on do not agree: {proofs:?}")
            });
        }
    }

    /// Once all has settled: who disagreed and halted nothing.
    pub fn unseen_dissent(&self, sight: &Sight<'_>) -> Option<String> {
        self.dissent.iter().find_map(|((id, stage), step)| {
            let scope = sight.mirror.scope(id)?;
            let is_seen = self.halted.get(id).is_some_and(|halted| halted >= step);
            // With the power may go a proof that had come.
            let pipeline = sight.pipeline_of(scope)?;
            let still = dissent(&votes(sight, scope, pipeline, pipeline.stage(stage)?.1)) > 0;
            (scope.is_canonical() && still && !is_seen)
                .then(|| format!("{id}: the members of {stage} disagree, and nothing halted"))
        })
    }
}

/// Each member that has a proof, with its public values, in the stage's order.
fn votes(sight: &Sight<'_>, scope: &Scope, pipeline: &Pipeline, stage: &Stage) -> Vec<(String, String)> {
    let members = stage.from.iter().filter_map(|source| match source {
        Source::Block => None,
        Source::Stage(source) => Some(pipeline.stages[*source].name.clone()),
    });
    let vote = |member: String| {
        let task = sight.mirror.task(&TaskId::new(&scope.id, &member, 0))?;
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
fn ways_to_agree(sight: &Sight<'_>, scope: &str, stage: &str) -> Option<Vec<Vec<String>>> {
    let scope = sight.mirror.scope(scope)?;
    let pipeline = sight.pipeline_of(scope)?;
    let stage = pipeline.stage(stage)?.1;
    let need = quorum(stage)?.need as usize;
    let votes = votes(sight, scope, pipeline, stage);
    let mut groups: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (member, value) in &votes {
        groups.entry(value).or_default().push(member.clone());
    }
    let most = groups.values().map(Vec::len).max().unwrap_or(0);
    sight.must(most >= need, || format!("{}/{} agreed on {votes:?}, and needs {need}", scope.id, stage.name));
    Some(groups.into_values().filter(|group| group.len() == most).collect())
}
