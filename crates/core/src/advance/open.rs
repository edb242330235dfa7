//! Opening: canonical heights from `opened` up to frontier + window, each with the tasks that can start with it. Only this opens
//! scopes of blocks, and moves `opened` up.

use crate::error::{Error, Refusal};
use crate::pipeline::Pipeline;
use crate::planted_bug::PlantedBug;
use crate::port::Wake;
use crate::state::{Canonical, ChainName, ChainState, KnownBlock, PipelineHash, Scope, Standing};
use crate::transaction::{Tx, transact};
use crate::yard::{ChainReads, Yard};

impl Yard {
    /// Opens the next height with the pipeline in force, which has this hash, if the window allows; says whether it did.
    pub(crate) async fn open_next(
        &self,
        chain: &ChainName,
        hash: &PipelineHash,
        pipeline: &Pipeline,
    ) -> Result<bool, Error> {
        let (frontier, tip) = (self.frontier(chain).await?, self.tip(chain).await?);
        let extra = u64::from(self.planted(PlantedBug::WindowOffByOne));
        let reaches = |height: u64, window: u64| height.saturating_add(window).saturating_add(extra);
        let is_there = tip.height().is_some_and(|tip| frontier.opened <= tip);
        if !is_there || frontier.opened >= reaches(frontier.height, frontier.window) {
            return Ok(false);
        }
        transact(&self.port, async |tx| {
            let mut state = tx.check_chain(chain).await?;
            let mut frontier = tx.check_frontier(chain).await?;
            let height = frontier.opened;
            if state.pipeline != *hash
                || !state.takes_work()
                || state.reorg.is_some()
                || height >= reaches(frontier.height, frontier.window)
            {
                return Ok(false);
            }
            let Some(place): Option<Canonical> = tx.check(&Canonical::key_of(chain, height)).await? else {
                return Ok(false);
            };
            let Some(scope): Option<Scope> = tx.check(&Scope::key_of(&place.scope())).await? else {
                return Ok(false);
            };
            frontier.opened += 1;
            if *scope.standing() == Standing::Waiting {
                let mut scope = match self.lacks_pool(&scope, pipeline).await? {
                    None => scope,
                    Some(_) => self.renewed(tx, &state, &place, scope).await?,
                };
                let is_returning = scope.opened_ms().is_some();
                let due_ms = self.due_in(pipeline.chain.tick_ms);
                let due_ms = (!self.planted(PlantedBug::MissingDue)).then_some(due_ms);
                scope.open(hash, self.port.now_ms(), due_ms);
                if scope.pipeline() != hash && height >= state.pipeline_from {
                    state.pipeline_from = height + 1;
                    tx.put(&state)?;
                }
                if is_returning || !self.begin_with_block(tx, &scope, pipeline).await? {
                    tx.send(Wake::Scope { scope: scope.id().clone() });
                }
                tx.put(&scope)?;
            }
            frontier.due_ms = Some(self.due_in(pipeline.chain.tick_ms));
            tx.put(&frontier)?;
            Ok(true)
        })
        .await
    }

    /// A block that returned, and whose own pipeline needs a pool that is gone since, is proved anew: by the pipeline in
    /// force, in a scope of a new generation, as a redo does it.
    async fn renewed(
        &self,
        tx: &mut Tx<'_>,
        state: &ChainState,
        place: &Canonical,
        mut old: Scope,
    ) -> Result<Scope, Error> {
        let chain = &state.chain;
        let unknown = || Refusal::UnknownBlock { height: place.height, hash: place.hash.clone() };
        let block = old.block().cloned().ok_or_else(unknown)?;
        let known: Option<KnownBlock> =
            tx.check(&KnownBlock::key_of(chain, place.height, &place.hash)).await?;
        let generation = state.epoch;
        tx.put(&KnownBlock { generation, ..known.ok_or_else(unknown)? })?;
        tx.put(&Canonical { generation, ..place.clone() })?;
        let mut new = self.new_block_scope(chain, &block, generation);
        new.adopt(old.canonical_ms());
        old.orphan();
        tx.put(&old)?;
        Ok(new)
    }
}
