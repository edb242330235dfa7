//! A pipeline put in force: the chain appears with it, or opens its next scopes with it.

use crate::error::{Error, Refusal};
use crate::pipeline::{self, Pipeline};
use crate::port::{Port, Wake};
use crate::state::worker::PoolChain;
use crate::state::{ChainState, Frontier, KnownChain, PipelineText, Tip};
use crate::transaction::transact;
use crate::yard::{Yard, parsed};

impl<P: Port> Yard<P> {
    /// Records a pipeline's text and puts it in force for its chain. What is open keeps the text it opened with.
    pub async fn record_pipeline(&self, text: &str) -> Result<Pipeline, Error> {
        let hash = pipeline::text_hash(text);
        let new = parsed(&hash, text)?;
        let chain = &new.chain.name;
        if let Ok((state, old)) = self.chain(chain).await {
            refuse_other_shape(&state, &old, &new)?;
            refuse_lost_pools(&self.frontier(chain).await?, &old, &new)?;
        }
        transact(&self.port, async |tx| {
            let stored: Option<PipelineText> = tx.peek(&PipelineText::key_of(chain, &hash)).await?;
            if stored.is_none() {
                tx.put(&PipelineText { chain: chain.clone(), hash: hash.clone(), text: text.to_owned() })?;
            }
            if tx.peek::<KnownChain>(&KnownChain::key_of(chain)).await?.is_none() {
                tx.put(&KnownChain { chain: chain.clone() })?;
            }
            for pool in new.pools.keys() {
                let entry = PoolChain { pool: pool.clone(), chain: chain.clone() };
                if tx.peek::<PoolChain>(&crate::transaction::Item::key(&entry)).await?.is_none() {
                    tx.put(&entry)?;
                }
            }
            match tx.check::<ChainState>(&ChainState::key_of(chain)).await? {
                Some(state) if state.pipeline == hash => {}
                Some(state) => {
                    let mut frontier: Frontier = tx
                        .check(&Frontier::key_of(chain))
                        .await?
                        .ok_or_else(|| Refusal::UnknownChain(chain.clone()))?;
                    frontier.window = new.chain.window;
                    tx.put(&frontier)?;
                    tx.put(&ChainState { pipeline: hash.clone(), ..state })?;
                }
                None => {
                    tx.put(&first_state(&new, &hash))?;
                    tx.put(&Tip { chain: chain.clone(), head: None, ended: false })?;
                    tx.put(&first_frontier(&new))?;
                }
            }
            tx.send(Wake::Chain { chain: chain.clone() });
            tx.durable();
            Ok(())
        })
        .await?;
        Ok(new)
    }
}

/// What the chain has recorded under stage names would lose its meaning.
fn refuse_other_shape(state: &ChainState, old: &Pipeline, new: &Pipeline) -> Result<(), Error> {
    if state.start_height != new.chain.start_height {
        let (recorded, given) = (state.start_height, new.chain.start_height);
        return Err(Refusal::StartHeightChanged { chain: state.chain.clone(), recorded, given }.into());
    }
    let shape = |pipeline: &Pipeline| {
        let cuts: Vec<_> = pipeline.cut_stages().map(|(_, stage, _)| stage.name.clone()).collect();
        (pipeline.stages[pipeline.commit].name.clone(), pipeline.commit_cut().is_some(), cuts)
    };
    if shape(old) != shape(new) {
        let reason = "the commit stage and the `sequential` stages of a chain keep their names once blocks were \
                      recorded; use another data directory for a pipeline of another shape";
        return Err(Refusal::Invalid(reason.into()).into());
    }
    Ok(())
}

/// Open tasks of a pool that nobody declares any more would wait for ever.
fn refuse_lost_pools(frontier: &Frontier, old: &Pipeline, new: &Pipeline) -> Result<(), Error> {
    let lost = old.pools.keys().find(|pool| !new.pools.contains_key(*pool));
    match lost.filter(|_| frontier.opened > frontier.height) {
        Some(pool) => Err(Refusal::PoolInUse { pool: pool.clone(), height: frontier.height }.into()),
        None => Ok(()),
    }
}

fn first_state(pipeline: &Pipeline, hash: &str) -> ChainState {
    ChainState {
        chain: pipeline.chain.name.clone(),
        start_height: pipeline.chain.start_height,
        epoch: 0,
        paused: false,
        halted: None,
        reorg: None,
        pipeline: hash.to_owned(),
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
        due_ms: None,
    }
}
