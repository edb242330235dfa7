//! A change of branch: one transaction of constant size that compares and swaps the tip, then pages.
//!
//! The transaction moves epoch, tip, frontier, cut cursors and out logs at once and leaves an intent. Until the
//! intent is gone nothing at or above it is opened, cut or committed, so the pages may rewrite heights from the top
//! down, void cuts, and be repeated by anyone. Nothing under an orphan is deleted: a block that returns is listed
//! again with the proofs it has. A redo is a reorg onto the same hashes whose scopes are of a new generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Refusal};
use crate::pipeline::Pipeline;
use crate::planted_bug::PlantedBug;
use crate::port::{Key, Port, Wake};
use crate::state::{
    Branch, COMMITS, Canonical, ChainState, Cursor, CutAt, Frontier, KnownBlock, OutEntry, OutKind, OutState,
    Progress, Reorg, Scope, Tip,
};
use crate::transaction::{Tx, decode, read_range, transact};
use crate::yard::{ChainReads, Yard};

/// How far back two branches may meet; the walk runs inside one transaction.
const MAX_REORG_BLOCKS: u64 = 4_096;

/// Heights rewritten in one page: each touches at most 4 items (height, two scopes, known block), and the page the chain
/// and the frontier.
const HEIGHTS_A_PAGE: usize = 16;

/// Heights that are read at once, and rows of them at most: what is more is read by key.
const HEIGHTS_A_READ: u64 = 256;
const ROWS_A_READ: usize = 1_024;

/// Pages that one call writes.
const MAX_PAGES: u32 = 64;

/// Cuts voided in one page: two items each, and the chain.
const CUTS_A_PAGE: usize = 32;

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
    head: (u64, String),
    generation: Option<u64>,
}

enum Plan {
    Nothing,
    /// It was recorded, by an earlier try whose outcome was not known.
    Made(u64),
    Change(Change),
}

impl<P: Port> Yard<P> {
    /// Makes the known block (height, hash) the head of the chain.
    pub async fn record_reorg(&self, chain: &str, height: u64, hash: &str) -> Result<ReorgOutcome, Error> {
        let head = (height, hash.to_owned());
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
    pub async fn record_redo(&self, chain: &str, from: u64) -> Result<ReorgOutcome, Error> {
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
        chain: &str,
        mut plan: impl AsyncFnMut(&mut Tx<'_, P>, &ChainState, &Tip) -> Result<Plan, Error>,
    ) -> Result<ReorgOutcome, Error> {
        loop {
            self.finish_reorg(chain).await?;
            let pipeline = self.chain(chain).await?.1;
            let outcome = transact(&self.port, async |tx| {
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
        tx: &mut Tx<'_, P>,
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
        tx.put(&ChainState { epoch: state.epoch + 1, reorg: Some(intent), ..state })?;
        tx.durable();
        Ok(())
    }

    /// Moves a stage's cursor and out log back before `first`; answers where its voided cuts start.
    async fn step_cuts_back(
        &self,
        tx: &mut Tx<'_, P>,
        chain: &str,
        stage: &str,
        first: u64,
    ) -> Result<u64, Error> {
        // Closing a cut writes the cursor: read before the cuts, it vouches for them.
        let cursor: Option<Cursor> = tx.check(&Cursor::key_of(chain, stage)).await?;
        let covering = read_range::<P, CutAt>(&self.port, &CutAt::covering(chain, stage, first)).await?;
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
        tx: &mut Tx<'_, P>,
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
        tx: &mut Tx<'_, P>,
        chain: &str,
        log: &str,
        sequence: u64,
        from: u64,
        to: u64,
    ) -> Result<(), Error> {
        tx.put(&OutEntry {
            chain: chain.to_owned(),
            log: log.to_owned(),
            sequence,
            at_ms: self.port.now_ms(),
            kind: OutKind::Retract { from, to },
        })
    }

    /// Writes what is left of a recorded reorg, page by page; anyone may, at any time. Says whether nothing is left: one
    /// call writes only so many pages.
    pub(crate) async fn finish_reorg(&self, chain: &str) -> Result<bool, Error> {
        for _ in 0..MAX_PAGES {
            let Some(intent) = self.chain_state(chain).await?.reorg else { return Ok(true) };
            // They say since when blocks are on the chain, and that is for the yard's clock.
            if !self.port.has_yards_clock() {
                return Err(Error::Contended { tries: 1 });
            }
            if intent.next > intent.from {
                self.rewrite_page(chain).await?;
            } else if let Some((stage, from)) = intent.cuts_from.first() {
                self.void_cuts_page(chain, stage, *from).await?;
            } else {
                self.close_intent(chain).await?;
            }
        }
        Ok(self.chain_state(chain).await?.reorg.is_none())
    }

    async fn rewrite_page(&self, chain: &str) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let mut state = tx.check_chain(chain).await?;
            let Some(mut intent) = state.reorg.take() else { return Ok(()) };
            let page_heights = self.page_of(HEIGHTS_A_PAGE);
            self.fetch_heights(tx, chain, &intent, page_heights as u64).await?;
            let mut missed = 0;
            for _ in 0..page_heights {
                if intent.next <= intent.from {
                    break;
                }
                missed += u64::from(self.rewrite_height(tx, chain, &mut intent).await?);
            }
            if missed > 0 {
                let frontier = tx.check_frontier(chain).await?;
                tx.put(&Frontier {
                    missed: frontier.missed.map(|count| count.saturating_sub(missed)),
                    ..frontier
                })?;
            }
            state.reorg = Some(intent);
            tx.put(&state)
        })
        .await
    }

    /// Says whether it took back that a height was missed.
    async fn rewrite_height(
        &self,
        tx: &mut Tx<'_, P>,
        chain: &str,
        intent: &mut Reorg,
    ) -> Result<bool, Error> {
        let height = intent.next - 1;
        let place = Canonical::key_of(chain, height);
        let old: Option<Canonical> = tx.check(&place).await?;
        let new = match &intent.next_hash {
            Some(hash) => Some(self.new_canonical(tx, chain, height, hash, intent).await?),
            None => None,
        };
        let mut was_missed = false;
        if let Some(old) = &old
            && new.as_ref().is_none_or(|known| known.scope() != old.scope())
        {
            was_missed = self.put_branch(tx, &old.scope(), Branch::Orphaned).await? == Some(Progress::Missed);
        }
        intent.next = height;
        match new {
            Some(known) => {
                tx.put(&Canonical {
                    chain: chain.to_owned(),
                    height,
                    hash: known.hash,
                    generation: known.generation,
                })?;
                intent.next_hash = Some(known.parent);
            }
            None => {
                if old.is_some() {
                    tx.delete(place);
                }
                if intent.next == intent.head + 1 {
                    intent.next_hash = self.head_hash(tx, chain, intent).await?;
                }
            }
        }
        Ok(was_missed)
    }

    /// The head's hash, once the walk from the old, longer branch comes down to it.
    async fn head_hash(
        &self,
        tx: &mut Tx<'_, P>,
        chain: &str,
        intent: &Reorg,
    ) -> Result<Option<String>, Error> {
        let tip: Option<Tip> = tx.peek(&Tip::key_of(chain)).await?;
        Ok(tip.and_then(|tip| tip.head).filter(|(height, _)| *height == intent.head).map(|(_, hash)| hash))
    }

    async fn new_canonical(
        &self,
        tx: &mut Tx<'_, P>,
        chain: &str,
        height: u64,
        hash: &str,
        intent: &Reorg,
    ) -> Result<KnownBlock, Error> {
        let known: Option<KnownBlock> = tx.check(&KnownBlock::key_of(chain, height, hash)).await?;
        let known = known.ok_or_else(|| Refusal::UnknownBlock { height, hash: hash.to_owned() })?;
        match intent.generation.filter(|generation| *generation != known.generation) {
            None => {
                self.put_branch(tx, &known.scope(), Branch::Canonical).await?;
            }
            Some(generation) => {
                let old: Option<Scope> = tx.peek(&Scope::key_of(&known.scope())).await?;
                let block = old.as_ref().and_then(Scope::block).cloned();
                let block = block.ok_or_else(|| Refusal::UnknownBlock { height, hash: hash.to_owned() })?;
                let known = KnownBlock { generation, ..known };
                let mut scope = self.new_block_scope(chain, &block, generation);
                scope.adopt(Some(self.port.now_ms()));
                tx.put(&scope)?;
                tx.put(&known)?;
                return Ok(known);
            }
        }
        Ok(known)
    }

    /// Answers how far a scope was whose branch changed.
    async fn put_branch(
        &self,
        tx: &mut Tx<'_, P>,
        id: &str,
        branch: Branch,
    ) -> Result<Option<Progress>, Error> {
        let scope: Option<Scope> = tx.check(&Scope::key_of(id)).await?;
        let Some(mut scope) = scope.filter(|scope| scope.branch() != branch) else { return Ok(None) };
        let was = scope.progress();
        match branch {
            Branch::Canonical => scope.adopt(Some(self.port.now_ms())),
            Branch::Orphaned => scope.orphan(),
            Branch::Stored => {}
        }
        tx.put(&scope)?;
        Ok(Some(was))
    }

    async fn void_cuts_page(&self, chain: &str, stage: &str, from: u64) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let mut state = tx.check_chain(chain).await?;
            let Some(intent) = state.reorg.as_mut() else { return Ok(()) };
            if intent.cuts_from.first().is_none_or(|(name, at)| name != stage || *at != from) {
                return Ok(());
            }
            let page_cuts = self.page_of(CUTS_A_PAGE);
            let range = CutAt::range_from(chain, stage, from, page_cuts);
            let cuts = read_range::<P, CutAt>(&self.port, &range).await?;
            if cuts.len() < page_cuts {
                intent.cuts_from.remove(0);
            }
            let kept = self.planted(PlantedBug::CutKeptOverReorg);
            tx.fetch(cuts.iter().map(|(_, _, cut)| Scope::key_of(&cut.scope))).await?;
            for (key, stored, cut) in cuts.iter().filter(|_| !kept) {
                tx.delete_seen(key.clone(), stored);
                let scope: Option<Scope> = tx.check(&Scope::key_of(&cut.scope)).await?;
                if let Some(mut scope) = scope {
                    scope.orphan();
                    tx.put(&scope)?;
                }
            }
            tx.put(&state)
        })
        .await
    }

    async fn close_intent(&self, chain: &str) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let state = tx.check_chain(chain).await?;
            let Some(intent) = &state.reorg else { return Ok(()) };
            if intent.next > intent.from || !intent.cuts_from.is_empty() {
                return Ok(());
            }
            tx.send(Wake::Chain { chain: chain.to_owned() });
            tx.put(&ChainState { reorg: None, ..state })
        })
        .await
    }

    /// Walks back from the new head to the first block that is canonical already; answers the height above it.
    async fn first_difference(
        &self,
        tx: &mut Tx<'_, P>,
        chain: &str,
        head: &(u64, String),
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

    /// What a range shows of the heights from `top` down. What it lacks must be read by its key; what it has was true
    /// after whatever this transaction checked before.
    async fn height_rows(
        &self,
        chain: &str,
        top: u64,
        lowest: u64,
        heights: u64,
    ) -> Result<HeightRows, Error> {
        let from = lowest.max((top + 1).saturating_sub(heights)).max(Canonical::first_of_partition(top));
        let range = Canonical::rows(chain, from, top, ROWS_A_READ);
        let mut rows = HeightRows { heights: from..top + 1, ..HeightRows::default() };
        for (sort, stored) in self.port.range(&range).await? {
            let key = Key::new(range.partition.clone(), sort);
            if key.sort.contains('#') {
                let known: KnownBlock = decode(&key, &stored)?;
                rows.known.insert((known.height, known.hash.clone()), known);
            } else {
                let canonical: Canonical = decode(&key, &stored)?;
                rows.canonical.insert(canonical.height, canonical);
            }
        }
        Ok(rows)
    }

    /// Reads at once what a page of heights will ask for one by one.
    async fn fetch_heights(
        &self,
        tx: &mut Tx<'_, P>,
        chain: &str,
        intent: &Reorg,
        heights: u64,
    ) -> Result<(), Error> {
        let Some(top) = intent.next.checked_sub(1) else { return Ok(()) };
        let rows = self.height_rows(chain, top, intent.from, heights).await?;
        let mut keys: Vec<Key> =
            rows.heights.clone().map(|height| Canonical::key_of(chain, height)).collect();
        keys.extend(rows.canonical.values().map(|old| Scope::key_of(&old.scope())));
        let mut next = intent.next_hash.clone();
        for height in rows.heights.rev() {
            if next.is_none() && height == intent.head {
                next = self.head_hash(tx, chain, intent).await?;
            }
            let Some(hash) = next else { continue };
            keys.push(KnownBlock::key_of(chain, height, &hash));
            let known = rows.known.get(&(height, hash));
            keys.extend(known.map(|known| Scope::key_of(&known.scope())));
            next = known.map(|known| known.parent.clone());
        }
        tx.fetch(keys).await
    }
}

/// Rows of a page of heights.
#[derive(Default)]
struct HeightRows {
    heights: std::ops::Range<u64>,
    canonical: BTreeMap<u64, Canonical>,
    known: BTreeMap<(u64, String), KnownBlock>,
}
