//! Reading a report out of the state: heights from the newest down, each with its scope and tasks.

use super::figures::{percentile, percentile_of, share};
use super::goals::{GOAL_DEADLINE_MS, Measured, goals};
use super::miss::{Miss, miss, never_opened};
use super::provers::{Judged, ProverSums};
use super::spending::UsedByEach;
use super::timeline::{Timeline, TimelineRow};
use super::{
    BlockFigures, DeadlineIs, Latency, MAX_REPORT_BLOCKS, ProofFigures, Report, ReportRequest, TrustedSetup,
    Waiting,
};
use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pages::Pages;
use crate::pipeline::{Late, Output, Pipeline};
use crate::scope_stages::stages_of;
use crate::spending::Used;
use crate::state::{ChainName, Scope, Task, TaskId};
use crate::status::look::Budget;
use crate::status::work::MAX_TASKS as MAX_TASKS_A_MISS;
use crate::yard::{Yard, boxed};

/// Tasks of one report; older heights are left out beyond.
const MAX_TASKS: usize = 200_000;
const TASKS_A_PAGE: usize = 512;
/// Uncommitted heights that are looked at for how late they are.
const MAX_WAITING: u64 = 1_000;

/// What is known of the heights so far.
struct ReportSoFar {
    deadline_ms: u64,
    tasks: usize,
    blocks: Vec<BlockFigures>,
    misses: Vec<Miss>,
    provers: ProverSums,
    proofs: Proofs,
    spending: UsedByEach,
    timeline: Timeline,
    cut: Option<CutFigures>,
}

#[derive(Default)]
struct Proofs {
    bytes: Vec<u64>,
    security_bits_min: Option<u32>,
    security_unstated: u64,
    trusted_setup: Option<TrustedSetup>,
}

/// The cut that the last block was in.
struct CutFigures {
    scope: Scope,
    sums: Sums,
    /// Blocks of it that are in the report.
    seen: u64,
}

/// What the tasks of a scope sum up to.
#[derive(Clone, Copy, Default)]
struct Sums {
    tasks: u64,
    attempts: u64,
    failures: u64,
    losses: u64,
    crashes: u64,
    delays: u64,
    proof_bytes: u64,
    used: Used,
}

/// The tasks of a scope that its commit waits for.
struct ScopeTasks {
    tasks: Vec<Task>,
    /// The stages whose proofs commit.
    committing: Vec<String>,
}

impl Yard {
    /// What was proved of a chain, how soon, and what was missed.
    #[boxed(?Send)]
    pub async fn report(&self, chain: &ChainName, request: &ReportRequest) -> Result<Report, Error> {
        let look = self.look(chain).await?;
        let (deadline_ms, deadline_is) = match (request.deadline_ms, look.pipeline.chain.late) {
            (Some(asked_ms), _) => (asked_ms, DeadlineIs::Asked),
            (None, Late::Miss { deadline_ms }) => (deadline_ms, DeadlineIs::Pipeline),
            (None, Late::Wait) => (GOAL_DEADLINE_MS, DeadlineIs::Goal),
        };
        let mut gathered = ReportSoFar {
            deadline_ms,
            tasks: 0,
            blocks: Vec::new(),
            misses: Vec::new(),
            provers: ProverSums::default(),
            proofs: Proofs::default(),
            spending: UsedByEach::default(),
            timeline: Timeline::default(),
            cut: None,
        };
        let first = request.from.max(look.state.start_height);
        let end = request.to.saturating_add(1).min(look.frontier.height);
        let newest = request.newest.min(MAX_REPORT_BLOCKS);
        let mut lowest = end;
        while lowest > first && gathered.blocks.len() < newest && gathered.tasks < MAX_TASKS {
            lowest -= 1;
            if let Some(scope) = self.block_scope(chain, lowest).await? {
                self.gather_block(&look, scope, &mut gathered).await?;
            }
        }
        let left_out = lowest.saturating_sub(first);
        let waiting = self.waiting_blocks(&look, deadline_ms).await?;
        Ok(gathered.report(&look, deadline_is, left_out, waiting))
    }

    async fn gather_block(&self, look: &ChainLook, scope: Scope, to: &mut ReportSoFar) -> Result<(), Error> {
        if scope.is_missed() {
            return self.gather_missed(look, scope, to).await;
        }
        if scope.committed_ms().is_some() {
            let sums = self.gather_scope(&scope, scope.acknowledged_ms(), to).await?;
            to.block(&scope, sums);
            return Ok(());
        }
        let Some(cut) = look.pipeline.commit_cut() else { return Ok(()) };
        let stage = &look.pipeline.stages[cut].name;
        let Some(cut) = self.cut_covering(look.chain(), stage, scope.heights().0).await? else {
            return Ok(());
        };
        if cut.committed_ms().is_none() {
            return Ok(());
        }
        if to.cut.as_ref().is_none_or(|before| before.scope.id() != cut.id()) {
            let first = self.block_scope(look.chain(), cut.heights().0).await?;
            let acknowledged_ms = first.map_or(cut.acknowledged_ms(), |first| first.acknowledged_ms());
            let sums = self.gather_scope(&cut, acknowledged_ms, to).await?;
            to.close_cut();
            to.cut = Some(CutFigures { scope: cut, sums, seen: 0 });
        }
        let own = self.gather_scope(&scope, scope.acknowledged_ms(), to).await?;
        to.block_of_cut(&scope, own);
        Ok(())
    }

    async fn gather_missed(&self, look: &ChainLook, scope: Scope, to: &mut ReportSoFar) -> Result<(), Error> {
        if scope.opened_ms().is_none() || scope.pipeline().is_none() {
            to.block(&scope, Sums::default());
            to.timeline.add(timeline_row(&scope, scope.acknowledged_ms()), std::iter::empty());
            to.misses.push(never_opened(look, &scope));
            return Ok(());
        }
        let pipeline = self.pipeline(scope.chain(), scope.pipeline()).await?;
        let found = self.scope_tasks(&scope, &pipeline).await?;
        let sums = to.scope(&scope, &pipeline, &found, scope.acknowledged_ms());
        to.block(&scope, sums);
        let work = self.scope_work(scope, &mut Budget::new(MAX_TASKS_A_MISS)).await?;
        to.misses.push(miss(look, &work, &found.tasks));
        Ok(())
    }

    async fn gather_scope(
        &self,
        scope: &Scope,
        acknowledged_ms: u64,
        to: &mut ReportSoFar,
    ) -> Result<Sums, Error> {
        let pipeline = self.pipeline(scope.chain(), scope.pipeline()).await?;
        let found = self.scope_tasks(scope, &pipeline).await?;
        Ok(to.scope(scope, &pipeline, &found, acknowledged_ms))
    }

    async fn scope_tasks(&self, scope: &Scope, pipeline: &Pipeline) -> Result<ScopeTasks, Error> {
        let commit = &pipeline.stages[pipeline.commit].name;
        let committing = self.committing_stages(scope, commit).await?;
        let mut tasks = Vec::new();
        for index in stages_of(pipeline, scope) {
            let stage = &pipeline.stages[index];
            if stage.after_commit || stage.provers.is_empty() {
                continue;
            }
            let mut pages = Pages::of(TaskId::range(scope.id(), &stage.name, TASKS_A_PAGE));
            while let Some(page) = pages.next(&self.port).await? {
                tasks.extend(page.into_iter().map(|(_, _, task)| task));
            }
        }
        Ok(ScopeTasks { tasks, committing })
    }

    async fn waiting_blocks(&self, look: &ChainLook, deadline_ms: u64) -> Result<Waiting, Error> {
        let end = look.tip.height().map_or(0, |tip| tip.saturating_add(1));
        let mut waiting = Waiting { blocks: end.saturating_sub(look.frontier.height), ..Waiting::default() };
        for height in look.frontier.height..end.min(look.frontier.height.saturating_add(MAX_WAITING)) {
            let Some(scope) = self.block_scope(look.chain(), height).await? else { continue };
            let is_over = scope.acknowledged_ms().saturating_add(deadline_ms) < look.now_ms;
            waiting.over_deadline += u64::from(is_over);
        }
        Ok(waiting)
    }
}

impl ReportSoFar {
    /// Counts the tasks of a block or cut.
    fn scope(
        &mut self,
        scope: &Scope,
        pipeline: &Pipeline,
        found: &ScopeTasks,
        acknowledged_ms: u64,
    ) -> Sums {
        let mut sums = Sums::default();
        let until_ms = acknowledged_ms.saturating_add(self.deadline_ms);
        let is_committed = !scope.is_missed();
        for task in &found.tasks {
            let Some((_, stage)) = pipeline.stage(&task.id().stage) else { continue };
            let commits = found.committing.contains(&stage.name);
            self.provers.add(&Judged { stage, task, commits, until_ms });
            sums.tasks += 1;
            sums.attempts += u64::from(task.started());
            sums.failures += u64::from(task.failures());
            sums.losses += u64::from(task.losses());
            sums.crashes += u64::from(task.crashes());
            sums.delays += u64::from(task.delays());
            sums.used = sums.used.with(Used::of(task));
            let Some(result) = task.accepted().filter(|_| is_committed) else { continue };
            if commits {
                sums.proof_bytes += result.artifact.bytes;
                self.proofs.bytes.push(result.artifact.bytes);
            }
            if stage.output == Output::Proof {
                self.proofs.state(result.security_bits, result.trusted_setup);
            }
        }
        self.tasks += found.tasks.len();
        if self.timeline.has_room() {
            self.timeline.add(timeline_row(scope, acknowledged_ms), found.tasks.iter());
        }
        sums
    }

    /// Adds a block that no cut has part in.
    fn block(&mut self, scope: &Scope, sums: Sums) {
        self.spending.add_to_sum(sums.used);
        self.row(scope, scope, sums, None);
    }

    /// Adds a block that the cut at hand committed, with tasks of its own.
    fn block_of_cut(&mut self, scope: &Scope, own: Sums) {
        self.spending.add_to_sum(own.used);
        let Some(cut) = self.cut.as_mut() else { return };
        cut.seen += 1;
        let (proved_by, sums) = (cut.scope.clone(), own.with(cut.sums, cut.scope.blocks()));
        self.row(scope, &proved_by, sums, Some(proved_by.heights().0));
    }

    /// Sums what the cut at hand used for those of its blocks that are in the report: once, so that each attempt counts once.
    fn close_cut(&mut self) {
        if let Some(cut) = self.cut.take() {
            self.spending.add_to_sum(cut.sums.used.parts(cut.seen, cut.scope.blocks()));
        }
    }

    /// Adds a block, whose proof is that of `proved_by`.
    fn row(&mut self, scope: &Scope, proved_by: &Scope, sums: Sums, cut_from: Option<u64>) {
        let Some(block) = scope.block() else { return };
        let missed = scope.is_missed();
        let proved_ms = proved_by.proved_ms().filter(|_| !missed);
        self.blocks.push(BlockFigures {
            height: block.height,
            hash: block.hash.clone(),
            cut_from,
            missed,
            acknowledged_ms: scope.acknowledged_ms(),
            proved_ms,
            committed_ms: proved_by.committed_ms(),
            latency_ms: proved_ms.map(|proved_ms| proved_ms.saturating_sub(scope.acknowledged_ms())),
            proof_bytes: sums.proof_bytes,
            tasks: sums.tasks,
            attempts: sums.attempts,
            failures: sums.failures,
            losses: sums.losses,
            crashes: sums.crashes,
            delays: sums.delays,
            spending: sums.used.spending(),
        });
        self.spending.add_to_each(sums.used);
    }

    fn report(
        mut self,
        look: &ChainLook,
        deadline_is: DeadlineIs,
        left_out: u64,
        waiting: Waiting,
    ) -> Report {
        self.close_cut();
        self.blocks.reverse();
        let blocks = self.blocks;
        let blocks_missed = blocks.iter().filter(|block| block.missed).count() as u64;
        let blocks_committed = blocks.len() as u64 - blocks_missed;
        let mut latencies: Vec<u64> = blocks.iter().filter_map(|block| block.latency_ms).collect();
        latencies.sort_unstable();
        let latency = latency(&latencies, blocks.len(), self.deadline_ms);
        let proofs = self.proofs.figures();
        let goals = goals(&Measured {
            committed: blocks_committed,
            missed: blocks_missed,
            under_10_s: latencies.partition_point(|latency_ms| *latency_ms < GOAL_DEADLINE_MS) as u64,
            latency: &latency,
            proofs: &proofs,
        });
        Report {
            chain: look.chain().clone(),
            now_ms: look.now_ms,
            pipeline: look.state.pipeline.clone(),
            deadline_ms: self.deadline_ms,
            deadline_is,
            from: blocks.first().map(|block| block.height),
            to: blocks.last().map(|block| block.height),
            heights_left_out: left_out,
            first_acknowledged_ms: blocks.iter().map(|block| block.acknowledged_ms).min(),
            last_proved_ms: blocks.iter().filter_map(|block| block.proved_ms).max(),
            blocks_committed,
            blocks_missed,
            waiting,
            latency,
            proofs,
            spending: self.spending.figures(),
            goals,
            provers: self.provers.figures(&look.pipeline.stages),
            misses: self.misses,
            blocks,
            timeline: self.timeline.rows,
        }
    }
}

impl Proofs {
    fn state(&mut self, security_bits: Option<u32>, trusted_setup: Option<bool>) {
        self.security_bits_min = self.security_bits_min.into_iter().chain(security_bits).min();
        self.security_unstated += u64::from(security_bits.is_none());
        let stated = TrustedSetup::from(trusted_setup);
        self.trusted_setup = Some(self.trusted_setup.map_or(stated, |before| before.with(stated)));
    }

    fn figures(mut self) -> ProofFigures {
        self.bytes.sort_unstable();
        ProofFigures {
            proofs: self.bytes.len() as u64,
            bytes_p50: percentile(&self.bytes, 50),
            bytes_max: self.bytes.last().copied(),
            security_bits_min: self.security_bits_min,
            security_unstated: self.security_unstated,
            trusted_setup: self.trusted_setup.unwrap_or_default(),
        }
    }
}

impl Sums {
    /// A block's own with those of the cut that committed it, of so many blocks.
    fn with(self, cut: Self, blocks: u64) -> Self {
        Self {
            tasks: self.tasks + cut.tasks,
            attempts: self.attempts + cut.attempts,
            failures: self.failures + cut.failures,
            losses: self.losses + cut.losses,
            crashes: self.crashes + cut.crashes,
            delays: self.delays + cut.delays,
            proof_bytes: cut.proof_bytes,
            used: self.used.with(cut.used.parts(1, blocks)),
        }
    }
}

/// `sorted` has the proved ones of so many blocks.
fn latency(sorted: &[u64], blocks: usize, deadline_ms: u64) -> Latency {
    let within = sorted.partition_point(|latency_ms| *latency_ms <= deadline_ms) as u64;
    Latency {
        p50_ms: percentile_of(sorted, blocks, 50),
        p90_ms: percentile_of(sorted, blocks, 90),
        p99_ms: percentile_of(sorted, blocks, 99),
        max_ms: sorted.last().copied(),
        within_deadline: within,
        within_deadline_share: share(within, blocks as u64),
    }
}

fn timeline_row(scope: &Scope, acknowledged_ms: u64) -> TimelineRow {
    let (from, to) = scope.heights();
    TimelineRow {
        from,
        to,
        cut_by: scope.cut().map(|cut| cut.stage.clone()),
        missed: scope.is_missed(),
        acknowledged_ms,
        proved_ms: scope.proved_ms(),
        committed_ms: scope.committed_ms(),
        tasks: Vec::new(),
        tasks_left_out: 0,
    }
}
