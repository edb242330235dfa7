//! The next cut of a `sequential` stage: by which pipeline, of which blocks, and whether it closes now.
//!
//! Blocks keep the pipeline that they were opened with, so a cut that gathers their outputs must be of a pipeline that
//! gathers the same. That is the one in force, or else their own; where two neighbours differ, the cut ends between them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pages::height_pages;
use crate::pipeline::{CutRule, Pipeline};
use crate::state::{Block, Canonical, ChainName, Cursor, PipelineHash};
use crate::strategy::sequential::{Around, Candidate, Closed, Lacking, close, lacking, until_fork};
use crate::transaction::read;
use crate::yard::Yard;

/// Heights passed over at once.
const MAX_PASSED: u64 = 256;
/// Why a cut ends where blocks were opened with another pipeline.
const PIPELINE_CHANGED: &str = "changed pipeline";

/// A block that may be in the next cut.
pub(crate) struct Waiting {
    pub(super) place: Canonical,
    pub(super) block: Block,
    pub(super) candidate: Candidate,
    /// The hash of the pipeline that it was opened with.
    pipeline: PipelineHash,
}

pub(crate) struct NextCut {
    /// The cursor that was seen.
    pub(super) cursor: Option<Cursor>,
    /// Its first height.
    pub(crate) from: u64,
    /// Heights that are passed over first: their blocks are of a pipeline that has no such stage.
    pub(super) passed: u64,
    /// The pipeline that it is made by, its hash, and the rule there.
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) hash: PipelineHash,
    pub(crate) rule: CutRule,
    /// Blocks that it can hold at most: its size, or what is left before a prover or what it gathers changes.
    pub(crate) most: u64,
    /// What ends it there is that the blocks behind were opened with another pipeline.
    pub(crate) changes: bool,
    /// Blocks that it could hold now.
    pub(crate) have: u64,
    /// Since when its first block waits, where that was looked at.
    pub(crate) since_ms: Option<u64>,
    pub(super) waiting: Vec<Waiting>,
    /// What closes it now.
    pub(crate) closed: Option<Closed>,
    /// Why it can never close, as things are: a block lacks what the rule looks at.
    pub(crate) lacking: Option<String>,
}

impl NextCut {
    /// The next look at the chain takes a step with it.
    pub(crate) fn moves(&self) -> bool {
        self.passed > 0 || self.closed.is_some()
    }

    /// How many blocks are left before a prover or what it gathers changes; it holds no more than that.
    fn until_change(&mut self, look: &ChainLook, stage: &str, index: usize) -> Option<u64> {
        let by = self.pipeline.stage(stage).map_or(index, |(by, _)| by);
        // Whoever is opened from there on has the pipeline in force.
        let until_pipeline = self.changes.then(|| look.state.pipeline_from - self.from);
        let until_fork = until_fork(&self.pipeline.forks_of_cut(by), self.from);
        let until = until_fork.into_iter().chain(until_pipeline).min();
        self.changes = until_pipeline.is_some() && until == until_pipeline;
        self.most = until.map_or(self.rule.size, |blocks| blocks.min(self.rule.size));
        self.have = self.have.min(self.most);
        until
    }
}

/// Some of what is open there may have been opened with another pipeline than the one in force.
fn is_mixed(look: &ChainLook, from: u64) -> bool {
    from < look.state.pipeline_from
}

impl Yard {
    /// What the cut at the cursor of stage `index` of the pipeline in force is. Its blocks are read only where it may
    /// close.
    pub(crate) async fn next_cut(
        &self,
        look: &ChainLook,
        index: usize,
        rule: &CutRule,
    ) -> Result<NextCut, Error> {
        let name = &look.pipeline.stages[index].name;
        let mut next = self.cut_at_cursor(look, index, rule).await?;
        if next.passed > 0 {
            return Ok(next);
        }
        let end = next.from + next.have;
        let until = next.until_change(look, name, index);
        let ended = look.tip.ended && look.tip.height().is_some_and(|tip| tip < end);
        let rule = &next.rule;
        let may_be_short = rule.budget.is_some() || rule.cut_on.is_some() || rule.max_wait_ms.is_some();
        let may_close = next.have == next.most || may_be_short || ended || is_mixed(look, next.from);
        if next.have > 0 && may_close {
            self.gather_blocks(look, index, &mut next, until, ended.then_some(end)).await?;
        }
        Ok(next)
    }

    /// The cut by its pipeline and first height, and how many blocks are there for it at most.
    async fn cut_at_cursor(&self, look: &ChainLook, index: usize, rule: &CutRule) -> Result<NextCut, Error> {
        let (chain, name) = (look.chain(), &look.pipeline.stages[index].name);
        let cursor: Option<Cursor> = read(&self.port, &Cursor::key_of(chain, name)).await?;
        let from = cursor.as_ref().map_or(look.state.start_height, |cursor| cursor.next);
        let commits = look.pipeline.commit_cut() == Some(index);
        let end = if commits { look.frontier.opened } else { look.frontier.height };
        let mut next = NextCut {
            cursor,
            from,
            passed: 0,
            pipeline: Arc::clone(&look.pipeline),
            hash: look.state.pipeline.clone(),
            rule: rule.clone(),
            most: rule.size,
            changes: false,
            have: end.saturating_sub(from),
            since_ms: None,
            waiting: Vec::new(),
            closed: None,
            lacking: None,
        };
        if next.have > 0 && is_mixed(look, from) {
            next.passed = self.passed_over(chain, name, from, end.min(look.state.pipeline_from)).await?;
            if next.passed == 0 {
                next.changes = self.take_own(look, name, &mut next).await?;
            }
        }
        Ok(next)
    }

    /// Reads the cut's blocks, as far as they may be in one, and asks the rule whether it closes. `ended_at`: the input ended
    /// before this height.
    async fn gather_blocks(
        &self,
        look: &ChainLook,
        index: usize,
        next: &mut NextCut,
        until_change: Option<u64>,
        ended_at: Option<u64>,
    ) -> Result<(), Error> {
        let (from, mut until_fork) = (next.from, until_change);
        let commits = look.pipeline.commit_cut() == Some(index);
        let mut waiting = self.waiting(look.chain(), from, from + next.have, commits).await?;
        let ended = ended_at.is_some_and(|end| from + waiting.len() as u64 == end);
        if is_mixed(look, from) {
            let name = &look.pipeline.stages[index].name;
            let alike = self.alike(look.chain(), name, &waiting).await?;
            if alike < waiting.len() {
                until_fork = Some(alike as u64);
                next.most = alike as u64;
                next.changes = true;
                waiting.truncate(alike);
            }
        }
        let candidates: Vec<_> = waiting.iter().map(|block| block.candidate.clone()).collect();
        let around = Around { until_fork, ended, now_ms: self.time_for_lateness_ms() };
        next.closed = close(&next.rule, &candidates, around).map(|closed| match closed.reason {
            "fork" if next.changes => Closed { reason: PIPELINE_CHANGED, ..closed },
            _ => closed,
        });
        next.lacking = lacking(&next.rule, &candidates, around)
            .map(|Lacking { index, what }| format!("block {} {what}", from + index as u64));
        next.have = waiting.len() as u64;
        next.since_ms = candidates.first().map(|first| first.since_ms);
        next.waiting = waiting;
        Ok(())
    }

    /// How many heights from `from` on, below `to`, have blocks of pipelines without this stage.
    async fn passed_over(&self, chain: &ChainName, stage: &str, from: u64, to: u64) -> Result<u64, Error> {
        let mut passed = 0;
        for scope in self.block_scopes(chain, from..to.min(from + MAX_PASSED)).await? {
            let Some((_, scope)) = scope else { break };
            // One that was missed may never have been opened.
            let opened = !scope.pipeline().is_none();
            if opened && self.pipeline(chain, scope.pipeline()).await?.gathers(stage).is_some() {
                break;
            }
            passed += 1;
        }
        Ok(passed)
    }

    /// Makes the cut one of its first block's own pipeline, where the one in force gathers something else; says whether
    /// that is so.
    async fn take_own(&self, look: &ChainLook, stage: &str, next: &mut NextCut) -> Result<bool, Error> {
        // A reorg since that look may have put one there that nobody has opened.
        let scope = self.block_scope(look.chain(), next.from).await?;
        let Some(scope) = scope.filter(|scope| !scope.pipeline().is_none()) else { return Ok(false) };
        let own = self.pipeline(look.chain(), scope.pipeline()).await?;
        if *scope.pipeline() == look.state.pipeline || own.gathers(stage) == look.pipeline.gathers(stage) {
            return Ok(false);
        }
        let Some(rule) = own.stage(stage).and_then(|(_, stage)| stage.cut_rule()) else { return Ok(false) };
        next.rule = rule.clone();
        next.hash.clone_from(scope.pipeline());
        next.pipeline = own;
        Ok(true)
    }

    /// How many of these blocks, from the first, may be in one cut.
    async fn alike(&self, chain: &ChainName, stage: &str, waiting: &[Waiting]) -> Result<usize, Error> {
        let mut known: HashMap<&PipelineHash, Option<String>> = HashMap::new();
        for (index, block) in waiting.iter().enumerate() {
            if !known.contains_key(&block.pipeline) {
                let gathers = self.pipeline(chain, &block.pipeline).await?.gathers(stage);
                known.insert(&block.pipeline, gathers);
            }
            if known[&block.pipeline] != known[&waiting[0].pipeline] {
                return Ok(index);
            }
        }
        Ok(waiting.len())
    }

    /// Canonical blocks with `from <= height < to`, as far as they are contiguous and opened.
    async fn waiting(
        &self,
        chain: &ChainName,
        from: u64,
        to: u64,
        commits: bool,
    ) -> Result<Vec<Waiting>, Error> {
        let mut waiting: Vec<Waiting> = Vec::new();
        for heights in height_pages(from..to) {
            for found in self.block_scopes(chain, heights).await? {
                let opened = found.filter(|(_, scope)| !scope.pipeline().is_none());
                let Some((place, scope)) = opened else { return Ok(waiting) };
                let since_ms =
                    if commits { scope.opened_ms() } else { scope.committed_ms().or(scope.opened_ms()) };
                let since_ms = since_ms.unwrap_or(scope.recorded_ms());
                let Some(block) = scope.block().cloned() else { return Ok(waiting) };
                if waiting.last().is_some_and(|below| below.block.hash != block.parent) {
                    return Ok(waiting);
                }
                let candidate = Candidate { fields: block.fields.clone(), since_ms };
                waiting.push(Waiting { place, candidate, block, pipeline: scope.pipeline().clone() });
            }
        }
        Ok(waiting)
    }

    /// Since when the block at this height waits to be in a cut.
    pub(crate) async fn waits_since(&self, chain: &ChainName, height: u64) -> Result<Option<u64>, Error> {
        let waiting = self.waiting(chain, height, height + 1, false).await?;
        Ok(waiting.first().map(|block| block.candidate.since_ms))
    }
}
