//! `split`: a task for each segment that the block names, or for each element of the list that one task wrote.

use super::waits_for::{Depth, Gathered, WaitsFor};
use crate::error::Error;
use crate::pipeline::{Pipeline, Stage};
use crate::state::{Block, BlockedBy, Inputs, Plan, Scope, Task, TaskId, TaskResult};
use crate::transaction::read;
use crate::yard::Yard;

/// `None` for a block that was taken under a pipeline that did not split blocks.
pub fn of_block(block: &Block) -> Option<Plan> {
    let inputs = Inputs::Elements { artifact: block.payload.clone(), of_block: true, list_hash: None };
    (block.segments > 0).then_some(Plan { inputs, expected: block.segments })
}

/// The first accepted list fixes the count.
pub fn of_list(partition: &TaskResult) -> Option<Plan> {
    let list = partition.list.as_ref()?;
    let (artifact, list_hash) = (partition.artifact.clone(), Some(list.sha256.clone()));
    Some(Plan { inputs: Inputs::Elements { artifact, of_block: false, list_hash }, expected: list.count })
}

impl Yard {
    pub(super) async fn gathered_to_split(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        depth: Depth,
    ) -> Result<Gathered, Error> {
        let of = match self.gathered_outputs(scope, pipeline, stage, depth).await? {
            Ok(of) => of,
            Err(waits_for) => return Ok(Err(waits_for)),
        };
        Ok(match (of.first(), scope.block()) {
            (None, Some(block)) => of_block(block).ok_or(WaitsFor::Blocked(BlockedBy::NoSegments)),
            (None, None) => Err(WaitsFor::Stages(Vec::new())),
            (Some((source, _)), _) => {
                let id = TaskId::new(scope.id(), source, 0);
                let task: Option<Task> = read(&self.port, &id.task_key()).await?;
                let plan = task.and_then(Task::into_accepted).as_ref().and_then(of_list);
                plan.ok_or_else(|| WaitsFor::Stages(vec![source.clone()]))
            }
        })
    }
}
