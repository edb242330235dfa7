//! What is committed now, by its out log, and what it takes to check one committed proof again.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::error::{Error, Refusal};
use crate::pages::Pages;
use crate::pipeline::{Pipeline, Prover, Stage};
use crate::state::{
    ArtifactRef, COMMITS, ChainName, Cut, OutEntry, OutKind, OutProof, Scope, ScopeId, Task, TaskId,
};
use crate::transaction::{read, read_range};
use crate::work::Input;
use crate::yard::{Yard, boxed};

/// Out log entries read at once.
const ENTRIES_A_PAGE: usize = 256;

/// An entry of the log of commits that still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub from: u64,
    pub to: u64,
    pub sequence: u64,
}

/// All that a verifier needs for one committed proof.
#[derive(Clone, Debug)]
pub struct CommittedProof {
    pub task: Task,
    pub proof: OutProof,
    pub pipeline: Arc<Pipeline>,
    pub stage: usize,
    pub prover_name: String,
    /// What the task worked on.
    pub inputs: Vec<Input>,
}

impl CommittedProof {
    pub fn stage(&self) -> &Stage {
        &self.pipeline.stages[self.stage]
    }

    pub fn prover(&self) -> &Prover {
        &self.pipeline.provers[&self.prover_name]
    }
}

/// How many heights the frontier has passed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub committed: u64,
    /// Given up by their deadline.
    pub missed: u64,
}

impl Yard {
    /// How many heights the frontier has passed. One look, but for a yard that began before its misses were counted: there
    /// the whole log of commits is read.
    #[boxed(?Send)]
    pub async fn heights_passed(&self, chain: &ChainName) -> Result<Passed, Error> {
        let start_height = self.chain_state(chain).await?.start_height;
        let frontier = self.frontier(chain).await?;
        let passed = frontier.height.saturating_sub(start_height);
        let missed = match frontier.missed {
            Some(missed) => missed.min(passed),
            None => {
                let committed = self.committed(chain, &(0..=u64::MAX)).await?;
                let committed: u64 = committed.iter().map(|entry| entry.to - entry.from + 1).sum();
                passed.saturating_sub(committed)
            }
        };
        Ok(Passed { committed: passed - missed, missed })
    }

    /// What is committed of these heights, in their order; retracted entries are left out.
    #[boxed(?Send)]
    pub async fn committed(
        &self,
        chain: &ChainName,
        heights: &RangeInclusive<u64>,
    ) -> Result<Vec<Committed>, Error> {
        let mut holds: BTreeMap<u64, Committed> = BTreeMap::new();
        let mut pages = Pages::<OutEntry>::of(OutEntry::range_from(chain, COMMITS, 0, ENTRIES_A_PAGE));
        while let Some(page) = pages.next(&self.port).await? {
            for (_, _, entry) in page {
                match entry.kind {
                    OutKind::Proof { from, to, .. } if from <= *heights.end() && to >= *heights.start() => {
                        holds.insert(from, Committed { from, to, sequence: entry.sequence });
                    }
                    OutKind::Proof { .. } => {}
                    OutKind::Retract { from, to } => {
                        holds.retain(|_, entry| entry.to < from || entry.from > to);
                    }
                }
            }
        }
        Ok(holds.into_values().collect())
    }

    /// The log of commits from a sequence on, at most 256 entries.
    #[boxed(?Send)]
    pub async fn out_log(&self, chain: &ChainName, sequence: u64) -> Result<Vec<OutEntry>, Error> {
        let range = OutEntry::range_from(chain, COMMITS, sequence, ENTRIES_A_PAGE);
        let entries = read_range::<OutEntry>(&self.port, &range).await?;
        Ok(entries.into_iter().map(|(_, _, entry)| entry).collect())
    }

    /// The proofs of one entry, each with what it was made from.
    #[boxed(?Send)]
    pub async fn committed_proofs(
        &self,
        chain: &ChainName,
        committed: &Committed,
    ) -> Result<Vec<CommittedProof>, Error> {
        let key = OutEntry::key_of(chain, COMMITS, committed.sequence);
        let entry: Option<OutEntry> = read(&self.port, &key).await?;
        let Some(OutKind::Proof { scope, proofs, .. }) = entry.map(|entry| entry.kind) else {
            return Err(Refusal::NoBlock(committed.from).into());
        };
        let mut found = Vec::new();
        for proof in proofs {
            found.push(self.committed_proof(chain, &scope, proof).await?);
        }
        Ok(found)
    }

    /// What a stage gave for a scope, if it has.
    #[boxed(?Send)]
    pub async fn output_of(&self, scope: &ScopeId, stage: &str) -> Result<Option<ArtifactRef>, Error> {
        let id = TaskId::new(scope, stage, 0);
        let task: Option<Task> = read(&self.port, &id.task_key()).await?;
        Ok(task.and_then(Task::into_accepted).map(|result| result.artifact))
    }

    /// The payload of a block, or of the last block of a cut.
    #[boxed(?Send)]
    pub async fn last_payload(&self, scope: &ScopeId) -> Result<Option<ArtifactRef>, Error> {
        let scope: Option<Scope> = read(&self.port, &Scope::key_of(scope)).await?;
        let Some(scope) = scope else { return Ok(None) };
        let last = |cut: &Cut| cut.member_id(scope.chain(), (cut.members.len() as u32).checked_sub(1)?);
        let last: Option<Scope> = match scope.cut() {
            None => Some(scope),
            Some(cut) => match last(cut) {
                Some(last) => read(&self.port, &Scope::key_of(&last)).await?,
                None => None,
            },
        };
        Ok(last.and_then(|last| last.block().map(|block| block.payload.clone())))
    }

    async fn committed_proof(
        &self,
        chain: &ChainName,
        scope: &ScopeId,
        proof: OutProof,
    ) -> Result<CommittedProof, Error> {
        let id = TaskId::new(scope, &proof.stage, proof.index);
        let unknown = || Refusal::UnknownTask(id.to_string());
        let task: Option<Task> = read(&self.port, &id.task_key()).await?;
        let task = task.ok_or_else(unknown)?;
        let prover_name = task.accepted().ok_or_else(unknown)?.prover.clone();
        let pipeline = self.pipeline(chain, task.pipeline()).await?;
        let stage = pipeline.stage(&id.stage).ok_or_else(unknown)?.0;
        if !pipeline.provers.contains_key(&prover_name) {
            return Err(unknown().into());
        }
        let inputs = self.inputs(&pipeline, &id).await?;
        Ok(CommittedProof { task, proof, pipeline, stage, prover_name, inputs })
    }
}
