//! The next cut of a `sequential` stage: by which pipeline, of which blocks, and whether it closes now.
//!
//! Blocks keep the pipeline that they were opened with, so a cut that gathers their outputs must be of a pipeline that
//! gathers the same. That is the one in force, or else their own; where two neighbours differ, the cut ends between them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Error;
use crate::pipeline::{CutRule, Pipeline, Strategy};
use crate::port::{Key, Port};
use crate::state::{Block, Canonical, Cursor, Scope};
use crate::status::work::ChainLook;
use crate::strategy::sequential::{Around, Candidate, Closed, Lacking, close, lacking, until_fork};
use crate::transaction::{KEYS_A_READ, read, read_many};
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
    pipeline: String,
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
    pub(super) hash: String,
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
}

impl<P: Port> Yard<P> {
    /// What the cut at the cursor of stage `index` of the pipeline in force is. Its blocks are read only where it may
    /// close.
    pub(crate) async fn next_cut(
        &self,
        look: &ChainLook,
        index: usize,
        rule: &CutRule,
    ) -> Result<NextCut, Error> {
        let chain = look.chain();
        let name = &look.pipeline.stages[index].name;
        let commits = look.pipeline.commit_cut() == Some(index);
        let cursor: Option<Cursor> = read(&self.port, &Cursor::key_of(chain, name)).await?;
        let from = cursor.as_ref().map_or(look.state.start_height, |cursor| cursor.next);
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
        let is_mixed = from < look.state.pipeline_from;
        if is_mixed && from < end {
            next.passed = self.passed_over(chain, name, from, end.min(look.state.pipeline_from)).await?;
            if next.passed > 0 {
                return Ok(next);
            }
            next.changes = self.take_own(look, name, &mut next).await?;
        }
        let (pipeline, rule) = (Arc::clone(&next.pipeline), next.rule.clone());
        let by = pipeline.stage(name).map_or(index, |(by, _)| by);
        // Whoever is opened from there on has the pipeline in force.
        let until_change = next.changes.then(|| look.state.pipeline_from - from);
        let fork = until_fork(&pipeline.forks_of_cut(by), from);
        let mut until = fork.into_iter().chain(until_change).min();
        next.changes = until_change.is_some() && until == until_change;
        next.most = until.map_or(rule.size, |blocks| blocks.min(rule.size));
        next.have = next.have.min(next.most);
        let ended = look.tip.ended && look.tip.height().is_some_and(|tip| tip < end);
        let may_be_short = rule.budget.is_some() || rule.cut_on.is_some() || rule.max_wait_ms.is_some();
        if next.have == 0 || (next.have < next.most && !may_be_short && !ended && !is_mixed) {
            return Ok(next);
        }
        let mut waiting = self.waiting(chain, from, from + next.have, commits).await?;
        let all_there = ended && from + waiting.len() as u64 == end;
        if is_mixed {
            let alike = self.alike(chain, name, &waiting).await?;
            if alike < waiting.len() {
                until = Some(alike as u64);
                next.most = alike as u64;
                next.changes = true;
                waiting.truncate(alike);
            }
        }
        let candidates: Vec<_> = waiting.iter().map(|block| block.candidate.clone()).collect();
        let around = Around { until_fork: until, ended: all_there, now_ms: look.now_ms };
        next.closed = close(&rule, &candidates, around).map(|closed| match closed.reason {
            "fork" if next.changes => Closed { reason: PIPELINE_CHANGED, ..closed },
            _ => closed,
        });
        next.lacking = lacking(&rule, &candidates, around)
            .map(|Lacking { index, what }| format!("block {} {what}", from + index as u64));
        next.have = waiting.len() as u64;
        next.since_ms = candidates.first().map(|first| first.since_ms);
        next.waiting = waiting;
        Ok(next)
    }

    /// How many heights from `from` on, below `to`, have blocks of pipelines without this stage.
    async fn passed_over(&self, chain: &str, stage: &str, from: u64, to: u64) -> Result<u64, Error> {
        let mut passed = 0;
        for height in from..to.min(from + MAX_PASSED) {
            let Some(scope) = self.block_scope(chain, height).await? else { break };
            // One that was missed may never have been opened.
            let opened = !scope.pipeline.is_empty();
            if opened && self.pipeline(chain, &scope.pipeline).await?.gathers(stage).is_some() {
                break;
            }
            passed += 1;
        }
        Ok(passed)
    }

    /// Makes the cut one of its first block's own pipeline, where the one in force gathers something else; says whether
    /// that is so.
    async fn take_own(&self, look: &ChainLook, stage: &str, next: &mut NextCut) -> Result<bool, Error> {
        let Some(scope) = self.block_scope(look.chain(), next.from).await? else { return Ok(false) };
        let own = self.pipeline(look.chain(), &scope.pipeline).await?;
        if scope.pipeline == look.state.pipeline || own.gathers(stage) == look.pipeline.gathers(stage) {
            return Ok(false);
        }
        let Some(Strategy::Sequential(rule)) = own.stage(stage).map(|(_, stage)| &stage.strategy) else {
            return Ok(false);
        };
        next.rule = rule.clone();
        next.hash.clone_from(&scope.pipeline);
        next.pipeline = own;
        Ok(true)
    }

    /// How many of these blocks, from the first, may be in one cut.
    async fn alike(&self, chain: &str, stage: &str, waiting: &[Waiting]) -> Result<usize, Error> {
        let mut known: HashMap<&str, Option<String>> = HashMap::new();
        for (index, block) in waiting.iter().enumerate() {
            if !known.contains_key(block.pipeline.as_str()) {
                let gathers = self.pipeline(chain, &block.pipeline).await?.gathers(stage);
                known.insert(&block.pipeline, gathers);
            }
            if known[block.pipeline.as_str()] != known[waiting[0].pipeline.as_str()] {
                return Ok(index);
            }
        }
        Ok(waiting.len())
    }

    /// Canonical blocks with `from <= height < to`, as far as they are contiguous and opened.
    async fn waiting(&self, chain: &str, from: u64, to: u64, commits: bool) -> Result<Vec<Waiting>, Error> {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut next = from;
        while next < to {
            let page_to = to.min(next + KEYS_A_READ as u64);
            let keys: Vec<Key> = (next..page_to).map(|height| Canonical::key_of(chain, height)).collect();
            let places = read_many::<P, Canonical>(&self.port, &keys).await?;
            let places: Vec<Canonical> = places.into_iter().map_while(|place| place).collect();
            let keys: Vec<Key> = places.iter().map(|place| Scope::key_of(&place.scope())).collect();
            let scopes = read_many::<P, Scope>(&self.port, &keys).await?;
            for (place, scope) in places.into_iter().zip(scopes) {
                let opened = scope.filter(|scope| !scope.pipeline.is_empty());
                let Some(scope) = opened else { return Ok(waiting) };
                let since_ms = if commits { scope.opened_ms } else { scope.committed_ms.or(scope.opened_ms) };
                let since_ms = since_ms.unwrap_or(scope.recorded_ms);
                let Some(block) = scope.block().cloned() else { return Ok(waiting) };
                if waiting.last().is_some_and(|below| below.block.hash != block.parent) {
                    return Ok(waiting);
                }
                let candidate = Candidate { fields: block.fields.clone(), since_ms };
                waiting.push(Waiting { place, candidate, block, pipeline: scope.pipeline });
            }
            if waiting.len() as u64 != page_to - from {
                break;
            }
            next = page_to;
        }
        Ok(waiting)
    }

    /// Since when the block at this height waits to be in a cut.
    pub(crate) async fn waits_since(&self, chain: &str, height: u64) -> Result<Option<u64>, Error> {
        let waiting = self.waiting(chain, height, height + 1, false).await?;
        Ok(waiting.first().map(|block| block.candidate.since_ms))
    }
}
