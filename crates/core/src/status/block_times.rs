//! When what happened to a block: the rows of reports.

use serde::Serialize;

use crate::error::Error;
use crate::pages::Pages;
use crate::scope_stages::{goal_of, stages_of};
use crate::spending::{Spending, Used};
use crate::state::{BlockHash, ChainName, CutAt, Group, Inputs, Scope, ScopeId, Task, TaskId};
use crate::transaction::{read, read_range};
use crate::yard::{Yard, boxed};

/// Blocks of one answer; a report of more asks again from the next height.
const MAX_BLOCKS: usize = 10_000;
const TASKS_A_PAGE: usize = 512;

/// One canonical block. Where blocks are committed by cuts, `proved_ms`, `committed_ms` and `proof_bytes` are the cut's, and each
/// block of it counts the cut's own tasks as well; how often these were tried counts for the cut's last block alone, so that the
/// attempts of many blocks can be summed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockTimes {
    pub height: u64,
    pub hash: BlockHash,
    pub acknowledged_ms: u64,
    pub opened_ms: Option<u64>,
    /// The first claim of a task that was accepted.
    pub first_claimed_ms: Option<u64>,
    pub proved_ms: Option<u64>,
    pub committed_ms: Option<u64>,
    /// Given up at its deadline.
    pub missed: bool,
    /// Tasks that were created.
    pub tasks: u64,
    /// Of accepted tasks, summed.
    pub prove_ms: u64,
    pub verify_ms: u64,
    /// Of the proofs that commit it; several where a quorum agreed.
    pub proof_bytes: u64,
    pub attempts: u64,
    /// As counted now: an operator's `retry` starts a task's counts again.
    pub failures: u64,
    pub losses: u64,
    pub crashes: u64,
    pub delays: u64,
    /// Of a cut, the block's equal part.
    pub spending: Spending,
}

/// What the tasks of one scope sum up to.
#[derive(Clone, Debug, Default)]
struct Sums {
    scope: ScopeId,
    first_claimed_ms: Option<u64>,
    tasks: u64,
    prove_ms: u64,
    verify_ms: u64,
    proof_bytes: u64,
    attempts: u64,
    failures: u64,
    losses: u64,
    crashes: u64,
    delays: u64,
    used: Used,
    /// Of a cut, or 1.
    blocks: u64,
    proved_ms: Option<u64>,
    committed_ms: Option<u64>,
}

impl Yard {
    /// The times of the canonical blocks with `from <= height <= to`, at most 10,000 of them.
    #[boxed(?Send)]
    pub async fn block_times(&self, chain: &ChainName, from: u64, to: u64) -> Result<Vec<BlockTimes>, Error> {
        let look = self.look(chain).await?;
        let mut times = Vec::new();
        let mut cut = Sums::default();
        let last = look.tip.height().map_or(to, |tip| to.min(tip));
        for height in from.max(look.state.start_height)..=last {
            if times.len() >= MAX_BLOCKS {
                break;
            }
            let Some(scope) = self.block_scope(chain, height).await? else { continue };
            let own = self.sums(&scope).await?;
            if let Some(index) = look.pipeline.commit_cut()
                && let Some(covering) =
                    self.cut_covering(chain, &look.pipeline.stages[index].name, height).await?
            {
                if cut.scope != *covering.id() {
                    cut = self.sums(&covering).await?;
                }
                let is_last = covering.heights().1 == height;
                times.extend(block_times(&scope, &own.with_cut(&cut, is_last)));
            } else {
                times.extend(block_times(&scope, &own));
            }
        }
        Ok(times)
    }

    /// The cut of a stage that holds this height, if one has closed.
    pub(crate) async fn cut_covering(
        &self,
        chain: &ChainName,
        stage: &str,
        height: u64,
    ) -> Result<Option<Scope>, Error> {
        let cuts = read_range::<CutAt>(&self.port, &CutAt::covering(chain, stage, height)).await?;
        match cuts.into_iter().find(|(_, _, cut)| cut.to >= height) {
            Some((_, _, cut)) => read(&self.port, &Scope::key_of(&cut.scope)).await,
            None => Ok(None),
        }
    }

    async fn sums(&self, scope: &Scope) -> Result<Sums, Error> {
        let mut sums = Sums {
            scope: scope.id().clone(),
            proved_ms: scope.proved_ms(),
            committed_ms: scope.committed_ms(),
            blocks: scope.blocks(),
            ..Sums::default()
        };
        if scope.pipeline().is_none() {
            return Ok(sums);
        }
        let pipeline = self.pipeline(scope.chain(), scope.pipeline()).await?;
        let committing = match goal_of(&pipeline, scope) {
            Some(goal) => self.committing_stages(scope, &pipeline.stages[goal].name).await?,
            None => Vec::new(),
        };
        for index in stages_of(&pipeline, scope) {
            let stage = &pipeline.stages[index].name;
            let commits = committing.contains(stage);
            let mut pages = Pages::of(TaskId::range(scope.id(), stage, TASKS_A_PAGE));
            while let Some(page) = pages.next(&self.port).await? {
                page.iter().for_each(|(_, _, task)| sums.add(task, commits));
            }
        }
        Ok(sums)
    }

    /// The stages whose proofs commit: the commit stage, or the members that agreed in it.
    pub(crate) async fn committing_stages(&self, scope: &Scope, commit: &str) -> Result<Vec<String>, Error> {
        let group: Option<Group> = read(&self.port, &Group::key_of(scope.id(), commit)).await?;
        Ok(match group.map(|group| (group.expected, group.inputs)) {
            Some((0, Inputs::Outputs { of, .. })) => of.into_iter().map(|(stage, _)| stage).collect(),
            _ => vec![commit.to_owned()],
        })
    }
}

impl Sums {
    fn add(&mut self, task: &Task, commits: bool) {
        self.tasks += 1;
        self.attempts += u64::from(task.started());
        self.failures += u64::from(task.failures());
        self.losses += u64::from(task.losses());
        self.crashes += u64::from(task.crashes());
        self.delays += u64::from(task.delays());
        self.used = self.used.with(Used::of(task));
        if let Some(accepted) = task.accepted() {
            self.first_claimed_ms = earlier(self.first_claimed_ms, Some(accepted.claimed_ms));
            self.prove_ms += accepted.prove_ms;
            self.verify_ms += accepted.verify_ms;
            self.proof_bytes += if commits { accepted.artifact.bytes } else { 0 };
        }
    }

    fn with_cut(self, cut: &Self, is_last_of_it: bool) -> Self {
        let tried = |own: u64, of_cut: u64| own + if is_last_of_it { of_cut } else { 0 };
        Self {
            first_claimed_ms: earlier(self.first_claimed_ms, cut.first_claimed_ms),
            tasks: self.tasks + cut.tasks,
            prove_ms: self.prove_ms + cut.prove_ms,
            verify_ms: self.verify_ms + cut.verify_ms,
            proof_bytes: cut.proof_bytes,
            attempts: tried(self.attempts, cut.attempts),
            failures: tried(self.failures, cut.failures),
            losses: tried(self.losses, cut.losses),
            crashes: tried(self.crashes, cut.crashes),
            delays: tried(self.delays, cut.delays),
            used: self.used.with(cut.used.parts(1, cut.blocks)),
            blocks: self.blocks,
            proved_ms: cut.proved_ms,
            committed_ms: cut.committed_ms,
            scope: self.scope,
        }
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

fn block_times(scope: &Scope, sums: &Sums) -> Option<BlockTimes> {
    let block = scope.block()?;
    Some(BlockTimes {
        height: block.height,
        hash: block.hash.clone(),
        acknowledged_ms: scope.acknowledged_ms(),
        opened_ms: scope.opened_ms(),
        first_claimed_ms: sums.first_claimed_ms,
        proved_ms: sums.proved_ms,
        committed_ms: sums.committed_ms,
        missed: scope.is_missed(),
        tasks: sums.tasks,
        prove_ms: sums.prove_ms,
        verify_ms: sums.verify_ms,
        proof_bytes: sums.proof_bytes,
        attempts: sums.attempts,
        failures: sums.failures,
        losses: sums.losses,
        crashes: sums.crashes,
        delays: sums.delays,
        spending: sums.used.spending(),
    })
}
