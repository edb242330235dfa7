//! A quorum: decides at `need`, and watches its other members until all have settled.

use super::groups::new_group;
use super::stages_of;
use crate::error::Error;
use crate::explain::told;
use crate::listing::delete_listing;
use crate::pipeline::{Pipeline, Quorum};
use crate::planted_bug::PlantedBug;
use crate::port::Port;
use crate::record::{accepted, put_halt};
use crate::state::{ChainState, Decision, Group, Halt, Inputs, Scope, Task, TaskId};
use crate::strategy::quorum::tally;
use crate::strategy::split::Plan;
use crate::transaction::{Tx, read, transact};
use crate::yard::{ChainReads, Yard};

impl<P: Port> Yard<P> {
    /// Records a disagreement or a decision, if there is a new one; says whether it did.
    pub(crate) async fn advance_quorum(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
        quorum: &Quorum,
    ) -> Result<bool, Error> {
        let stage = &pipeline.stages[index];
        let members: Vec<String> =
            stage.sources().map(|source| pipeline.stages[source].name.clone()).collect();
        let group: Option<Group> = read(&self.port, &Group::key_of(&scope.id, &stage.name)).await?;
        let mut values = Vec::new();
        for member in &members {
            let id = TaskId::new(&scope.id, member, 0);
            let task: Option<Task> = read(&self.port, &id.task_key()).await?;
            if let Err(fault) = accepted(pipeline, scope, &id, task.as_ref()) {
                self.halt_over(scope, &fault).await?;
                return Ok(false);
            }
            values.push((member.as_str(), public_values(task.as_ref())));
        }
        let seen = tally(quorum.need, &values);
        let reported =
            seen.dissent <= scope.reported_dissent(&stage.name) || self.planted(PlantedBug::DissentIgnored);
        if (seen.agreed.is_none() || group.is_some() || !scope.is_live()) && reported {
            return Ok(false);
        }
        transact(&self.port, async |tx| self.put_quorum(tx, scope, pipeline, index, quorum, &members).await)
            .await
    }

    async fn put_quorum(
        &self,
        tx: &mut Tx<'_, P>,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
        quorum: &Quorum,
        members: &[String],
    ) -> Result<bool, Error> {
        let stage = &pipeline.stages[index];
        let now: Option<Scope> = tx.check(&Scope::key_of(&scope.id)).await?;
        let is_heard =
            |now: &Scope| now.is_live() || (now.is_watched() && !self.planted(PlantedBug::MissedUnwatched));
        let Some(mut now) = now.filter(is_heard) else { return Ok(false) };
        let mut tasks = Vec::new();
        for member in members {
            tasks.push(tx.check::<Task>(&TaskId::new(&scope.id, member, 0).task_key()).await?);
        }
        let values: Vec<_> = members
            .iter()
            .map(String::as_str)
            .zip(tasks.iter().map(|task| public_values(task.as_ref())))
            .collect();
        let tally = tally(quorum.need, &values);
        let mut moved = false;
        let reported = now.reported_dissent(&stage.name);
        if tally.dissent > reported && !self.planted(PlantedBug::DissentIgnored) {
            now.dissent(&stage.name, tally.dissent - reported);
            self.halt_on_disagreement(tx, &now, &stage.name, &values).await?;
            tx.put(&now)?;
            moved = true;
        }
        let group: Option<Group> = tx.check(&Group::key_of(&scope.id, &stage.name)).await?;
        if let (Some(agreed), None) = (tally.agreed, group)
            && now.is_live()
        {
            let of = agreed.iter().map(|member| ((*member).to_owned(), 1)).collect();
            let expected = u32::from(!stage.provers.is_empty());
            let plan = Plan { inputs: Inputs::Outputs { block: false, of }, expected };
            let mut group = new_group(&now, stage, &plan, self.port.now_ms());
            if quorum.cancel_rest {
                self.cancel_rest(tx, &scope.id, members, tasks).await?;
            }
            if expected == 0 {
                group.decided = Some(Decision { at_ms: self.port.now_ms() });
                self.mark_decided(tx, now, pipeline, index).await?;
            }
            tx.put(&group)?;
            moved = true;
        }
        Ok(moved)
    }

    /// Early or late, a disagreement stops commits and hand-ons until an operator resumes; nothing rolls back.
    async fn halt_on_disagreement(
        &self,
        tx: &mut Tx<'_, P>,
        scope: &Scope,
        stage: &str,
        values: &[(&str, Option<String>)],
    ) -> Result<(), Error> {
        let state: ChainState = tx.check_chain(&scope.chain).await?;
        let said: Vec<String> = values
            .iter()
            .filter_map(|(member, value)| Some(format!("{member} says {}", told(value.as_deref()?))))
            .collect();
        let (height, _) = scope.heights();
        let reason = format!("the provers of stage {stage} disagree at height {height}: {}", said.join(", "));
        let halt = Halt { reason, scope: Some(scope.id.clone()), at_ms: self.port.now_ms() };
        put_halt(tx, state, halt)
    }

    /// Settles a block that was given up once none of its quorums' members may bring a proof any more that somebody waits
    /// for. One that comes all the same is looked at for its own sake.
    pub(crate) async fn settle_missed(&self, scope: &Scope, pipeline: &Pipeline) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(&scope.id)).await?;
            let Some(mut now) = now.filter(|now| now == scope) else { return Ok(()) };
            for stage in stages_of(pipeline, scope).into_iter().map(|index| &pipeline.stages[index]) {
                for member in stage.sources().filter(|_| stage.is_quorum()) {
                    let id = TaskId::new(&scope.id, &pipeline.stages[member].name, 0);
                    let task: Option<Task> = tx.check(&id.task_key()).await?;
                    let Some(mut task) = task else { continue };
                    if !task.attempts().is_empty() {
                        return Ok(());
                    }
                    // Who is about to claim it meets a conflict.
                    if task.is_listed() {
                        delete_listing(tx, &task);
                        task.withdraw();
                        tx.put(&task)?;
                    }
                }
            }
            now.settle();
            tx.put(&now)
        })
        .await
    }

    async fn cancel_rest(
        &self,
        tx: &mut Tx<'_, P>,
        scope: &str,
        members: &[String],
        tasks: Vec<Option<Task>>,
    ) -> Result<(), Error> {
        for (member, task) in members.iter().zip(tasks) {
            let Some(mut task) = task.filter(|task| !task.is_accepted()) else { continue };
            let group: Option<Group> = tx.check(&Group::key_of(scope, member)).await?;
            let Some(group) = group.filter(|group| group.decided.is_none()) else { continue };
            delete_listing(tx, &task);
            task.cancel();
            tx.delete(task.id.marker_key());
            tx.put(&task)?;
            tx.put(&Group { cancelled: true, ..group })?;
        }
        Ok(())
    }
}

fn public_values(task: Option<&Task>) -> Option<String> {
    task?.accepted()?.public_values.clone()
}
