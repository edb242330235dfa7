//! What is handed on of a scope: the proofs of the stage that commits or emits it, as their tasks say now.
//!
//! They are gathered twice: before the scope counts as proved, and again in the transaction that hands them on, since a
//! worker's credential can rewrite its tasks in between. Each time they must be what their stage may accept and, in a yard
//! with a judge, exactly what it looked at.

use crate::advance::commit::wake_level_sinks;
use crate::error::{Error, Refusal};
use crate::pages::KeyPages;
use crate::pipeline::{Pipeline, Stage};
use crate::planted_bug::PlantedBug;
use crate::port::Wake;
use crate::record::{accepted, put_halt};
use crate::scope_stages::goal_of;
use crate::state::{
    ChainState, Group, Halt, HaltReason, Inputs, Judgement, OutProof, Scope, Task, TaskId, Wrong, WrongResult,
};
use crate::transaction::{Tx, transact};
use crate::yard::{ChainReads, Yard};

/// What is there to hand on.
pub(crate) enum HandedOn {
    Proofs(Vec<OutProof>),
    /// The judge has not looked at these.
    Unjudged(Vec<TaskId>),
    /// Nothing may be built on it.
    Wrong(WrongResult),
}

/// Whether a stage's proof is handed on of such a scope, by itself or as a member of the quorum that decides.
pub(crate) fn handed_on_by(pipeline: &Pipeline, scope: &Scope, stage: &str) -> bool {
    let Some(goal) = goal_of(pipeline, scope).and_then(|goal| pipeline.stages.get(goal)) else {
        return false;
    };
    match goal.provers.is_empty() {
        true => goal.sources().any(|member| pipeline.stages[member].name == stage),
        false => goal.name == stage,
    }
}

impl Yard {
    /// The proofs of a decided stage: its own one, or those of the members that agreed.
    pub(crate) async fn handed_on(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
    ) -> Result<HandedOn, Error> {
        let group: Option<Group> = tx.peek(&Group::key_of(scope.id(), &stage.name)).await?;
        let members = match group.map(|group| group.inputs) {
            Some(Inputs::Outputs { of, .. }) if stage.provers.is_empty() => of,
            _ => vec![(stage.name.clone(), 1)],
        };
        let ids: Vec<TaskId> = members.iter().map(|(member, _)| TaskId::new(scope.id(), member, 0)).collect();
        let judgements = ids.iter().filter(|_| self.asks_the_judge()).map(Judgement::key_of);
        tx.fetch(ids.iter().map(TaskId::task_key).chain(judgements)).await?;
        let (mut proofs, mut unjudged) = (Vec::new(), Vec::new());
        for id in ids {
            let task: Option<Task> = tx.peek(&id.task_key()).await?;
            let result = match accepted(pipeline, scope, &id, task.as_ref()) {
                Ok(result) => result.ok_or_else(|| Refusal::UnknownTask(id.to_string()))?,
                Err(wrong) => return Ok(HandedOn::Wrong(wrong)),
            };
            if self.asks_the_judge() {
                let judgement: Option<Judgement> = tx.peek(&Judgement::key_of(&id)).await?;
                let Some(judgement) = judgement else {
                    unjudged.push(id);
                    continue;
                };
                let changed = || !judgement.is_of(result) && !self.planted(PlantedBug::JudgementOfAnything);
                let why = match judgement.refused.clone() {
                    Some(reason) => Some(Wrong::Refused(reason)),
                    None => changed().then_some(Wrong::Changed),
                };
                if let Some(why) = why {
                    return Ok(HandedOn::Wrong(WrongResult { task: id, worker: judgement.worker, why }));
                }
            }
            proofs.push(OutProof {
                stage: id.stage,
                index: 0,
                artifact: result.artifact.clone(),
                public_values: result.public_values.clone(),
                verification_key: result.verification_key.clone(),
                proof_system: result.proof_system.clone(),
            });
        }
        if !unjudged.is_empty() {
            return Ok(HandedOn::Unjudged(unjudged));
        }
        proofs.truncate(if self.planted(PlantedBug::OneProofHandedOn) { 1 } else { proofs.len() });
        Ok(HandedOn::Proofs(proofs))
    }

    /// The proofs, if they may be handed on; otherwise what there is to do about it is done. `state` is the chain's, checked.
    pub(crate) async fn hand_on(
        &self,
        tx: &mut Tx<'_>,
        state: &ChainState,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
    ) -> Result<Option<Vec<OutProof>>, Error> {
        match self.handed_on(tx, scope, pipeline, stage).await? {
            HandedOn::Proofs(proofs) => return Ok(Some(proofs)),
            HandedOn::Unjudged(tasks) => tasks.into_iter().for_each(|task| tx.send(Wake::Judge { task })),
            HandedOn::Wrong(wrong) => self.halt_on_result(tx, state, scope, wrong)?,
        }
        Ok(None)
    }

    fn asks_the_judge(&self) -> bool {
        self.is_judged() && !self.planted(PlantedBug::NotJudged)
    }

    /// Where a judge looks at what is handed on: a scope whose goal is decided counts as proved once it has. Says whether
    /// that is now.
    pub(crate) async fn prove_judged(&self, scope: &Scope, pipeline: &Pipeline) -> Result<bool, Error> {
        let Some(goal) = goal_of(pipeline, scope) else { return Ok(false) };
        let stage = &pipeline.stages[goal];
        transact(&self.port, async |tx| {
            let now: Option<Scope> = tx.check(&Scope::key_of(scope.id())).await?;
            let Some(mut now) = now.filter(Scope::is_open) else { return Ok(false) };
            let group: Option<Group> = tx.peek(&Group::key_of(scope.id(), &stage.name)).await?;
            if group.is_none_or(|group| group.decided.is_none()) {
                return Ok(false);
            }
            let state = tx.peek_chain(scope.chain()).await?;
            if self.hand_on(tx, &state, &now, pipeline, stage).await?.is_none() {
                return Ok(false);
            }
            tx.send(Wake::Chain { chain: now.chain().clone() });
            wake_level_sinks(tx, pipeline);
            now.prove(self.port.now_ms());
            tx.put(&now)?;
            Ok(true)
        })
        .await
    }

    /// What is wrong with the results of a group, if anything: workers wrote them.
    pub(crate) async fn wrong_result_in(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        group: &Group,
    ) -> Result<Option<WrongResult>, Error> {
        let ids: Vec<TaskId> =
            (0..group.expected).map(|index| TaskId::new(scope.id(), &group.stage, index)).collect();
        let mut pages = KeyPages::of(&ids, TaskId::task_key);
        while let Some(page) = pages.next::<Task>(&self.port).await? {
            let wrong = page.iter().find_map(|(id, task)| accepted(pipeline, scope, id, task.as_ref()).err());
            if wrong.is_some() {
                return Ok(wrong);
            }
        }
        Ok(None)
    }

    /// Halts a chain over a result on which nothing may be built.
    pub(crate) async fn halt_over(&self, scope: &Scope, wrong: WrongResult) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let state = tx.check_chain(scope.chain()).await?;
            self.halt_on_result(tx, &state, scope, wrong.clone())
        })
        .await
    }

    /// Once; after a resume it is found again, until its block is proved anew.
    fn halt_on_result(
        &self,
        tx: &mut Tx<'_>,
        state: &ChainState,
        scope: &Scope,
        wrong: WrongResult,
    ) -> Result<(), Error> {
        if state.halted.is_some() {
            return Ok(());
        }
        let reason = HaltReason::Result { height: scope.heights().0, wrong };
        put_halt(tx, state.clone(), Halt::over(Some(scope), &reason, self.port.now_ms()))
    }
}
