//! A quorum: decides at `need`, and watches its other members until all have settled. Only this decides quorums, cancels the
//! members that are not needed, and halts a chain over a disagreement of members.

use super::groups::new_group;
use crate::error::Error;
use crate::listing::delete_listing;
use crate::pipeline::{Pipeline, Quorum};
use crate::planted_bug::PlantedBug;
use crate::port::Key;
use crate::record::{accepted, put_halt};
use crate::scope_stages::stages_of;
use crate::state::{
    ChainState, Decision, Disagreement, Group, Halt, HaltReason, Scope, Task, TaskId, shown_value,
};
use crate::strategy::quorum::{member_tasks, plan_of};
use crate::strategy::votes::Votes;
use crate::transaction::{Tx, read, read_many, transact};
use crate::yard::{ChainReads, Yard};

impl Yard {
    /// Records a disagreement or a decision of a quorum, if there is a new one; says whether it did. Other stages have none.
    pub(crate) async fn advance_quorum(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
    ) -> Result<bool, Error> {
        let stage = &pipeline.stages[index];
        let Some(quorum) = stage.quorum() else { return Ok(false) };
        let group: Option<Group> = read(&self.port, &Group::key_of(scope.id(), &stage.name)).await?;
        let ids = member_tasks(scope, pipeline, stage);
        let keys: Vec<Key> = ids.iter().map(TaskId::task_key).collect();
        let tasks = read_many::<Task>(&self.port, &keys).await?;
        for (id, task) in ids.iter().zip(&tasks) {
            if let Err(wrong) = accepted(pipeline, scope, id, task.as_ref()) {
                self.halt_over(scope, wrong).await?;
                return Ok(false);
            }
        }
        let votes = Votes::of(quorum, &ids, &tasks);
        let seen = votes.tally();
        let reported =
            seen.dissent <= scope.reported_dissent(&stage.name) || self.planted(PlantedBug::DissentIgnored);
        if (seen.agreed.is_none() || group.is_some() || !scope.is_live()) && reported {
            return Ok(false);
        }
        transact(&self.port, async |tx| self.put_quorum(tx, scope, pipeline, index, quorum, &ids).await).await
    }

    async fn put_quorum(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        pipeline: &Pipeline,
        index: usize,
        quorum: &Quorum,
        ids: &[TaskId],
    ) -> Result<bool, Error> {
        let stage = &pipeline.stages[index];
        let now: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
        let is_heard =
            |now: &Scope| now.is_live() || (now.is_watched() && !self.planted(PlantedBug::MissedUnwatched));
        let Some(mut now) = now.filter(is_heard) else { return Ok(false) };
        let mut tasks = Vec::new();
        for id in ids {
            tasks.push(tx.check::<Task>(&id.task_key()).await?);
        }
        let votes = Votes::of(quorum, ids, &tasks);
        let tally = votes.tally();
        let mut moved = false;
        let reported = now.reported_dissent(&stage.name);
        if tally.dissent > reported && !self.planted(PlantedBug::DissentIgnored) {
            now.dissent(&stage.name, tally.dissent - reported);
            self.halt_on_disagreement(tx, &now, &stage.name, &votes).await?;
            tx.put(&now)?;
            moved = true;
        }
        let group: Option<Group> = tx.check(&Group::key_of(scope.id(), &stage.name)).await?;
        if let (Some(agreed), None) = (tally.agreed, group)
            && now.is_live()
        {
            let mut group = new_group(&now, stage, &plan_of(stage, &agreed), self.port.now_ms());
            if quorum.cancel_rest {
                self.cancel_rest(tx, tasks).await?;
            }
            if group.expected == 0 {
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
        tx: &mut Tx<'_>,
        scope: &Scope,
        stage: &str,
        votes: &Votes,
    ) -> Result<(), Error> {
        let state: ChainState = tx.check_chain(scope.chain()).await?;
        let said = votes.voted().map(|(member, value)| (member.to_owned(), shown_value(value))).collect();
        let disagreement = Disagreement { stage: stage.to_owned(), height: scope.heights().0, said };
        let reason = HaltReason::Disagreement(disagreement);
        put_halt(tx, state, Halt::over(Some(scope), &reason, self.port.now_ms()))
    }

    /// Settles a block that was given up once none of its quorums' members may bring a proof any more that somebody waits
    /// for. One that comes all the same is looked at for its own sake.
    pub(crate) async fn settle_missed(&self, scope: &Scope, pipeline: &Pipeline) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
            let Some(mut now) = now.filter(|now| now == scope) else { return Ok(()) };
            let stages = stages_of(pipeline, scope).into_iter().map(|index| &pipeline.stages[index]);
            for stage in stages.filter(|stage| stage.may_disagree()) {
                for id in member_tasks(scope, pipeline, stage) {
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

    async fn cancel_rest(&self, tx: &mut Tx<'_>, tasks: Vec<Option<Task>>) -> Result<(), Error> {
        for mut task in tasks.into_iter().flatten().filter(|task| !task.is_accepted()) {
            let group: Option<Group> = tx.check(&Group::key_of(&task.id().scope, &task.id().stage)).await?;
            let Some(group) = group.filter(|group| !group.is_decided()) else { continue };
            delete_listing(tx, &task);
            task.cancel();
            tx.delete(task.id().marker_key());
            tx.put(&task)?;
            tx.put(&Group { cancelled: true, ..group })?;
        }
        Ok(())
    }
}
