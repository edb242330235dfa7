//! A change of branch: one transaction of constant size that compares and swaps the tip. The pages that follow are `advance`'s.
//!
//! The transaction moves epoch, tip, frontier, cut cursors and out logs at once and leaves an intent. Until the
//! intent is gone nothing at or above it is opened, cut or committed, so the pages may rewrite heights from the top
//! down and void cuts, and any process may retry them. Nothing under an orphan is deleted: a block that returns is listed
//! again with the proofs it has. A redo is a reorg onto the same hashes whose scopes are of a new generation.

use std::sync::Arc;

use crate::error::{Error, Refusal};
use crate::height_rows::{HEIGHTS_A_READ, HeightRows};
use crate::pipeline::Pipeline;
use crate::planted_bug::PlantedBug;
use crate::port::Wake;
use crate::state::{
    BlockHash, COMMITS, Canonical, ChainName, ChainState, Cursor, CutAt, Frontier, KnownBlock, OutEntry,
    OutKind, OutState, Reorg, Tip,
};
use crate::transaction::{Tx, read_range, transact};
use crate::yard::{ChainReads, Yard, boxed};

/// How far back two branches may meet; the walk runs inside one transaction.
const MAX_REORG_BLOCKS: u64 = 4_096;

/// What a reorg did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReorgOutcome {
    /// The named block was the head already.
    Nothing,
    /// Heights from here on changed.
    From(u64),
}

/// Where a reorg leads: the first height that changes, and the head after it.
struct Change {
    first: u64,
    head: (u64, BlockHash),
    generation: Option<u64>,
}

enum Plan {
    Nothing,
    /// It was recorded, by an earlier try whose outcome was not known.
    Made(u64),
    Change(Change),
}

impl Yard {
    /// Makes the known block (height, hash) the head of the chain.
    #[boxed(?Send)]
    pub async fn record_reorg(
        &self,
        chain: &ChainName,
        height: u64,
        hash: &BlockHash,
    ) -> Result<ReorgOutcome, Error> {
        let head = (height, hash.clone());
        self.change_branch(chain, async |tx, _, tip| {
            if tip.head.as_ref() == Some(&head) {
                return Ok(Plan::Nothing);
            }
            let first = self.first_difference(tx, chain, &head).await?;
            Ok(Plan::Change(Change { first, head: head.clone(), generation: None }))
        })
        .await
    }

    /// Proves every height from `from` on again, in scopes of a new generation.
    #[boxed(?Send)]
    pub async fn record_redo(&self, chain: &ChainName, from: u64) -> Result<ReorgOutcome, Error> {
        // After an unknown outcome it is recognised by the generation that its first height has got.
        let mut planned = Vec::new();
        self.change_branch(chain, async |tx, state, tip| {
            let block: Option<Canonical> = tx.check(&Canonical::key_of(chain, from)).await?;
            if block.is_some_and(|block| planned.contains(&block.generation)) {
                return Ok(Plan::Made(from));
            }
            planned.push(state.epoch + 1);
            let head = tip.head.clone().filter(|(height, _)| (state.start_height..=*height).contains(&from));
            let head = head.ok_or(Refusal::NoBlock(from))?;
            Ok(Plan::Change(Change { first: from, head, generation: Some(state.epoch + 1) }))
        })
        .await
    }

    async fn change_branch(
        &self,
        chain: &ChainName,
        mut plan: impl AsyncFnMut(&mut Tx<'_>, &ChainState, &Tip) -> Result<Plan, Error>,
    ) -> Result<ReorgOutcome, Error> {
        loop {
            self.finish_reorg(chain).await?;
            let pipeline = self.chain(chain).await?.1;
            let outcome = transact(&self.port, async |tx| {
                // Also where it is known already: its source is told so.
                tx.durable();
                let state = tx.check_chain(chain).await?;
                let tip = tx.check_tip(chain).await?;
                if state.reorg.is_some() {
                    return Ok(None);
                }
                match plan(tx, &state, &tip).await? {
                    Plan::Nothing => Ok(Some(ReorgOutcome::Nothing)),
                    Plan::Made(first) => Ok(Some(ReorgOutcome::From(first))),
                    Plan::Change(change) => {
                        self.put_change(tx, &pipeline, state, tip, &change).await?;
                        Ok(Some(ReorgOutcome::From(change.first)))
                    }
                }
            })
            .await?;
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
        }
    }

    async fn put_change(
        &self,
        tx: &mut Tx<'_>,
        pipeline: &Arc<Pipeline>,
        state: ChainState,
        tip: Tip,
        change: &Change,
    ) -> Result<(), Error> {
        let chain = &state.chain;
        let top = tip.height().unwrap_or(0).max(change.head.0);
        let mut intent = Reorg {
            from: change.first,
            next: top + 1,
            next_hash: (top == change.head.0).then(|| change.head.1.clone()),
            head: change.head.0,
            generation: change.generation,
            cuts_from: Vec::new(),
        };
        let mut back_to = change.first;
        for (index, stage, _) in pipeline.cut_stages() {
            let cut_from = self.step_cuts_back(tx, chain, &stage.name, change.first).await?;
            intent.cuts_from.push((stage.name.clone(), cut_from));
            if pipeline.commit_cut() == Some(index) {
                back_to = back_to.min(cut_from);
            }
        }
        self.step_frontier_back(tx, &state, change.first, back_to).await?;
        // It says nothing new about the input: only a new block does.
        let ended = tip.ended && !self.planted(PlantedBug::EndLostInReorg);
        tx.put(&Tip { chain: chain.clone(), head: Some(change.head.clone()), ended })?;
        tx.send(Wake::Chain { chain: chain.clone() });
        tx.put(&ChainState { epoch: state.epoch + 1, reorg: Some(intent), ..state })
    }

    /// Moves a stage's cursor and out log back before `first`; answers where its voided cuts start.
    async fn step_cuts_back(
        &self,
        tx: &mut Tx<'_>,
        chain: &ChainName,
        stage: &str,
        first: u64,
    ) -> Result<u64, Error> {
        // Closing a cut writes the cursor: read before the cuts, it vouches for them.
        let cursor: Option<Cursor> = tx.check(&Cursor::key_of(chain, stage)).await?;
        let covering = read_range::<CutAt>(&self.port, &CutAt::covering(chain, stage, first)).await?;
        let cut_from =
            covering.first().filter(|(_, _, cut)| cut.to >= first).map_or(first, |(_, _, cut)| cut.from);
        if let Some(cursor) = cursor.filter(|cursor| cursor.next > cut_from) {
            tx.put(&Cursor { next: cut_from, ..cursor })?;
        }
        if let Some(out) = tx.check::<OutState>(&OutState::key_of(chain, stage)).await?
            && out.next_from > cut_from
        {
            // A log that has said nothing has nothing to take back.
            let said = out.next_sequence > 0;
            if said {
                self.retract(tx, chain, stage, out.next_sequence, cut_from, out.next_from - 1)?;
            }
            let next_sequence = out.next_sequence + u64::from(said);
            tx.put(&OutState { next_from: cut_from, next_sequence, ..out })?;
        }
        Ok(cut_from)
    }

    async fn step_frontier_back(
        &self,
        tx: &mut Tx<'_>,
        state: &ChainState,
        first: u64,
        back_to: u64,
    ) -> Result<(), Error> {
        let chain = &state.chain;
        let mut frontier: Frontier = tx.check_frontier(chain).await?;
        frontier.due_ms = Some(self.port.now_ms());
        frontier.opened = frontier.opened.min(first);
        if frontier.height > back_to {
            self.retract(tx, chain, COMMITS, frontier.next_sequence, back_to, frontier.height - 1)?;
            frontier.next_sequence += 1;
            frontier.height = back_to;
            frontier.last_hash = match back_to.checked_sub(1).filter(|below| *below >= state.start_height) {
                Some(below) => {
                    let block: Option<Canonical> = tx.check(&Canonical::key_of(chain, below)).await?;
                    Some(block.ok_or(Refusal::NoBlock(below))?.hash)
                }
                None => None,
            };
        }
        tx.put(&frontier)
    }

    fn retract(
        &self,
        tx: &mut Tx<'_>,
        chain: &ChainName,
        log: &str,
        sequence: u64,
        from: u64,
        to: u64,
    ) -> Result<(), Error> {
        tx.put(&OutEntry {
            chain: chain.clone(),
            log: log.to_owned(),
            sequence,
            at_ms: self.port.now_ms(),
            kind: OutKind::Retract { from, to },
        })
    }

    /// Walks back from the new head to the first block that is canonical already; answers the height above it.
    async fn first_difference(
        &self,
        tx: &mut Tx<'_>,
        chain: &ChainName,
        head: &(u64, BlockHash),
    ) -> Result<u64, Error> {
        let (mut height, mut hash) = head.clone();
        let start_height = tx.peek_chain(chain).await?.start_height;
        let tip = tx.check_tip(chain).await?.height();
        let mut below = HeightRows::default();
        for _ in 0..MAX_REORG_BLOCKS {
            if height < start_height {
                return Ok(start_height);
            }
            if !below.heights.contains(&height) {
                below = self.height_rows(chain, height, start_height, HEIGHTS_A_READ).await?;
            }
            let canonical = match below.canonical.remove(&height) {
                Some(canonical) => Some(canonical),
                None if tip.is_none_or(|tip| tip < height) => None,
                None => tx.peek(&Canonical::key_of(chain, height)).await?,
            };
            if canonical.is_some_and(|canonical| canonical.hash == hash) {
                return Ok(height + 1);
            }
            let known = match below.known.remove(&(height, hash.clone())) {
                Some(known) => Some(known),
                None => tx.peek(&KnownBlock::key_of(chain, height, &hash)).await?,
            };
            let known = known.ok_or_else(|| Refusal::UnknownBlock { height, hash: hash.clone() })?;
            hash = known.parent;
            if height == 0 {
                return Ok(start_height);
            }
            height -= 1;
        }
        Err(Refusal::ReorgTooDeep { limit: MAX_REORG_BLOCKS }.into())
    }
}
