//! A block's proof as a level sink is notified of it, and how long it took.

use crate::advance::handed_on::HandedOn;
use crate::error::Error;
use crate::pipeline::{Pipeline, Source, WITNESS};
use crate::port::Key;
use crate::scope_stages::goal_of;
use crate::state::{Group, OutProof, Scope, Task, TaskId};
use crate::transaction::{Tx, read, read_many, transact};
use crate::yard::Yard;

/// Tasks that are looked at to see whether a block was started: of a block with more, some all over it.
const MAX_LOOKED_AT: u32 = 16;

/// The proof that commits a block.
#[derive(Clone, Debug, PartialEq)]
pub struct NewsProof {
    pub proof: OutProof,
    /// That one, and where a quorum commits those of the other members that agreed; each with its prover's name.
    pub all: Vec<(String, OutProof)>,
    pub cycles: Option<u64>,
    /// From when the first prover of the block was asked until its proof was there, on the clocks of the workers that did it;
    /// with one task, what its prover took.
    pub proving_ms: u64,
}

impl Yard {
    /// The block's proof as it may be handed on: where a quorum commits, those that agreed.
    pub(super) async fn news_proof(&self, scope: &Scope) -> Result<Option<NewsProof>, Error> {
        let pipeline = self.pipeline_of(scope).await?;
        let Some(goal) = goal_of(&pipeline, scope) else { return Ok(None) };
        let stage = &pipeline.stages[goal];
        let found =
            transact(&self.port, async |tx: &mut Tx<'_>| self.handed_on(tx, scope, &pipeline, stage).await);
        let HandedOn::Proofs(proofs) = found.await? else { return Ok(None) };
        let Some(proof) = proofs.first().cloned() else { return Ok(None) };
        let task = TaskId::new(scope.id(), &proof.stage, proof.index);
        let task: Option<Task> = read(&self.port, &task.task_key()).await?;
        let Some(result) = task.and_then(Task::into_accepted) else { return Ok(None) };
        let height = scope.heights().0;
        let prover_of = |proof: &OutProof| {
            pipeline
                .stages
                .iter()
                .find(|stage| stage.name == proof.stage)?
                .prover_at(height)
                .map(str::to_owned)
        };
        let all = proofs.into_iter().filter_map(|proof| Some((prover_of(&proof)?, proof))).collect();
        let began_ms = self.began_ms(scope, &pipeline).await?;
        // Keeping a proof, and writing down that there is one, is not proving.
        let ended_ms = match result.started_ms {
            Some(started_ms) => started_ms.saturating_add(result.prove_ms),
            None => result.at_ms.saturating_sub(result.verify_ms),
        };
        let is_one_task =
            pipeline.stages[goal].sources().all(|source| pipeline.stages[source].name == WITNESS);
        let proving_ms = match began_ms {
            Some(began_ms) if !is_one_task => ended_ms.saturating_sub(began_ms).max(result.prove_ms),
            _ => result.prove_ms,
        };
        Ok(Some(NewsProof { proof, all, cycles: result.cycles, proving_ms: proving_ms.max(1) }))
    }

    /// When the prover of the first of the block's tasks, of those that are looked at, was asked.
    async fn began_ms(&self, scope: &Scope, pipeline: &Pipeline) -> Result<Option<u64>, Error> {
        let keys: Vec<Key> = first_stages(pipeline).map(|stage| Group::key_of(scope.id(), stage)).collect();
        let groups = read_many::<Group>(&self.port, &keys).await?.into_iter().flatten();
        let keys: Vec<Key> =
            groups.flat_map(|group| some_tasks(&group)).map(|task| task.task_key()).collect();
        let tasks = read_many::<Task>(&self.port, &keys).await?.into_iter().flatten();
        Ok(tasks.filter_map(Task::into_accepted).filter_map(|result| result.started_ms).min())
    }
}

/// The stages that a block's work begins with; fetching is not proving.
pub(super) fn first_stages(pipeline: &Pipeline) -> impl Iterator<Item = &str> {
    let of_block = pipeline.stages.iter().filter(|stage| stage.cut_by.is_none() && !stage.after_commit);
    let first = of_block.filter(|stage| stage.name != WITNESS && stage.from.contains(&Source::Block));
    first.map(|stage| stage.name.as_str())
}

/// Some tasks of a group, all over it.
pub(super) fn some_tasks(group: &Group) -> impl Iterator<Item = TaskId> + use<> {
    let (all, count) = (group.expected, group.expected.min(MAX_LOOKED_AT));
    let index = move |at: u32| match count {
        0 | 1 => 0,
        _ => u32::try_from(u64::from(at) * u64::from(all - 1) / u64::from(count - 1)).unwrap_or(0),
    };
    let (scope, stage) = (group.scope.clone(), group.stage.clone());
    (0..count).map(move |at| TaskId::new(&scope, &stage, index(at)))
}
