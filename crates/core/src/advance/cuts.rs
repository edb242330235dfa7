//! Cuts: closing ranges of contiguous canonical blocks, and emitting finished ones in order. Only this creates cuts, and writes
//! proofs into the logs of other stages than the one that commits.

use super::commit::wake_sinks;
use super::next_cut::{NextCut, Waiting};
use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pipeline::{Pipeline, Stage};
use crate::port::Wake;
use crate::scope_stages::goal_of;
use crate::state::{
    COMMITS, ChainName, Cursor, Cut, CutAt, CutMember, Frontier, OutState, Scope, ScopeId, Subject,
};
use crate::strategy::sequential::Closed;
use crate::transaction::{Tx, read, transact};
use crate::yard::{ChainReads, Yard};

impl Yard {
    /// Closes at most one cut of each `sequential` stage; says whether any closed.
    pub(crate) async fn close_cuts(&self, chain: &ChainName, pipeline: &Pipeline) -> Result<bool, Error> {
        let mut any = false;
        for (_, stage, _) in pipeline.cut_stages() {
            any |= self.close_cut(chain, &stage.name).await?;
        }
        Ok(any)
    }

    async fn close_cut(&self, chain: &ChainName, stage: &str) -> Result<bool, Error> {
        let look = self.look(chain).await?;
        let ChainLook { state, .. } = &look;
        if !state.takes_work() || state.reorg.is_some() {
            return Ok(false);
        }
        let Some((index, rule)) =
            look.pipeline.stage(stage).and_then(|(index, stage)| Some((index, stage.cut_rule()?)))
        else {
            return Ok(false);
        };
        let next = self.next_cut(&look, index, rule).await?;
        if !next.moves() {
            return Ok(false);
        }
        transact(&self.port, async |tx| {
            let now = tx.check_chain(chain).await?;
            let cursor: Option<Cursor> = tx.check(&Cursor::key_of(chain, stage)).await?;
            // The epoch vouches for every block that was read: what is canonical changes only with it.
            let stays = now.epoch == state.epoch && now.pipeline == state.pipeline;
            if !stays || now.reorg.is_some() || !now.takes_work() || cursor != next.cursor {
                return Ok(false);
            }
            tx.check::<CutAt>(&CutAt::key_of(chain, stage, next.from)).await?;
            let (to, scope) = match &next.closed {
                None => (next.from + next.passed - 1, ScopeId::none()),
                Some(closed) => {
                    let scope = self.new_cut(&next, stage, closed, now.epoch);
                    tx.send(Wake::Scope { scope: scope.id().clone() });
                    tx.put(&scope)?;
                    (scope.heights().1, scope.id().clone())
                }
            };
            let (chain, stage, from) = (chain.clone(), stage.to_owned(), next.from);
            tx.put(&Cursor { chain: chain.clone(), stage: stage.clone(), next: to + 1 })?;
            tx.put(&CutAt { chain, stage, from, to, scope })?;
            Ok(true)
        })
        .await
    }

    fn new_cut(&self, next: &NextCut, stage: &str, closed: &Closed, epoch: u64) -> Scope {
        let now_ms = self.port.now_ms();
        let pipeline = &next.pipeline;
        let chain = &pipeline.chain.name;
        let blocks = &next.waiting[..closed.blocks];
        let (first, last) = (&blocks[0].block, &blocks[blocks.len() - 1].block);
        let member = |waiting: &Waiting| CutMember {
            hash: waiting.place.hash.clone(),
            generation: waiting.place.generation,
        };
        let id = ScopeId::of_cut(chain, stage, first.height, last.height, epoch);
        let cut = Cut {
            stage: stage.to_owned(),
            from: first.height,
            to: last.height,
            first_parent: first.parent.clone(),
            last_hash: last.hash.clone(),
            timestamp_s: first.timestamp_s,
            closed_by: closed.reason.to_owned(),
            members: blocks.iter().map(member).collect(),
        };
        let mut scope = Scope::new(id, chain, Subject::Cut(cut), now_ms);
        scope.adopt(None);
        scope.open(&next.hash, now_ms, Some(self.due_in(pipeline.chain.tick_ms)));
        scope
    }

    /// Emits the next finished cut of each after-commit stage; says whether any was.
    pub(crate) async fn emit_next(&self, chain: &ChainName, pipeline: &Pipeline) -> Result<bool, Error> {
        let mut any = false;
        for (index, stage, _) in pipeline.cut_stages() {
            if pipeline.commit_cut() != Some(index) {
                any |= self.emit_cut(chain, pipeline, stage).await?;
            }
        }
        Ok(any)
    }

    async fn emit_cut(&self, chain: &ChainName, pipeline: &Pipeline, stage: &Stage) -> Result<bool, Error> {
        let start_height = self.chain_state(chain).await?.start_height;
        let seen = self.out_state(chain, stage, start_height).await?;
        let key = CutAt::key_of(chain, &stage.name, seen.next_from);
        let Some(at): Option<CutAt> = read(&self.port, &key).await? else { return Ok(false) };
        if at.is_gap() {
            return transact(&self.port, async |tx| self.pass_gap(tx, &seen, &at).await).await;
        }
        let scope: Option<Scope> = read(&self.port, &Scope::key_of(&at.scope)).await?;
        let Some(scope) = scope.filter(Scope::is_proved) else { return Ok(false) };
        let own = self.pipeline(chain, scope.pipeline()).await?;
        transact(&self.port, async |tx| {
            let emitted = self.emit(tx, &own, &seen, &at).await?;
            if emitted {
                wake_sinks(tx, pipeline, &at.stage);
            }
            Ok(emitted)
        })
        .await
    }

    /// Nothing is handed on of heights that no cut covers.
    async fn pass_gap(&self, tx: &mut Tx<'_>, seen: &OutState, at: &CutAt) -> Result<bool, Error> {
        let out: Option<OutState> = tx.check(&OutState::key_of(&at.chain, &at.stage)).await?;
        let out = out.unwrap_or_else(|| seen.clone());
        let still: Option<CutAt> = tx.check(&CutAt::key_of(&at.chain, &at.stage, at.from)).await?;
        let stands = out.next_from == at.from && still.as_ref() == Some(at);
        if stands {
            tx.put(&OutState { next_from: at.to + 1, ..out })?;
        }
        Ok(stands)
    }

    /// `pipeline` is the cut's own.
    async fn emit(
        &self,
        tx: &mut Tx<'_>,
        pipeline: &Pipeline,
        seen: &OutState,
        at: &CutAt,
    ) -> Result<bool, Error> {
        let chain = &at.chain;
        let state = tx.check_chain(chain).await?;
        let out: Option<OutState> = tx.check(&OutState::key_of(chain, &at.stage)).await?;
        let out = out.unwrap_or_else(|| seen.clone());
        let still: Option<CutAt> = tx.check(&CutAt::key_of(chain, &at.stage, at.from)).await?;
        let scope: Option<Scope> = tx.check(&Scope::key_of(&at.scope)).await?;
        let Some(mut scope) = scope.filter(Scope::is_proved) else { return Ok(false) };
        if out.next_from != at.from || still.as_ref() != Some(at) || !state.commits(at.to) {
            return Ok(false);
        }
        let Some(proved_by) = goal_of(pipeline, &scope) else { return Ok(false) };
        let proofs = self.hand_on(tx, &state, &scope, pipeline, &pipeline.stages[proved_by]).await?;
        let Some(proofs) = proofs else { return Ok(false) };
        self.append_out(tx, &at.stage, proofs, &scope, out.next_sequence)?;
        tx.put(&OutState { next_from: at.to + 1, next_sequence: out.next_sequence + 1, ..out })?;
        scope.commit(self.port.now_ms());
        tx.put(&scope)?;
        let frontier = tx.check_frontier(chain).await?;
        tx.put(&Frontier { due_ms: Some(self.due_in(pipeline.chain.tick_ms)), ..frontier })?;
        Ok(true)
    }

    async fn out_state(
        &self,
        chain: &ChainName,
        stage: &Stage,
        start_height: u64,
    ) -> Result<OutState, Error> {
        let stored = read(&self.port, &OutState::key_of(chain, &stage.name)).await?;
        let first = || OutState {
            chain: chain.clone(),
            stage: stage.name.clone(),
            next_from: start_height,
            next_sequence: 0,
        };
        Ok(stored.unwrap_or_else(first))
    }

    /// The sequence that an out log gets next.
    pub(crate) async fn out_sequence(&self, log: &str, frontier: &Frontier) -> Result<u64, Error> {
        if log == COMMITS {
            return Ok(frontier.next_sequence);
        }
        let out: Option<OutState> = read(&self.port, &OutState::key_of(&frontier.chain, log)).await?;
        Ok(out.map_or(0, |out| out.next_sequence))
    }
}
