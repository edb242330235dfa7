//! Groups: when a stage's inputs are all there, and creating its tasks page by page.

use super::scope::Step;
use crate::error::Error;
use crate::listing::put_listing;
use crate::pipeline::{Pipeline, Source, Stage, Strategy};
use crate::port::{Key, Port};
use crate::state::{Blocked, BlockedBy, Cut, Group, Inputs, Marker, Scope, Subject, Task, TaskId};
use crate::strategy::reduce::Tree;
use crate::strategy::{matching, rank, split};
use crate::transaction::{KEYS_A_READ, Tx, read, read_many, transact};
use crate::yard::Yard;

/// Tasks created in one transaction: three items each, with the scope and the group below the port's 80.
pub const TASKS_A_PAGE: usize = 24;

impl<P: Port> Yard<P> {
    /// The group that a stage may open now, if all that it gathers is there.
    pub(crate) async fn gather(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
    ) -> Result<Option<split::Plan>, Error> {
        let stage = &pipeline.stages[index];
        if stage.after_commit && !self.is_committed(scope, pipeline).await? {
            return Ok(None);
        }
        if let (Strategy::Sequential(rule), Subject::Cut(cut)) = (&stage.strategy, &scope.subject) {
            return match rule.arity {
                Some(arity) => Ok(Some(reduction(cut, pipeline, stage, arity))),
                None => self.gather_members(scope, cut, pipeline, stage).await,
            };
        }
        let mut of = Vec::new();
        for source in stage.sources() {
            let name = &pipeline.stages[source].name;
            let group: Option<Group> = read(&self.port, &Group::key_of(&scope.id, name)).await?;
            let Some(group) = group.filter(|group| group.decided.is_some()) else { return Ok(None) };
            // A quorum that only decides hands on the proofs that agreed.
            let outputs = group.outputs();
            match (group.expected, group.inputs) {
                (0, Inputs::Outputs { of: agreed, .. }) => of.extend(agreed),
                _ => of.push((name.clone(), outputs)),
            }
        }
        match &stage.strategy {
            // It was taken under a pipeline that did not split blocks.
            Strategy::Split if of.is_empty() && scope.block().is_some_and(|block| block.segments == 0) => {
                self.block(scope, stage, BlockedBy::NoSegments).await
            }
            Strategy::Split => self.split_plan(scope, &of).await,
            Strategy::Match { on, .. } => {
                if let Some(differ) = self.disagreement_on(scope, on, &of).await? {
                    return self.block(scope, stage, differ).await;
                }
                let block = stage.from.contains(&Source::Block);
                Ok(Some(split::Plan { inputs: Inputs::Outputs { block, of }, expected: 1 }))
            }
            Strategy::Sequential(_) => Ok(None),
        }
    }

    async fn split_plan(&self, scope: &Scope, of: &[(String, u32)]) -> Result<Option<split::Plan>, Error> {
        match of.first() {
            None => Ok(scope.block().map(split::of_block)),
            Some((stage, _)) => {
                let id = TaskId::new(&scope.id, stage, 0);
                let task: Option<Task> = read(&self.port, &id.task_key()).await?;
                Ok(task.and_then(Task::into_accepted).as_ref().and_then(split::of_list))
            }
        }
    }

    async fn gather_members(
        &self,
        scope: &Scope,
        cut: &Cut,
        pipeline: &Pipeline,
        stage: &Stage,
    ) -> Result<Option<split::Plan>, Error> {
        let source = stage.sources().next().map(|source| pipeline.stages[source].name.clone());
        if let Some(source) = &source {
            let members =
                (0..cut.members.len() as u32).filter_map(|member| cut.member_id(&scope.chain, member));
            let keys: Vec<Key> = members.map(|id| Group::key_of(&id, source)).collect();
            for page in keys.chunks(KEYS_A_READ) {
                let groups = read_many::<P, Group>(&self.port, page).await?;
                if groups.into_iter().any(|group| group.is_none_or(|group| group.decided.is_none())) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(split::Plan { inputs: Inputs::Members { stage: source }, expected: 1 }))
    }

    pub(crate) async fn is_committed(&self, scope: &Scope, pipeline: &Pipeline) -> Result<bool, Error> {
        let (_, to) = scope.heights();
        let closed_after_commit = match &scope.subject {
            Subject::Block(_) => false,
            Subject::Cut(cut) => {
                pipeline.stage(&cut.stage).is_some_and(|(index, _)| pipeline.commit_cut() != Some(index))
            }
        };
        Ok(closed_after_commit || self.frontier(&scope.chain).await?.height > to)
    }

    async fn disagreement_on(
        &self,
        scope: &Scope,
        on: &[String],
        of: &[(String, u32)],
    ) -> Result<Option<BlockedBy>, Error> {
        if on.is_empty() {
            return Ok(None);
        }
        let keys_of = |(stage, count): &(String, u32)| {
            (0..*count).map(|index| TaskId::new(&scope.id, stage, index).task_key()).collect::<Vec<_>>()
        };
        let keys: Vec<Key> = of.iter().flat_map(keys_of).collect();
        let mut outputs = Vec::new();
        for page in keys.chunks(KEYS_A_READ) {
            let tasks = read_many::<P, Task>(&self.port, page).await?.into_iter().flatten();
            outputs.extend(tasks.filter_map(Task::into_accepted).map(|accepted| accepted.fields));
        }
        let differs = matching::mismatch(on, &outputs);
        Ok(differs.map(|(field, one, other)| BlockedBy::InputsDiffer {
            field: field.to_owned(),
            one: one.to_owned(),
            other: other.to_owned(),
        }))
    }

    /// Says once why a stage whose inputs are there cannot start.
    async fn block(
        &self,
        scope: &Scope,
        stage: &Stage,
        why: BlockedBy,
    ) -> Result<Option<split::Plan>, Error> {
        let blocked = Blocked { stage: stage.name.clone(), why };
        // By its words, since those are what is stored.
        if scope.blocked().is_some_and(|before| before.to_string() == blocked.to_string()) {
            return Ok(None);
        }
        transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(&scope.id)).await?;
            match now {
                Some(mut now) => {
                    now.block_stage(blocked.clone());
                    tx.put(&now)
                }
                None => Ok(()),
            }
        })
        .await?;
        Ok(None)
    }

    /// Creates the next page of a group's tasks, with the group itself on the first.
    pub(crate) async fn create_page(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
        plan: &split::Plan,
    ) -> Result<Step, Error> {
        let stage = &pipeline.stages[index];
        let tree = plan.inputs.tree();
        let (step, group) = transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(&scope.id)).await?;
            let Some(now) = now.filter(Scope::is_live) else { return Ok((Step::WAITS, None)) };
            let group: Option<Group> = tx.check(&Group::key_of(&scope.id, &stage.name)).await?;
            let mut group = group.unwrap_or_else(|| new_group(&now, stage, plan, self.port.now_ms()));
            if group.expected != plan.expected {
                return Ok((Step::MOVED, None));
            }
            let to = group.expected.min(group.created + self.page_of(TASKS_A_PAGE) as u32);
            for number in group.created..to {
                self.create_task(tx, &now, pipeline, stage, number, tree.as_ref())?;
            }
            group.created = to;
            tx.put(&group)?;
            Ok((Step::MOVED, Some(group)))
        })
        .await?;
        if let Some(group) = group.filter(Group::is_created) {
            self.list_fed(&group).await?;
        }
        Ok(step)
    }

    fn create_task(
        &self,
        tx: &mut Tx<'_, P>,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        number: u32,
        tree: Option<&Tree>,
    ) -> Result<(), Error> {
        let rank = self.ranked(rank::rank(pipeline, stage, scope));
        let id = TaskId::new(&scope.id, &stage.name, number);
        let mut task = Task::new(id, scope.pipeline.clone(), scope.heights().0, stage.pool.clone(), rank);
        match tree {
            Some(tree) => task.feeds = tree.parent(number),
            None => put_listing(tx, task.list(self.port.now_ms()))?,
        }
        tx.put(&task)?;
        tx.put(&Marker::of(&task))
    }
}

/// A tree over the members; its tasks wait for their own children, and the group for none.
fn reduction(cut: &Cut, pipeline: &Pipeline, stage: &Stage, arity: u32) -> split::Plan {
    let source = stage.sources().next().map(|source| pipeline.stages[source].name.clone());
    let members = cut.members.len() as u32;
    let inputs = Inputs::Reduced { stage: source, members, arity };
    split::Plan { expected: Tree::new(members, arity).len(), inputs }
}

pub(crate) fn new_group(scope: &Scope, stage: &Stage, plan: &split::Plan, now_ms: u64) -> Group {
    Group {
        scope: scope.id.clone(),
        stage: stage.name.clone(),
        expected: plan.expected,
        created: 0,
        inputs: plan.inputs.clone(),
        decided: None,
        cancelled: false,
        opened_ms: now_ms,
    }
}
