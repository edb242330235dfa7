//! Groups: creating a stage's tasks page by page, once it is ready. Only this creates groups, tasks and their markers, and says
//! why a stage cannot start.

use super::Step;
use crate::error::Error;
use crate::listing::put_listing;
use crate::pipeline::{Pipeline, Stage};
use crate::scope_stages::stages_of;
use crate::state::{Blocked, BlockedBy, Group, Marker, Plan, Scope, Task, TaskId};
use crate::strategy::rank;
use crate::strategy::readiness::gathered_with_block;
use crate::strategy::reduce::Tree;
use crate::transaction::{Tx, transact};
use crate::yard::Yard;

/// Tasks created in one transaction: three items each, with the scope and the group below the port's 80.
pub const TASKS_A_PAGE: usize = 24;
/// Tasks created in the transaction that opens their block: four items each at most, with its group, and below ten that opening
/// itself reads and writes.
const TASKS_AT_OPENING: usize = 16;

impl Yard {
    /// Says once why a stage whose inputs are there cannot start.
    pub(crate) async fn record_blocked(
        &self,
        scope: &Scope,
        stage: &Stage,
        why: BlockedBy,
    ) -> Result<(), Error> {
        let blocked = Blocked { stage: stage.name.clone(), why };
        // By its words, since those are what is stored.
        if scope.blocked(&stage.name).is_some_and(|before| before.to_string() == blocked.to_string()) {
            return Ok(());
        }
        transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
            match now {
                Some(mut now) => {
                    now.block_stage(blocked.clone());
                    tx.put(&now)
                }
                None => Ok(()),
            }
        })
        .await
    }

    /// Creates the next page of a group's tasks, with the group itself on the first.
    pub(crate) async fn create_page(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        plan: &Plan,
    ) -> Result<Step, Error> {
        let tree = plan.inputs.tree();
        let (step, group) = transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
            let Some(now) = now.filter(Scope::is_live) else { return Ok((Step::WAITS, None)) };
            let group: Option<Group> = tx.check(&Group::key_of(scope.id(), &stage.name)).await?;
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

    /// In the transaction that opens a block for the first time: creates the groups of the stages that read the block alone,
    /// as far as there is room. Says whether that is all that the block has to do now.
    pub(crate) async fn begin_with_block(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        pipeline: &Pipeline,
    ) -> Result<bool, Error> {
        let stages = stages_of(pipeline, scope).into_iter().map(|index| &pipeline.stages[index]);
        let stages: Vec<&Stage> = stages.filter(|stage| stage.reads_block_alone()).collect();
        tx.fetch(stages.iter().map(|stage| Group::key_of(scope.id(), &stage.name))).await?;
        let mut room = self.page_of(TASKS_AT_OPENING) as u32;
        let mut is_all = true;
        for stage in stages {
            // Not checked, since 64 stages would not fit beside the tasks; what is put here must not be there.
            let known: Option<Group> = tx.peek(&Group::key_of(scope.id(), &stage.name)).await?;
            let plan = gathered_with_block(scope, stage).filter(|plan| plan.expected <= room);
            let (None, Some(plan)) = (known, plan) else {
                is_all = false;
                continue;
            };
            room -= plan.expected;
            for number in 0..plan.expected {
                self.create_task(tx, scope, pipeline, stage, number, None)?;
            }
            let group = new_group(scope, stage, &plan, self.port.now_ms());
            tx.put(&Group { created: plan.expected, ..group })?;
        }
        Ok(is_all)
    }

    fn create_task(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        number: u32,
        tree: Option<&Tree>,
    ) -> Result<(), Error> {
        let rank = self.ranked(rank::rank(pipeline, stage, scope));
        let id = TaskId::new(scope.id(), &stage.name, number);
        let mut task = Task::new(id, scope.pipeline().clone(), scope.heights().0, stage.pool.clone(), rank);
        match tree {
            Some(tree) => task = task.feeding(tree.parent(number)),
            None => put_listing(tx, task.list(self.port.now_ms()))?,
        }
        tx.put(&task)?;
        tx.put(&Marker::of(&task))
    }
}

pub(crate) fn new_group(scope: &Scope, stage: &Stage, plan: &Plan, now_ms: u64) -> Group {
    Group {
        scope: scope.id().clone(),
        stage: stage.name.clone(),
        expected: plan.expected,
        created: 0,
        inputs: plan.inputs.clone(),
        decided: None,
        cancelled: false,
        opened_ms: now_ms,
    }
}
