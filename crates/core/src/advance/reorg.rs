//! The pages of a recorded reorg: heights are rewritten from the top down, then cuts that hold an orphan are voided, then the
//! intent is taken away. Each page is one transaction that checks the chain's item; any process may retry it.

use crate::error::{Error, Refusal};
use crate::planted_bug::PlantedBug;
use crate::port::{Key, Wake};
use crate::state::{
    BlockHash, Branch, Canonical, ChainName, ChainState, CutAt, Frontier, KnownBlock, Progress, Reorg, Scope,
    ScopeId, Tip,
};
use crate::transaction::{Tx, read_range, transact};
use crate::yard::{ChainReads, Yard};

/// Heights rewritten in one page: each touches at most 4 items (height, two scopes, known block), and the page the chain
/// and the frontier.
const HEIGHTS_A_PAGE: usize = 16;

/// Pages that one call writes.
const MAX_PAGES: u32 = 64;

/// Cuts voided in one page: two items each, and the chain.
const CUTS_A_PAGE: usize = 32;

impl Yard {
    /// Writes what is left of a recorded reorg, page by page; any process may, at any time. Says whether nothing is left: one
    /// call writes only so many pages.
    pub(crate) async fn finish_reorg(&self, chain: &ChainName) -> Result<bool, Error> {
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

    async fn rewrite_page(&self, chain: &ChainName) -> Result<(), Error> {
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
        tx: &mut Tx<'_>,
        chain: &ChainName,
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
                    chain: chain.clone(),
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
        tx: &mut Tx<'_>,
        chain: &ChainName,
        intent: &Reorg,
    ) -> Result<Option<BlockHash>, Error> {
        let tip: Option<Tip> = tx.peek(&Tip::key_of(chain)).await?;
        Ok(tip.and_then(|tip| tip.head).filter(|(height, _)| *height == intent.head).map(|(_, hash)| hash))
    }

    async fn new_canonical(
        &self,
        tx: &mut Tx<'_>,
        chain: &ChainName,
        height: u64,
        hash: &BlockHash,
        intent: &Reorg,
    ) -> Result<KnownBlock, Error> {
        let known: Option<KnownBlock> = tx.check(&KnownBlock::key_of(chain, height, hash)).await?;
        let known = known.ok_or_else(|| Refusal::UnknownBlock { height, hash: hash.clone() })?;
        match intent.generation.filter(|generation| *generation != known.generation) {
            None => {
                self.put_branch(tx, &known.scope(), Branch::Canonical).await?;
            }
            Some(generation) => {
                let old: Option<Scope> = tx.peek(&Scope::key_of(&known.scope())).await?;
                let block = old.as_ref().and_then(Scope::block).cloned();
                let block = block.ok_or_else(|| Refusal::UnknownBlock { height, hash: hash.clone() })?;
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
        tx: &mut Tx<'_>,
        id: &ScopeId,
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

    async fn void_cuts_page(&self, chain: &ChainName, stage: &str, from: u64) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let mut state = tx.check_chain(chain).await?;
            let Some(intent) = state.reorg.as_mut() else { return Ok(()) };
            if intent.cuts_from.first().is_none_or(|(name, at)| name != stage || *at != from) {
                return Ok(());
            }
            let page_cuts = self.page_of(CUTS_A_PAGE);
            let range = CutAt::range_from(chain, stage, from, page_cuts);
            let cuts = read_range::<CutAt>(&self.port, &range).await?;
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

    async fn close_intent(&self, chain: &ChainName) -> Result<(), Error> {
        transact(&self.port, async |tx| {
            let state = tx.check_chain(chain).await?;
            let Some(intent) = &state.reorg else { return Ok(()) };
            if intent.next > intent.from || !intent.cuts_from.is_empty() {
                return Ok(());
            }
            tx.send(Wake::Chain { chain: chain.clone() });
            tx.put(&ChainState { reorg: None, ..state })
        })
        .await
    }

    /// Reads at once what a page of heights will ask for one by one.
    async fn fetch_heights(
        &self,
        tx: &mut Tx<'_>,
        chain: &ChainName,
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
