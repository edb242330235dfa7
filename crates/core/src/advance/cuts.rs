//! Cuts: closing ranges of contiguous canonical blocks, and emitting finished ones in order.

use crate::error::Error;
use crate::pipeline::{CutRule, Pipeline, Stage};
use crate::port::{Key, Port, Wake};
use crate::state::{
    Block, Branch, Canonical, Cursor, Cut, CutAt, CutMember, Frontier, OutState, Progress, Scope, Subject,
};
use crate::strategy::sequential::{Around, Candidate, Closed, close, until_fork};
use crate::transaction::{KEYS_A_READ, Tx, read, read_many, transact};
use crate::yard::{ChainReads, Yard};

/// A block that may be in the next cut.
pub(crate) struct Waiting {
    place: Canonical,
    block: Block,
    pub(crate) candidate: Candidate,
}

impl<P: Port> Yard<P> {
    /// Closes at most one cut of each `sequential` stage; says whether any closed.
    pub(crate) async fn close_cuts(&self, chain: &str, pipeline: &Pipeline) -> Result<bool, Error> {
        let mut any = false;
        for (index, _, rule) in pipeline.cut_stages() {
            any |= self.close_cut(chain, pipeline, index, rule).await?;
        }
        Ok(any)
    }

    async fn close_cut(
        &self,
        chain: &str,
        pipeline: &Pipeline,
        index: usize,
        rule: &CutRule,
    ) -> Result<bool, Error> {
        let (stage, commits) = (&pipeline.stages[index], pipeline.commit_cut() == Some(index));
        let state = self.chain_state(chain).await?;
        if !state.takes_work() || state.reorg.is_some() {
            return Ok(false);
        }
        let seen: Option<Cursor> = read(&self.port, &Cursor::key_of(chain, &stage.name)).await?;
        let next = seen.as_ref().map_or(state.start_height, |cursor| cursor.next);
        let frontier = self.frontier(chain).await?;
        let end = if commits { frontier.opened } else { frontier.height };
        let may_be_short = rule.budget.is_some() || rule.cut_on.is_some() || rule.max_wait_ms.is_some();
        let tip = self.tip(chain).await?;
        let ended = tip.ended && tip.height().is_some_and(|tip| tip < end);
        let until_fork = until_fork(&pipeline.forks_of_cut(index), next);
        let most = until_fork.map_or(rule.size, |blocks| blocks.min(rule.size));
        if next >= end || (end - next < most && !may_be_short && !ended) {
            return Ok(false);
        }
        let waiting = self.waiting(chain, next, end.min(next.saturating_add(most)), commits).await?;
        let candidates: Vec<_> = waiting.iter().map(|block| block.candidate.clone()).collect();
        let all_there = ended && next + waiting.len() as u64 == end;
        let around = Around { until_fork, ended: all_there, now_ms: self.port.now_ms() };
        let Some(closed) = close(rule, &candidates, around) else { return Ok(false) };
        transact(&self.port, async |tx| {
            let now = tx.check_chain(chain).await?;
            let cursor: Option<Cursor> = tx.check(&Cursor::key_of(chain, &stage.name)).await?;
            // The epoch vouches for every block that was read: what is canonical changes only with it.
            if now.epoch != state.epoch || now.reorg.is_some() || !now.takes_work() || cursor != seen {
                return Ok(false);
            }
            let scope =
                self.new_cut(pipeline, &now.pipeline, stage, &waiting[..closed.blocks], &closed, now.epoch);
            let (from, to) = scope.heights();
            tx.check::<CutAt>(&CutAt::key_of(chain, &stage.name, from)).await?;
            tx.put(&CutAt {
                chain: chain.into(),
                stage: stage.name.clone(),
                from,
                to,
                scope: scope.id.clone(),
            })?;
            tx.put(&Cursor { chain: chain.into(), stage: stage.name.clone(), next: to + 1 })?;
            tx.send(Wake::Scope { scope: scope.id.clone() });
            tx.put(&scope)?;
            Ok(true)
        })
        .await
    }

    /// Canonical blocks with `from <= height < to`, as far as they are contiguous.
    pub(crate) async fn waiting(
        &self,
        chain: &str,
        from: u64,
        to: u64,
        commits: bool,
    ) -> Result<Vec<Waiting>, Error> {
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
                let Some(scope) = scope else { return Ok(waiting) };
                let since_ms = if commits { scope.opened_ms } else { scope.committed_ms.or(scope.opened_ms) };
                let since_ms = since_ms.unwrap_or(scope.recorded_ms);
                let Some(block) = scope.block().cloned() else { return Ok(waiting) };
                if waiting.last().is_some_and(|below| below.block.hash != block.parent) {
                    return Ok(waiting);
                }
                waiting.push(Waiting {
                    place,
                    candidate: Candidate { fields: block.fields.clone(), since_ms },
                    block,
                });
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

    fn new_cut(
        &self,
        pipeline: &Pipeline,
        pipeline_hash: &str,
        stage: &Stage,
        blocks: &[Waiting],
        closed: &Closed,
        epoch: u64,
    ) -> Scope {
        let now_ms = self.port.now_ms();
        let chain = &pipeline.chain.name;
        let (first, last) = (&blocks[0].block, &blocks[blocks.len() - 1].block);
        let member = |waiting: &Waiting| CutMember {
            hash: waiting.place.hash.clone(),
            generation: waiting.place.generation,
        };
        let id = Scope::cut_id(chain, &stage.name, first.height, last.height, epoch);
        let cut = Cut {
            stage: stage.name.clone(),
            from: first.height,
            to: last.height,
            first_parent: first.parent.clone(),
            last_hash: last.hash.clone(),
            timestamp_s: first.timestamp_s,
            closed_by: closed.reason.to_owned(),
            members: blocks.iter().map(member).collect(),
        };
        Scope {
            branch: Branch::Canonical,
            progress: Progress::Open,
            pipeline: pipeline_hash.to_owned(),
            opened_ms: Some(now_ms),
            due_ms: Some(now_ms + pipeline.chain.tick_ms),
            ..Scope::new(id, chain, Subject::Cut(cut), now_ms)
        }
    }

    /// Emits the next finished cut of each after-commit stage; says whether any was.
    pub(crate) async fn emit_next(&self, chain: &str, pipeline: &Pipeline) -> Result<bool, Error> {
        let mut any = false;
        for (index, stage, _) in pipeline.cut_stages() {
            if pipeline.commit_cut() != Some(index) {
                any |= self.emit_cut(chain, pipeline, index, stage).await?;
            }
        }
        Ok(any)
    }

    async fn emit_cut(
        &self,
        chain: &str,
        pipeline: &Pipeline,
        index: usize,
        stage: &Stage,
    ) -> Result<bool, Error> {
        let start_height = self.chain_state(chain).await?.start_height;
        let seen = self.out_state(chain, stage, start_height).await?;
        let key = CutAt::key_of(chain, &stage.name, seen.next_from);
        let Some(at): Option<CutAt> = read(&self.port, &key).await? else { return Ok(false) };
        let scope: Option<Scope> = read(&self.port, &Scope::key_of(&at.scope)).await?;
        if scope.is_none_or(|scope| scope.progress != Progress::Proved) {
            return Ok(false);
        }
        transact(&self.port, async |tx| self.emit(tx, pipeline, index, stage, &seen, &at).await).await
    }

    async fn emit(
        &self,
        tx: &mut Tx<'_, P>,
        pipeline: &Pipeline,
        index: usize,
        stage: &Stage,
        seen: &OutState,
        at: &CutAt,
    ) -> Result<bool, Error> {
        let chain = &at.chain;
        let state = tx.check_chain(chain).await?;
        let out: Option<OutState> = tx.check(&OutState::key_of(chain, &stage.name)).await?;
        let out = out.unwrap_or_else(|| seen.clone());
        let still: Option<CutAt> = tx.check(&CutAt::key_of(chain, &stage.name, at.from)).await?;
        let scope: Option<Scope> = tx.check(&Scope::key_of(&at.scope)).await?;
        let ready = |scope: &Scope| scope.branch == Branch::Canonical && scope.progress == Progress::Proved;
        let Some(scope) = scope.filter(ready) else { return Ok(false) };
        if out.next_from != at.from || still.as_ref() != Some(at) || !state.commits(at.to) {
            return Ok(false);
        }
        let last = pipeline.final_stage_of_cut(index);
        self.append_out(tx, &pipeline.stages[last], &scope, out.next_sequence).await?;
        for (name, _) in pipeline.sinks.iter().filter(|(_, sink)| sink.stage == last) {
            tx.send(Wake::Sink { chain: chain.clone(), sink: name.clone() });
        }
        tx.put(&OutState { next_from: at.to + 1, next_sequence: out.next_sequence + 1, ..out })?;
        tx.put(&Scope { committed_ms: Some(self.port.now_ms()), ..scope })?;
        let frontier = tx.check_frontier(chain).await?;
        tx.put(&Frontier { due_ms: Some(self.port.now_ms() + pipeline.chain.tick_ms), ..frontier })?;
        tx.durable();
        Ok(true)
    }

    async fn out_state(&self, chain: &str, stage: &Stage, start_height: u64) -> Result<OutState, Error> {
        let stored = read(&self.port, &OutState::key_of(chain, &stage.name)).await?;
        let first = || OutState {
            chain: chain.to_owned(),
            stage: stage.name.clone(),
            next_from: start_height,
            next_sequence: 0,
        };
        Ok(stored.unwrap_or_else(first))
    }

    /// The sequence that the out log of a stage gets next.
    pub(crate) async fn out_sequence(
        &self,
        pipeline: &Pipeline,
        stage: usize,
        frontier: &Frontier,
    ) -> Result<u64, Error> {
        match pipeline.stages[stage].cut_by {
            Some(cut) if stage != pipeline.commit => {
                let key = OutState::key_of(&frontier.chain, &pipeline.stages[cut].name);
                Ok(read::<P, OutState>(&self.port, &key).await?.map_or(0, |out| out.next_sequence))
            }
            _ => Ok(frontier.next_sequence),
        }
    }
}
