//! `sequential` without an arity: one task for a cut, once the output of each of its blocks is there.

use std::collections::BTreeSet;

use super::waits_for::{Depth, Gathered, WaitsFor};
use crate::error::Error;
use crate::pages::KeyPages;
use crate::pipeline::{Pipeline, Stage};
use crate::port::Key;
use crate::state::{ChainName, Cut, Group, Inputs, Plan, Scope};
use crate::yard::Yard;

impl Yard {
    pub(super) async fn gathered_members(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        depth: Depth,
    ) -> Result<Gathered, Error> {
        let missing = self.members_missing(scope, pipeline, stage, depth).await?;
        let source = stage.sources().next().map(|source| pipeline.stages[source].name.clone());
        let plan = Plan { inputs: Inputs::Members { stage: source }, expected: 1 };
        Ok(missing.map_or(Ok(plan), Err))
    }

    /// The members of a cut whose outputs are not there yet, if any.
    pub(crate) async fn members_missing(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        depth: Depth,
    ) -> Result<Option<WaitsFor>, Error> {
        let source = stage.sources().next().map(|source| &pipeline.stages[source].name);
        let Some((cut, source)) = scope.cut().zip(source) else { return Ok(None) };
        let members: Vec<u32> = (0..cut.members.len() as u32).collect();
        let groups = groups_of(scope.chain(), cut, source, &members);
        let mut pages = KeyPages::of(&groups, |(_, key)| key.clone());
        let mut heights = Vec::new();
        while let Some(page) = pages.next::<Group>(&self.port).await? {
            let missing = page.into_iter().filter(|(_, group)| !is_decided(group.as_ref()));
            heights.extend(missing.map(|((member, _), _)| cut.from + u64::from(*member)));
            if depth == Depth::Open && !heights.is_empty() {
                break;
            }
        }
        let waits = !heights.is_empty();
        Ok(waits.then(|| WaitsFor::Members { stage: source.clone(), heights }))
    }

    /// Which of these members of a cut have their output of a stage.
    pub(crate) async fn members_there(
        &self,
        chain: &ChainName,
        cut: &Cut,
        stage: &str,
        members: &[u32],
    ) -> Result<BTreeSet<u32>, Error> {
        let groups = groups_of(chain, cut, stage, members);
        let mut pages = KeyPages::of(&groups, |(_, key)| key.clone());
        let mut there = BTreeSet::new();
        while let Some(page) = pages.next::<Group>(&self.port).await? {
            let decided = page.into_iter().filter(|(_, group)| is_decided(group.as_ref()));
            there.extend(decided.map(|((member, _), _)| *member));
        }
        Ok(there)
    }
}

/// The groups of one stage that these members of a cut have.
fn groups_of(chain: &ChainName, cut: &Cut, stage: &str, members: &[u32]) -> Vec<(u32, Key)> {
    let named = members.iter().filter_map(|member| Some((*member, cut.member_id(chain, *member)?)));
    named.map(|(member, id)| (member, Group::key_of(&id, stage))).collect()
}

fn is_decided(group: Option<&Group>) -> bool {
    group.is_some_and(Group::is_decided)
}
