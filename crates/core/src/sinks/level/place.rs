//! How far a level sink is: which heights a call looks at, which are settled, and what a reorg has it look at again.

use std::collections::BTreeSet;
use std::ops::Range;

use super::word::Compared;
use crate::error::Error;
use crate::pipeline::{BlockWord, Follows, Sink, SinkFrom, SinkTarget};
use crate::state::{ChainName, ChainState, LevelPlace, Told};
use crate::transaction::{read, transact};
use crate::yard::{Yard, boxed};

/// Heights of one page.
const PAGE_HEIGHTS: u64 = 64;
/// Heights below the frontier that its page begins with.
const BEHIND_FRONTIER: u64 = 16;
/// How many settled heights are remembered, so that sinks are notified of a reorg that deep.
const REMEMBERED_HEIGHTS: u64 = 1_024;

/// A level sink and its chain as they are now.
pub(super) struct Look {
    pub(super) state: ChainState,
    pub(super) place: LevelPlace,
    /// It begins now: where that was is to be written down.
    begins: bool,
    pub(super) frontier: u64,
    /// What may be in work is below this height.
    opened: u64,
    /// One above the head.
    next: u64,
    /// One above the highest height that there may be something to say of.
    end: u64,
    pub(super) wanted: BTreeSet<BlockWord>,
    /// Where a block must be introduced as arrived before anything else is said of it.
    pub(super) introduces: bool,
}

impl Yard {
    /// How far a level sink is; where it would begin, if it was told nothing yet.
    #[boxed(?Send)]
    pub async fn level_place(&self, chain: &ChainName, sink: &str) -> Result<Option<LevelPlace>, Error> {
        Ok(self.look_at_level(chain, sink).await?.map(|look| look.place))
    }

    /// Whether a level sink has something left to be told that no more blocks are needed for.
    pub(crate) async fn level_is_behind(&self, chain: &ChainName, sink: &str) -> Result<bool, Error> {
        let look = self.look_at_level(chain, sink).await?;
        Ok(look
            .is_some_and(|look| look.place.settled_below < look.end || look.place.epoch != look.state.epoch))
    }

    /// `None` where the pipeline in force has no level sink of that name.
    pub(super) async fn look_at_level(&self, chain: &ChainName, sink: &str) -> Result<Option<Look>, Error> {
        let (state, pipeline) = self.chain(chain).await?;
        let Some(Sink { follows: Follows::Blocks(wanted), from, target, .. }) = pipeline.sinks.get(sink)
        else {
            return Ok(None);
        };
        let (frontier, tip) = (self.frontier(chain).await?, self.tip(chain).await?);
        let next = tip.height().map_or(state.start_height, |tip| tip.saturating_add(1));
        let place: Option<LevelPlace> = read(&self.port, &LevelPlace::key_of(chain, sink)).await?;
        let first = match from {
            SinkFrom::Start => state.start_height,
            SinkFrom::Now => next,
        };
        let begins = place.is_none() && *from == SinkFrom::Now;
        let place = place.unwrap_or_else(|| LevelPlace::at(chain, sink, first, state.epoch));
        Ok(Some(Look {
            begins,
            frontier: frontier.height,
            opened: frontier.opened,
            next,
            end: next.max(place.told_below),
            wanted: wanted.clone(),
            introduces: matches!(target, SinkTarget::Ethproofs(_)),
            place,
            state,
        }))
    }

    /// Where "now" was is to be known later.
    pub(super) async fn remember_first(&self, look: &Look) -> Result<(), Error> {
        if !look.begins {
            return Ok(());
        }
        transact(&self.port, async |tx| {
            let key = LevelPlace::key_of(&look.place.chain, &look.place.sink);
            match tx.check::<LevelPlace>(&key).await? {
                Some(_) => Ok(()),
                None => tx.put(&look.place),
            }
        })
        .await
    }

    /// After a reorg: what was settled is looked at again, as far as it is remembered.
    pub(super) async fn step_back(&self, look: &Look) -> Result<(), Error> {
        let back_to = look.place.settled_below.saturating_sub(REMEMBERED_HEIGHTS);
        let back_to = back_to.max(look.place.forgotten_below);
        transact(&self.port, async |tx| {
            let key = LevelPlace::key_of(&look.place.chain, &look.place.sink);
            let place: Option<LevelPlace> = tx.check(&key).await?;
            let mut place = place.unwrap_or_else(|| look.place.clone());
            place.epoch = look.state.epoch;
            place.settled_below = place.settled_below.min(back_to);
            place.swept_to = place.settled_below;
            tx.put(&place)
        })
        .await
    }

    /// There was nothing to say on any page: moves over what is settled at the low end, and on to the next pages. Says
    /// whether there is more to look at at once.
    pub(super) async fn move_on(&self, look: &Look, compared: &[Compared]) -> Result<bool, Error> {
        let place = &look.place;
        let low = compared.iter().skip_while(|block| block.height < place.settled_below);
        let is_next = |(height, block): &(u64, &Compared)| block.height == *height && look.is_settled(block);
        let settled = (place.settled_below..).zip(low).take_while(is_next).count() as u64;
        let from = place.settled_below;
        let to = from.saturating_add(settled.min(PAGE_HEIGHTS));
        let (swept, round) = (look.sweep_page(), look.round_page());
        let moved = LevelPlace {
            settled_below: to,
            forgotten_below: place.forgotten_below.max(to.saturating_sub(REMEMBERED_HEIGHTS)),
            swept_to: swept.end.max(place.swept_to).max(to),
            round_at: if round.end < look.opened { round.end } else { to },
            // Nothing is left to be taken back of these heights above the head.
            told_below: place.told_below.min(look.next.max(look.newest_page().start)),
            ..place.clone()
        };
        if moved == *place {
            return Ok(false);
        }
        transact(&self.port, async |tx| {
            let now: Option<LevelPlace> = tx.check(&LevelPlace::key_of(&place.chain, &place.sink)).await?;
            if now.is_some_and(|now| now != *place) {
                return Ok(());
            }
            for height in (from..to).filter_map(|height| height.checked_sub(REMEMBERED_HEIGHTS)) {
                tx.delete(Told::key_of(&place.chain, &place.sink, height));
            }
            tx.put(&moved)
        })
        .await?;
        // The round takes a page each time that somebody looks.
        Ok(settled >= PAGE_HEIGHTS || moved.swept_to < look.end)
    }
}

impl Look {
    /// The heights that this call looks at.
    pub(super) fn pages(&self) -> BTreeSet<u64> {
        let about_frontier = self.page(self.frontier.saturating_sub(BEHIND_FRONTIER));
        let pages = [self.page(0), about_frontier, self.round_page(), self.sweep_page(), self.newest_page()];
        pages.into_iter().flatten().collect()
    }

    /// A page from this height on, of what is not settled.
    fn page(&self, from: u64) -> Range<u64> {
        let from = from.max(self.place.settled_below);
        from..from.saturating_add(PAGE_HEIGHTS).min(self.end).max(from)
    }

    fn newest_page(&self) -> Range<u64> {
        self.page(self.end.saturating_sub(PAGE_HEIGHTS))
    }

    /// The next page of the round through what is in work.
    fn round_page(&self) -> Range<u64> {
        let page = self.page(self.place.round_at);
        page.start..page.end.min(self.opened).max(page.start)
    }

    /// The next page of what was not looked at yet.
    fn sweep_page(&self) -> Range<u64> {
        self.page(self.place.swept_to)
    }
}
