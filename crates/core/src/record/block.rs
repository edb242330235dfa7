//! A block event: a hint from outside, stored and acknowledged; appended only to the tip that is its parent.

use crate::error::{Error, Refusal};
use crate::pipeline::MAX_HEIGHT;
use crate::planted_bug::PlantedBug;
use crate::port::Wake;
use crate::state::{Block, Canonical, ChainName, Frontier, KnownBlock, Scope, ScopeId, Subject, Tip};
use crate::transaction::{Tx, transact};
use crate::yard::{ChainReads, Yard, boxed};

/// What became of a block event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOutcome {
    /// It is the new tip.
    Appended,
    /// It is kept until it fits the tip or a reorg names it.
    Stored,
    /// It was acknowledged before, and nothing changed.
    Repeated,
}

impl Yard {
    /// Records one block event. A repeat changes nothing, also one of a block that left the chain; only fields that were
    /// not kept when the block came are taken from it.
    #[boxed(?Send)]
    pub async fn record_block(&self, chain: &ChainName, block: &Block) -> Result<BlockOutcome, Error> {
        self.record_acknowledged_block(chain, block, None).await
    }

    /// The same, of a block that was acknowledged before: from then on it is late.
    #[boxed(?Send)]
    pub async fn record_acknowledged_block(
        &self,
        chain: &ChainName,
        block: &Block,
        acknowledged_ms: Option<u64>,
    ) -> Result<BlockOutcome, Error> {
        transact(&self.port, async |tx| {
            // Also a repeat is acknowledged.
            if !self.planted(PlantedBug::AcknowledgedNotDurable) {
                tx.durable();
            }
            let state = tx.check_chain(chain).await?;
            if block.height < state.start_height {
                let (height, start_height) = (block.height, state.start_height);
                return Err(Refusal::BelowStart { height, start_height }.into());
            }
            // One higher is the frontier after it.
            if block.height >= MAX_HEIGHT {
                return Err(Refusal::AboveLimit { height: block.height }.into());
            }
            let known: Option<KnownBlock> =
                tx.check(&KnownBlock::key_of(chain, block.height, &block.hash)).await?;
            let is_new = known.is_none();
            let known = match known {
                Some(known) => known,
                None => store(tx, chain, block)?,
            };
            let mut scope = match tx.check::<Scope>(&Scope::key_of(&known.scope())).await? {
                Some(scope) => scope,
                None => self.new_block_scope(chain, block, known.generation).acknowledged_at(acknowledged_ms),
            };
            let has_more = scope.add_fields(&block.fields);
            if !scope.is_stored() {
                if has_more {
                    tx.put(&scope)?;
                    // Whoever takes the frontier's due time away meets a conflict.
                    tx.check_tip(chain).await?;
                    self.wake_frontier(tx, chain).await?;
                    tx.send(Wake::Chain { chain: chain.clone() });
                }
                return Ok(BlockOutcome::Repeated);
            }
            let mut tip = tx.check_tip(chain).await?;
            if state.reorg.is_none() && (fits(&tip, block, state.start_height) || self.is_fooled(&tip, block))
            {
                // More comes after all; what was there before the end says nothing of it.
                tip.ended &= !is_new;
                self.append(tx, &mut tip, &mut scope, &known).await?;
                return Ok(BlockOutcome::Appended);
            }
            tx.put(&scope)?;
            Ok(if is_new { BlockOutcome::Stored } else { BlockOutcome::Repeated })
        })
        .await
    }

    /// No more blocks are expected: a last short cut may close.
    #[boxed(?Send)]
    pub async fn record_end(&self, chain: &ChainName) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let mut tip = tx.check_tip(chain).await?;
            if !tip.ended {
                tip.ended = true;
                tx.put(&tip)?;
                self.wake_frontier(tx, chain).await?;
            }
            tx.send(Wake::Chain { chain: chain.clone() });
            tx.durable();
            Ok(())
        })
        .await
    }

    pub(crate) fn new_block_scope(&self, chain: &ChainName, block: &Block, generation: u64) -> Scope {
        let id = ScopeId::of_block(chain, block.height, &block.hash, generation);
        Scope::new(id, chain, Subject::Block(block.clone()), self.port.now_ms())
    }

    /// Makes a stored block the new tip.
    pub(crate) async fn append(
        &self,
        tx: &mut Tx<'_>,
        tip: &mut Tip,
        scope: &mut Scope,
        known: &KnownBlock,
    ) -> Result<(), Error> {
        scope.adopt(Some(self.port.now_ms()));
        tx.put(scope)?;
        let place = Canonical::key_of(&known.chain, known.height);
        tx.check::<Canonical>(&place).await?;
        tx.put(&Canonical {
            chain: known.chain.clone(),
            height: known.height,
            hash: known.hash.clone(),
            generation: known.generation,
        })?;
        tip.head = Some((known.height, known.hash.clone()));
        tx.put(tip)?;
        self.wake_frontier(tx, &known.chain).await?;
        tx.send(Wake::Chain { chain: known.chain.clone() });
        Ok(())
    }

    /// Makes the frontier due if it is not by the next tick. Whoever puts it off for longer rewrites the tip, so that one
    /// of the two meets a conflict.
    pub(crate) async fn wake_frontier(&self, tx: &mut Tx<'_>, chain: &ChainName) -> Result<(), Error> {
        let mut frontier: Frontier = tx.peek_frontier(chain).await?;
        let state = tx.peek_chain(chain).await?;
        let tick_ms = self.pipeline(chain, &state.pipeline).await?.chain.tick_ms;
        let by_ms = self.due_in(tick_ms);
        if frontier.due_ms.is_none_or(|due_ms| due_ms > by_ms) {
            frontier.due_ms = Some(self.due_in(0));
            tx.put(&frontier)?;
        }
        Ok(())
    }

    fn is_fooled(&self, tip: &Tip, block: &Block) -> bool {
        self.planted(PlantedBug::BlockEventTakenAsTruth)
            && tip.height().is_some_and(|height| block.height <= height)
    }
}

/// Whether a block can follow the tip.
pub(crate) fn fits(tip: &Tip, block: &Block, start_height: u64) -> bool {
    match &tip.head {
        Some((height, hash)) => block.height == height + 1 && block.parent == *hash,
        None => block.height == start_height,
    }
}

fn store(tx: &mut Tx<'_>, chain: &ChainName, block: &Block) -> Result<KnownBlock, Error> {
    let known = KnownBlock {
        chain: chain.clone(),
        height: block.height,
        hash: block.hash.clone(),
        parent: block.parent.clone(),
        generation: 0,
    };
    tx.put(&known)?;
    Ok(known)
}
