//! What is handed on of a scope: the proofs of the stage that commits or emits it, as their tasks say now.
//!
//! They are gathered twice: before the scope counts as proved, and again in the transaction that hands them on, since a
//! worker's credential can rewrite its tasks in between. Each time they must be what their stage may accept and, in a yard
//! with a judge, exactly what it looked at.

use crate::advance::goal_of;
use crate::error::{Error, Refusal};
use crate::pipeline::{Pipeline, Stage};
use crate::planted_bug::PlantedBug;
use crate::port::{Key, Port, Wake};
use crate::record::{accepted, put_halt};
use crate::state::{ChainState, Group, Halt, Inputs, Judgement, OutProof, Scope, Task, TaskId};
use crate::transaction::{KEYS_A_READ, Tx, read_many, transact};
use crate::yard::{ChainReads, Yard};

const WAY_OUT: &str = "find out what that worker is; `proofyard redo";

/// What is there to hand on.
pub(crate) enum HandedOn {
    Proofs(Vec<OutProof>),
    /// The judge has not looked at these.
    Unjudged(Vec<TaskId>),
    /// Nothing may be built on it.
    Wrong(String),
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

impl<P: Port> Yard<P> {
    /// The proofs of a decided stage: its own one, or those of the members that agreed.
    pub(crate) async fn handed_on(
        &self,
        tx: &mut Tx<'_, P>,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
    ) -> Result<HandedOn, Error> {
        let group: Option<Group> = tx.peek(&Group::key_of(&scope.id, &stage.name)).await?;
        let members = match group.map(|group| group.inputs) {
            Some(Inputs::Outputs { of, .. }) if stage.provers.is_empty() => of,
            _ => vec![(stage.name.clone(), 1)],
        };
        let ids: Vec<TaskId> = members.iter().map(|(member, _)| TaskId::new(&scope.id, member, 0)).collect();
        let judgements = ids.iter().filter(|_| self.asks_the_judge()).map(Judgement::key_of);
        tx.fetch(ids.iter().map(TaskId::task_key).chain(judgements)).await?;
        let (mut proofs, mut unjudged) = (Vec::new(), Vec::new());
        for id in ids {
            let task: Option<Task> = tx.peek(&id.task_key()).await?;
            let result = match accepted(pipeline, scope, &id, task.as_ref()) {
                Ok(result) => result.ok_or_else(|| Refusal::UnknownTask(id.to_string()))?,
                Err(fault) => return Ok(HandedOn::Wrong(fault)),
            };
            if self.asks_the_judge() {
                let judgement: Option<Judgement> = tx.peek(&Judgement::key_of(&id)).await?;
                let Some(judgement) = judgement else {
                    unjudged.push(id);
                    continue;
                };
                if let Some(reason) = &judgement.refused {
                    let worker = &judgement.worker;
                    let reason = format!("the judge refused {id}, which worker {worker} recorded: {reason}");
                    return Ok(HandedOn::Wrong(reason));
                }
                if !judgement.is_of(result) && !self.planted(PlantedBug::JudgementOfAnything) {
                    let reason = format!(
                        "{id} is not what the judge looked at: worker {} recorded it, and it was changed since",
                        judgement.worker
                    );
                    return Ok(HandedOn::Wrong(reason));
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
        tx: &mut Tx<'_, P>,
        state: &ChainState,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
    ) -> Result<Option<Vec<OutProof>>, Error> {
        match self.handed_on(tx, scope, pipeline, stage).await? {
            HandedOn::Proofs(proofs) => return Ok(Some(proofs)),
            HandedOn::Unjudged(tasks) => tasks.into_iter().for_each(|task| tx.send(Wake::Judge { task })),
            HandedOn::Wrong(reason) => self.halt_on_result(tx, state, scope, &reason)?,
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
            let now: Option<Scope> = tx.check(&Scope::key_of(&scope.id)).await?;
            let Some(mut now) = now.filter(Scope::is_open) else { return Ok(false) };
            let group: Option<Group> = tx.peek(&Group::key_of(&scope.id, &stage.name)).await?;
            if group.is_none_or(|group| group.decided.is_none()) {
                return Ok(false);
            }
            let state = tx.peek_chain(&scope.chain).await?;
            if self.hand_on(tx, &state, &now, pipeline, stage).await?.is_none() {
                return Ok(false);
            }
            tx.send(Wake::Chain { chain: now.chain.clone() });
            now.prove(self.port.now_ms());
            tx.put(&now)?;
            Ok(true)
        })
        .await
    }

    /// What is wrong with the results of a group, if anything: workers wrote them.
    pub(crate) async fn fault_in(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        group: &Group,
    ) -> Result<Option<String>, Error> {
        let ids: Vec<TaskId> =
            (0..group.expected).map(|index| TaskId::new(&scope.id, &group.stage, index)).collect();
        for page in ids.chunks(KEYS_A_READ) {
            let keys: Vec<Key> = page.iter().map(TaskId::task_key).collect();
            let tasks = read_many::<P, Task>(&self.port, &keys).await?;
            let fault = page
                .iter()
                .zip(&tasks)
                .find_map(|(id, task)| accepted(pipeline, scope, id, task.as_ref()).err());
            if fault.is_some() {
                return Ok(fault);
            }
        }
        Ok(None)
    }

    /// Halts a chain over a result on which nothing may be built.
    pub(crate) async fn halt_over(&self, scope: &Scope, reason: &str) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let state = tx.check_chain(&scope.chain).await?;
            self.halt_on_result(tx, &state, scope, reason)
        })
        .await
    }

    /// Once; after a resume it is found again, until its block is proved anew.
    fn halt_on_result(
        &self,
        tx: &mut Tx<'_, P>,
        state: &ChainState,
        scope: &Scope,
        reason: &str,
    ) -> Result<(), Error> {
        if state.halted.is_some() {
            return Ok(());
        }
        let reason = format!("{reason}; {WAY_OUT} {}` proves it again", scope.heights().0);
        let halt = Halt { reason, scope: Some(scope.id.clone()), at_ms: self.port.now_ms() };
        put_halt(tx, state.clone(), halt)
    }
}
