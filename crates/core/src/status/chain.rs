//! `status`: one chain at a glance, and the chains there are.

use std::collections::BTreeSet;

use super::look::Budget;
use super::rows::{parked_task, row};
use super::work::{MAX_TASKS, ScopeWork};
use super::{
    ChainStatus, HaltStatus, ReorgStatus, SinkPlace, SinkStatus, StageStatus, TaskCounts, TipStatus,
};
use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pipeline::{Late, Pipeline};
use crate::state::{ChainName, ChainState, KnownChain, Scope};
use crate::transaction::read_range;
use crate::yard::{Yard, boxed};

/// Chains of one yard; a pool serves no more either.
const MAX_CHAINS: usize = 256;

impl Yard {
    /// Where a chain is; `with_tasks` adds a row for each open task.
    #[boxed(?Send)]
    pub async fn status(&self, chain: &ChainName, with_tasks: bool) -> Result<ChainStatus, Error> {
        let look = self.look(chain).await?;
        let mut budget = Budget::new(MAX_TASKS);
        let mut scopes = Vec::new();
        for scope in self.open_scopes(&look, &mut budget).await? {
            scopes.push(self.scope_work(scope, &mut budget).await?);
        }
        let mut open: Vec<_> = scopes.iter().flat_map(ScopeWork::tasks).collect();
        open.sort_by(|a, b| (a.rank(), a.id()).cmp(&(b.rank(), b.id())));
        let stages = stages(&look, &scopes);
        let pools_without_workers = self.pools_without_workers(&stages, &look.pipeline).await?;
        let lag_blocks =
            look.tip.height().map_or(0, |tip| tip.saturating_add(1).saturating_sub(look.frontier.height));
        let oldest = self.block_scope(chain, look.frontier.height).await?;
        let tip = self.tip_status(&look).await?;
        let halted = self.halt_status(&look.state).await?;
        let has_source = look.pipeline.node.is_some() || look.pipeline.engine.is_some();
        let (following, finality) = match has_source {
            true => (self.following(chain).await?, self.finality(chain).await?),
            false => (None, None),
        };
        Ok(ChainStatus {
            chain: chain.clone(),
            now_ms: look.now_ms,
            pipeline: look.state.pipeline.clone(),
            epoch: look.state.epoch,
            start_height: look.state.start_height,
            tip,
            ended: look.tip.ended,
            following,
            finality,
            frontier: look.frontier.height,
            window: look.frontier.window,
            opened: look.frontier.opened,
            heights_passed: look.frontier.height.saturating_sub(look.state.start_height),
            gives_up_late: matches!(look.pipeline.chain.late, Late::Miss { .. }),
            paused: look.state.paused,
            halted,
            reorg: look.state.reorg.as_ref().map(|reorg| ReorgStatus { from: reorg.from, head: reorg.head }),
            lag_blocks,
            lag_ms: oldest.map_or(0, |block| look.now_ms.saturating_sub(block.acknowledged_ms())),
            stages,
            pools_without_workers,
            parked: open.iter().filter_map(|task| parked_task(task)).collect(),
            sinks: self.sinks(&look).await?,
            tasks: with_tasks.then(|| open.iter().map(|task| row(task)).collect()),
            truncated: budget.truncated,
        })
    }

    /// Pools in which tasks wait and no worker is alive.
    async fn pools_without_workers(
        &self,
        stages: &[StageStatus],
        pipeline: &Pipeline,
    ) -> Result<Vec<String>, Error> {
        let waiting = stages.iter().filter(|stage| stage.tasks.waiting > 0).map(|stage| &stage.pool);
        // Who works for an action may come for a task, and go.
        let waiting: BTreeSet<&String> = waiting.filter(|pool| !pipeline.is_action(pool)).collect();
        let mut without = Vec::new();
        for pool in waiting {
            if self.has_live_worker(pool).await? == Some(false) {
                without.push(pool.clone());
            }
        }
        Ok(without)
    }

    async fn tip_status(&self, look: &ChainLook) -> Result<Option<TipStatus>, Error> {
        let Some((height, hash)) = look.tip.head.clone() else { return Ok(None) };
        let block = self.block_scope(look.chain(), height).await?;
        let age_ms = |block: Scope| look.now_ms.saturating_sub(block.acknowledged_ms());
        Ok(Some(TipStatus { height, hash, age_ms: block.map_or(0, age_ms) }))
    }

    async fn halt_status(&self, state: &ChainState) -> Result<Option<HaltStatus>, Error> {
        let Some(halt) = state.halted.clone() else { return Ok(None) };
        let causes = self.open_halts(state).await?;
        Ok(Some(HaltStatus {
            reason: halt.reason,
            at_ms: halt.at_ms,
            halts: state.halts,
            open: state.halts.saturating_sub(state.halts_ended).max(1),
            causes: causes.into_iter().map(|cause| cause.halt.reason).collect(),
        }))
    }

    /// The names of this yard's chains, in their order, at most 256.
    #[boxed(?Send)]
    pub async fn chains(&self) -> Result<Vec<ChainName>, Error> {
        let known = read_range::<KnownChain>(&self.port, &KnownChain::range(MAX_CHAINS)).await?;
        Ok(known.into_iter().map(|(_, _, known)| known.chain).collect())
    }

    pub(crate) async fn sinks(&self, look: &ChainLook) -> Result<Vec<SinkStatus>, Error> {
        let mut sinks = Vec::new();
        for (name, settings) in &look.pipeline.sinks {
            let status = SinkStatus {
                sink: name.clone(),
                stage: look.pipeline.stages[settings.stage].name.clone(),
                place: SinkPlace::Blocks { settled_below: 0, refused: 0, last_refused: None },
                behind: 0,
                confirm: settings.confirm,
                paused: false,
                failures: 0,
                last_error: None,
                next_try_ms: None,
                next_call_ms: None,
            };
            let log = look.pipeline.log_of(settings.stage);
            sinks.extend(match settings.is_level() {
                true => self.level_status(look, status).await?,
                false => Some(self.log_status(look, log, status).await?),
            });
        }
        Ok(sinks)
    }

    async fn log_status(&self, look: &ChainLook, log: &str, status: SinkStatus) -> Result<SinkStatus, Error> {
        let cursor = self.sink_cursor(look.chain(), &status.sink, log).await?;
        let written = self.out_sequence(log, &look.frontier).await?;
        Ok(SinkStatus {
            place: SinkPlace::Log { log: log.to_owned(), next_sequence: cursor.next_sequence },
            behind: written.saturating_sub(cursor.next_sequence),
            paused: cursor.paused,
            failures: cursor.failures,
            last_error: cursor.last_error,
            next_try_ms: cursor.next_try_ms,
            next_call_ms: cursor.next_call_ms.filter(|_| cursor.chosen.is_none()),
            ..status
        })
    }

    async fn level_status(&self, look: &ChainLook, status: SinkStatus) -> Result<Option<SinkStatus>, Error> {
        let place = self.level_place(look.chain(), &status.sink).await?;
        let next = look.tip.height().map_or(look.state.start_height, |tip| tip.saturating_add(1));
        Ok(place.map(|place| SinkStatus {
            place: SinkPlace::Blocks {
                settled_below: place.settled_below,
                refused: place.refused,
                last_refused: place.last_refused,
            },
            behind: next.max(place.told_below).saturating_sub(place.settled_below),
            paused: place.paused,
            failures: place.failures,
            last_error: place.last_error,
            next_try_ms: place.next_try_ms,
            ..status
        }))
    }
}

/// The pipeline's stages with the sums over all open scopes. A scope may have opened with an older pipeline; stages
/// that are gone since come last.
fn stages(look: &ChainLook, scopes: &[ScopeWork]) -> Vec<StageStatus> {
    let of = |pipeline: &crate::Pipeline, index: usize| StageStatus {
        stage: pipeline.stages[index].name.clone(),
        pool: pipeline.stages[index].pool.clone(),
        commits: pipeline.commit == index,
        tasks: TaskCounts::default(),
    };
    let mut stages: Vec<_> = (0..look.pipeline.stages.len()).map(|index| of(&look.pipeline, index)).collect();
    for scope in scopes {
        for work in &scope.stages {
            let name = &scope.pipeline.stages[work.index].name;
            let position = stages.iter().position(|status| status.stage == *name).unwrap_or_else(|| {
                stages.push(of(&scope.pipeline, work.index));
                stages.len() - 1
            });
            stages[position].tasks = stages[position].tasks.sum(work.counts);
        }
    }
    stages
}
