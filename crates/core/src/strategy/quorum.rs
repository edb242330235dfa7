//! `match` with `need`: k of m provers agree on the public values.

use super::votes::Votes;
use super::waits_for::{Gathered, WaitsFor};
use crate::error::Error;
use crate::pipeline::{Pipeline, Quorum, Stage};
use crate::port::Key;
use crate::state::{Inputs, Plan, Scope, Task, TaskId};
use crate::transaction::read_many;
use crate::yard::Yard;

/// The tasks of a quorum's members, one each.
pub(crate) fn member_tasks(scope: &Scope, pipeline: &Pipeline, stage: &Stage) -> Vec<TaskId> {
    stage.sources().map(|source| TaskId::new(scope.id(), &pipeline.stages[source].name, 0)).collect()
}

/// What a quorum's own group works on once these members agree; it has no task where the stage just decides.
pub(crate) fn plan_of(stage: &Stage, agreed: &[&str]) -> Plan {
    let of = agreed.iter().map(|member| ((*member).to_owned(), 1)).collect();
    Plan { inputs: Inputs::Outputs { block: false, of }, expected: u32::from(!stage.provers.is_empty()) }
}

impl Yard {
    pub(super) async fn gathered_votes(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
        quorum: &Quorum,
    ) -> Result<Gathered, Error> {
        let ids = member_tasks(scope, pipeline, stage);
        let keys: Vec<Key> = ids.iter().map(TaskId::task_key).collect();
        let votes = Votes::of(quorum, &ids, &read_many::<Task>(&self.port, &keys).await?);
        let tally = votes.tally();
        Ok(match tally.agreed {
            Some(agreed) => Ok(plan_of(stage, &agreed)),
            None if tally.dissent > scope.reported_dissent(&stage.name) => {
                Err(WaitsFor::DisagreementRecorded)
            }
            None => Err(WaitsFor::Votes(votes)),
        })
    }
}
