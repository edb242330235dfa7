//! A pipeline put in force: the chain appears with it, or opens its next scopes with it.
//!
//! What is open keeps the text that it opened with, to its end. So a change is refused, by name, only where something open
//! could not go on: a pool that it still needs, cuts that nobody would close any more, a sink that has not got all. What
//! was looked at for that is checked again in the transaction that puts the text in force.

use std::collections::BTreeSet;

use crate::error::{Error, Refusal};
use crate::pages::DuePages;
use crate::pages::height_pages;
use crate::pipeline::{Pipeline, Sink, SinkFrom};
use crate::port::{DueKind, Key, Wake};
use crate::scope_stages::stages_of;
use crate::state::worker::PoolChain;
use crate::state::{
    COMMITS, ChainName, ChainState, Cursor, CutAt, Frontier, Group, KnownChain, OutState, PipelineHash,
    PipelineText, Scope, SinkCursor, Tip,
};
use crate::transaction::{Tx, read, read_many, transact};
use crate::yard::{ChainReads, Yard, boxed, parsed};

/// How often what was looked at may have changed meanwhile before the change gives up.
const MAX_LOOKS: u32 = 16;

/// What stood before a change.
struct Before {
    state: ChainState,
    frontier: Frontier,
    pipeline: std::sync::Arc<Pipeline>,
}

impl Yard {
    /// Records a pipeline's text and puts it in force for its chain. What is open keeps the text it opened with.
    #[boxed(?Send)]
    pub async fn record_pipeline(&self, text: &str) -> Result<Pipeline, Error> {
        self.change_pipeline(text, &BTreeSet::new()).await
    }

    /// The same; sinks of these names may be taken away from a log before they got all of it.
    #[boxed(?Send)]
    pub async fn change_pipeline(&self, text: &str, give_up: &BTreeSet<String>) -> Result<Pipeline, Error> {
        let hash = PipelineHash::of_text(text);
        let new = parsed(&hash, text)?;
        let chain = &new.chain.name;
        for _ in 0..MAX_LOOKS {
            let before = self.before_change(chain).await?;
            let before = before.filter(|before| before.state.pipeline != hash);
            if let Some(before) = &before {
                refuse_other_shape(before, &new)?;
                self.refuse_lost_pools(before, &new).await?;
            }
            let done = transact(&self.port, async |tx| {
                tx.durable();
                put_text(tx, &new, &hash, text).await?;
                match (tx.check::<ChainState>(&ChainState::key_of(chain)).await?, &before) {
                    (Some(state), _) if state.pipeline == hash => {}
                    (Some(state), Some(before)) if state.pipeline == before.state.pipeline => {
                        let frontier = tx.check_frontier(chain).await?;
                        if frontier.opened != before.frontier.opened && loses_a_pool(before, &new) {
                            return Ok(false);
                        }
                        let old = &before.pipeline;
                        self.place_sinks(tx, &frontier, old, &new, give_up).await?;
                        self.place_new_cuts(tx, &frontier, old, &new).await?;
                        let due_ms = Some(self.port.now_ms());
                        tx.put(&Frontier { window: new.chain.window, due_ms, ..frontier.clone() })?;
                        let pipeline_from = state.pipeline_from.max(frontier.opened);
                        tx.put(&ChainState { pipeline: hash.clone(), pipeline_from, ..state })?;
                    }
                    (Some(_), _) => return Ok(false),
                    (None, _) => {
                        tx.put(&first_state(&new, &hash))?;
                        tx.put(&Tip { chain: chain.clone(), head: None, ended: false })?;
                        tx.put(&first_frontier(&new))?;
                    }
                }
                tx.send(Wake::Chain { chain: chain.clone() });
                // One that begins with what comes from now on remembers where that was.
                for (sink, _) in new.sinks.iter().filter(|(_, sink)| sink.is_level()) {
                    tx.send(Wake::Sink { chain: chain.clone(), sink: sink.clone() });
                }
                Ok(true)
            })
            .await?;
            if done {
                return Ok(new);
            }
        }
        Err(Error::Contended { tries: MAX_LOOKS })
    }

    async fn before_change(&self, chain: &ChainName) -> Result<Option<Before>, Error> {
        if read::<ChainState>(&self.port, &ChainState::key_of(chain)).await?.is_none() {
            return Ok(None);
        }
        // What a reorg or a redo takes off the chain needs no pool any more.
        while !self.finish_reorg(chain).await? {}
        let state = self.chain_state(chain).await?;
        let pipeline = self.pipeline(chain, &state.pipeline).await?;
        Ok(Some(Before { frontier: self.frontier(chain).await?, state, pipeline }))
    }

    /// Tasks of a pool that nobody declares any more would wait for ever.
    async fn refuse_lost_pools(&self, before: &Before, new: &Pipeline) -> Result<(), Error> {
        if !loses_a_pool(before, new) {
            return Ok(());
        }
        let Before { state, frontier, pipeline } = before;
        let chain = &state.chain;
        for heights in height_pages(frontier.height..frontier.opened) {
            for (_, scope) in self.block_scopes(chain, heights).await?.into_iter().flatten() {
                self.refuse_lost_pool_of_scope(Some(scope), new).await?;
            }
        }
        for (_, stage, _) in pipeline.cut_stages() {
            let out: Option<OutState> = read(&self.port, &OutState::key_of(chain, &stage.name)).await?;
            let mut from = out.map_or(state.start_height, |out| out.next_from);
            if pipeline.log_of(pipeline.stage(&stage.name).map_or(0, |(index, _)| index)) == COMMITS {
                from = frontier.height;
            }
            while let Some(cut) = read::<CutAt>(&self.port, &CutAt::key_of(chain, &stage.name, from)).await? {
                let scope: Option<Scope> = read(&self.port, &Scope::key_of(&cut.scope)).await?;
                self.refuse_lost_pool_of_scope(scope, new).await?;
                from = cut.to + 1;
            }
            for heights in height_pages(from..frontier.opened) {
                for (_, scope) in self.block_scopes(chain, heights).await?.into_iter().flatten() {
                    self.refuse_lost_pool_of_next_cut(&stage.name, &scope, new).await?;
                }
            }
        }
        self.refuse_lost_pool_of_passed(chain, new).await
    }

    /// What is committed or handed on may have work left, such as a quorum's late members.
    async fn refuse_lost_pool_of_passed(&self, chain: &ChainName, new: &Pipeline) -> Result<(), Error> {
        for shard in DueKind::Scope.shards() {
            let mut pages = DuePages::all(shard);
            while let Some(page) = pages.next(self).await? {
                let keys = page.into_iter().map(|due| due.key);
                let keys: Vec<Key> =
                    keys.filter(|key| Scope::id_of_key(key).is_some_and(|id| id.chain() == *chain)).collect();
                for scope in read_many::<Scope>(&self.port, &keys).await? {
                    self.refuse_lost_pool_of_scope(scope, new).await?;
                }
            }
        }
        Ok(())
    }

    async fn refuse_lost_pool_of_scope(&self, scope: Option<Scope>, new: &Pipeline) -> Result<(), Error> {
        let Some(scope) = scope.filter(|scope| scope.is_live() && !scope.is_settled()) else { return Ok(()) };
        let lacks = self.lacks_pool(&scope, new).await?;
        lacks.map_or(Ok(()), |(pool, stage)| {
            let (from, to) = scope.heights();
            let what = match scope.cut() {
                None => format!("block {from}"),
                Some(cut) => format!("the cut {from}..{to} of stage {}", cut.stage),
            };
            Err(Refusal::PoolInUse { pool, stage, what, height: from }.into())
        })
    }

    /// The first stage of an opened scope that is not over and whose pool `in_force` does not declare.
    pub(crate) async fn lacks_pool(
        &self,
        scope: &Scope,
        in_force: &Pipeline,
    ) -> Result<Option<(String, String)>, Error> {
        if scope.pipeline().is_none() {
            return Ok(None);
        }
        let own = self.pipeline(scope.chain(), scope.pipeline()).await?;
        for index in stages_of(&own, scope) {
            let stage = &own.stages[index];
            if stage.pool.is_empty() || in_force.keeps_pool(&own, &stage.pool) {
                continue;
            }
            let group: Option<Group> = read(&self.port, &Group::key_of(scope.id(), &stage.name)).await?;
            if group.is_none_or(|group| !group.is_over()) {
                return Ok(Some((stage.pool.clone(), stage.name.clone())));
            }
        }
        Ok(None)
    }

    /// Blocks that are in no cut yet are cut by their own pipeline where the new one gathers something else.
    async fn refuse_lost_pool_of_next_cut(
        &self,
        cut_stage: &str,
        block: &Scope,
        new: &Pipeline,
    ) -> Result<(), Error> {
        if block.pipeline().is_none() {
            return Ok(());
        }
        let own = self.pipeline(block.chain(), block.pipeline()).await?;
        let gathers = own.gathers(cut_stage);
        if gathers.is_none() || gathers == new.gathers(cut_stage) {
            return Ok(());
        }
        let cut = own.stage(cut_stage).map(|(index, _)| index);
        let lost = own.stages.iter().find(|stage| stage.cut_by == cut && !new.keeps_pool(&own, &stage.pool));
        lost.map_or(Ok(()), |stage| {
            let (height, _) = block.heights();
            let what = format!("the next cut of stage {cut_stage}, from height {height} on");
            let (pool, stage) = (stage.pool.clone(), stage.name.clone());
            Err(Refusal::PoolInUse { pool, stage, what, height }.into())
        })
    }

    /// A sink keeps its place in each log; one that is new to a log begins where it says.
    async fn place_sinks(
        &self,
        tx: &mut Tx<'_>,
        frontier: &Frontier,
        old: &Pipeline,
        new: &Pipeline,
        give_up: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let chain = &new.chain.name;
        let mut ends = Vec::new();
        for log in logs_of(old).union(&logs_of(new)) {
            let end = match *log {
                COMMITS => frontier.next_sequence,
                log => {
                    let out: Option<OutState> = tx.check(&OutState::key_of(chain, log)).await?;
                    out.map_or(0, |out| out.next_sequence)
                }
            };
            ends.push((*log, end));
        }
        let end_of = |log: &str| ends.iter().find(|(name, _)| *name == log).map_or(0, |(_, end)| *end);
        let reads =
            |pipeline: &Pipeline, name: &str, log: &str| pipeline.sinks_of(log).any(|sink| sink == name);
        for (name, sink) in old.sinks.iter().filter(|(_, sink)| !sink.is_level()) {
            let log = old.log_of(sink.stage);
            if reads(new, name, log) {
                continue;
            }
            let cursor: Option<SinkCursor> = tx.check(&SinkCursor::key_of(chain, name, log)).await?;
            let has = cursor.as_ref().map_or(0, |cursor| cursor.next_sequence);
            let behind = end_of(log).saturating_sub(has);
            if behind > 0 && !give_up.contains(name) {
                return Err(Refusal::SinkBehind { sink: name.clone(), log: log.to_owned(), behind }.into());
            }
            // What was given up is not handed on should the sink come back; and nothing of it stays due.
            let cursor = cursor.unwrap_or_else(|| SinkCursor::at(chain, name, log, 0));
            tx.put(&SinkCursor { paused: false, next_call_ms: None, ..cursor.passed_below(end_of(log)) })?;
        }
        let begins_now = |sink: &Sink| !sink.is_level() && sink.from == SinkFrom::Now;
        for (name, sink) in new.sinks.iter().filter(|(_, sink)| begins_now(sink)) {
            let log = new.log_of(sink.stage);
            let key = SinkCursor::key_of(chain, name, log);
            if !reads(old, name, log) && tx.check::<SinkCursor>(&key).await?.is_none() {
                tx.put(&SinkCursor::at(chain, name, log, end_of(log)))?;
            }
        }
        Ok(())
    }

    /// A `sequential` stage that is new begins with the first block that is opened with it.
    async fn place_new_cuts(
        &self,
        tx: &mut Tx<'_>,
        frontier: &Frontier,
        old: &Pipeline,
        new: &Pipeline,
    ) -> Result<(), Error> {
        let chain = &new.chain.name;
        for (_, stage, _) in new.cut_stages().filter(|(_, stage, _)| old.gathers(&stage.name).is_none()) {
            let (stage, next_from) = (stage.name.clone(), frontier.opened);
            if tx.check::<Cursor>(&Cursor::key_of(chain, &stage)).await?.is_none() {
                tx.put(&Cursor { chain: chain.clone(), stage: stage.clone(), next: next_from })?;
                tx.check::<OutState>(&OutState::key_of(chain, &stage)).await?;
                tx.put(&OutState { chain: chain.clone(), stage, next_from, next_sequence: 0 })?;
            }
        }
        Ok(())
    }
}

async fn put_text(tx: &mut Tx<'_>, new: &Pipeline, hash: &PipelineHash, text: &str) -> Result<(), Error> {
    let chain = &new.chain.name;
    let stored: Option<PipelineText> = tx.peek(&PipelineText::key_of(chain, hash)).await?;
    if stored.is_none() {
        tx.put(&PipelineText { chain: chain.clone(), hash: hash.clone(), text: text.to_owned() })?;
    }
    if tx.peek::<KnownChain>(&KnownChain::key_of(chain)).await?.is_none() {
        tx.put(&KnownChain { chain: chain.clone() })?;
    }
    for pool in new.pools.keys() {
        let entry = PoolChain { pool: pool.clone(), chain: chain.clone(), acts: Some(new.is_action(pool)) };
        let stored: Option<PoolChain> = tx.peek(&crate::transaction::Item::key(&entry)).await?;
        if stored.as_ref() != Some(&entry) {
            tx.put(&entry)?;
        }
    }
    Ok(())
}

fn loses_a_pool(before: &Before, new: &Pipeline) -> bool {
    before.pipeline.pools.keys().any(|pool| !new.keeps_pool(&before.pipeline, pool))
}

fn logs_of(pipeline: &Pipeline) -> BTreeSet<&str> {
    pipeline.sinks.values().map(|sink| pipeline.log_of(sink.stage)).collect()
}

/// Blocks that wait to be cut would wait for ever, or be committed in two ways.
fn refuse_other_shape(before: &Before, new: &Pipeline) -> Result<(), Error> {
    let Before { state, pipeline: old, .. } = before;
    if state.start_height != new.chain.start_height {
        let (recorded, given) = (state.start_height, new.chain.start_height);
        return Err(Refusal::StartHeightChanged { chain: state.chain.clone(), recorded, given }.into());
    }
    let commits = |pipeline: &Pipeline, stage: &str| {
        pipeline.commit_cut().is_some_and(|cut| pipeline.stages[cut].name == stage)
    };
    let refusal = |stage: &str, was, now| {
        let (chain, stage) = (state.chain.clone(), stage.to_owned());
        Err(Refusal::CutsChanged { chain, stage, was, now }.into())
    };
    for (_, stage, _) in old.cut_stages() {
        let name = &stage.name;
        if new.gathers(name).is_none() {
            return refusal(name, "makes cuts", "has no such `sequential` stage");
        }
        match (commits(old, name), commits(new, name)) {
            (true, false) => return refusal(name, "makes the cuts that commit", "commits otherwise"),
            (false, true) => return refusal(name, "makes cuts of committed blocks", "has it commit"),
            _ => {}
        }
    }
    for (_, stage, _) in new.cut_stages().filter(|(_, stage, _)| old.gathers(&stage.name).is_none()) {
        if commits(new, &stage.name) {
            return refusal(&stage.name, "was not there, since blocks commit one by one", "has it commit");
        }
    }
    Ok(())
}

fn first_state(pipeline: &Pipeline, hash: &PipelineHash) -> ChainState {
    ChainState {
        chain: pipeline.chain.name.clone(),
        start_height: pipeline.chain.start_height,
        epoch: 0,
        paused: false,
        halts: 0,
        halts_ended: 0,
        works_since_ms: 0,
        halted: None,
        reorg: None,
        pipeline: hash.clone(),
        pipeline_from: pipeline.chain.start_height,
    }
}

fn first_frontier(pipeline: &Pipeline) -> Frontier {
    Frontier {
        chain: pipeline.chain.name.clone(),
        height: pipeline.chain.start_height,
        last_hash: None,
        window: pipeline.chain.window,
        opened: pipeline.chain.start_height,
        next_sequence: 0,
        missed: Some(0),
        due_ms: None,
    }
}
