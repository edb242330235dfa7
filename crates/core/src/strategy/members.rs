//! `sequential` without an arity: one task for a cut, once the output of each of its blocks is there.

use std::collections::BTreeSet;

use super::Plan;
use super::waits_for::{Depth, Gathered, WaitsFor};
use crate::error::Error;
use crate::pipeline::{Pipeline, Stage};
use crate::port::{Key, Port};
use crate::state::{Cut, Group, Inputs, Scope};
use crate::transaction::{KEYS_A_READ, read_many};
use crate::yard::Yard;

impl<P: Port> Yard<P> {
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
        let mut heights = Vec::new();
        for page in members.chunks(KEYS_A_READ) {
            let there = self.members_there(&scope.chain, cut, source, page).await?;
            let missing = page.iter().filter(|member| !there.contains(member));
            heights.extend(missing.map(|member| cut.from + u64::from(*member)));
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
        chain: &str,
        cut: &Cut,
        stage: &str,
        members: &[u32],
    ) -> Result<BTreeSet<u32>, Error> {
        let named = members.iter().filter_map(|member| Some((*member, cut.member_id(chain, *member)?)));
        let keys: Vec<(u32, Key)> = named.map(|(member, id)| (member, Group::key_of(&id, stage))).collect();
        let mut there = BTreeSet::new();
        for page in keys.chunks(KEYS_A_READ) {
            let of_page: Vec<Key> = page.iter().map(|(_, key)| key.clone()).collect();
            let groups = read_many::<P, Group>(&self.port, &of_page).await?;
            let decided = |group: Option<Group>| group.is_some_and(|group| group.is_decided());
            there.extend(
                page.iter().zip(groups).filter_map(|((member, _), group)| decided(group).then_some(*member)),
            );
        }
        Ok(there)
    }
}
