//! Looking at a chain: its own items, the canonical blocks' scopes, and which cut is next.

use std::sync::Arc;

use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::port::Key;
use crate::state::{BlockHash, Canonical, ChainName, ChainState, Frontier, OutState, Scope, Tip};
use crate::transaction::{read, read_many};
use crate::yard::{Yard, boxed};

/// A chain's own items, read one after another.
pub(crate) struct ChainLook {
    pub(crate) now_ms: u64,
    pub(crate) state: ChainState,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) frontier: Frontier,
    pub(crate) tip: Tip,
}

impl ChainLook {
    pub(crate) fn chain(&self) -> &ChainName {
        &self.state.chain
    }

    /// The first height that the window does not reach.
    pub(crate) fn window_end(&self) -> u64 {
        self.frontier.height.saturating_add(self.frontier.window)
    }
}

impl Yard {
    pub(crate) async fn look(&self, chain: &ChainName) -> Result<ChainLook, Error> {
        let (state, pipeline) = self.chain(chain).await?;
        let (frontier, tip) = (self.frontier(chain).await?, self.tip(chain).await?);
        Ok(ChainLook { now_ms: self.port.now_ms(), state, pipeline, frontier, tip })
    }

    /// Which block is on the chain at a height, if one is.
    #[boxed(?Send)]
    pub async fn canonical_hash(&self, chain: &ChainName, height: u64) -> Result<Option<BlockHash>, Error> {
        let place: Option<Canonical> = read(&self.port, &Canonical::key_of(chain, height)).await?;
        Ok(place.map(|place| place.hash))
    }

    /// The canonical block's scope.
    pub(crate) async fn block_scope(&self, chain: &ChainName, height: u64) -> Result<Option<Scope>, Error> {
        let place: Option<Canonical> = read(&self.port, &Canonical::key_of(chain, height)).await?;
        match place {
            Some(place) => read(&self.port, &Scope::key_of(&place.scope())).await,
            None => Ok(None),
        }
    }

    /// The canonical blocks at these heights and their scopes, read at once.
    pub(crate) async fn block_scopes(
        &self,
        chain: &ChainName,
        heights: std::ops::Range<u64>,
    ) -> Result<Vec<Option<(Canonical, Scope)>>, Error> {
        let keys: Vec<Key> = heights.map(|height| Canonical::key_of(chain, height)).collect();
        let places = read_many::<Canonical>(&self.port, &keys).await?;
        let keys = places.iter().flatten().map(|place| Scope::key_of(&place.scope()));
        let keys: Vec<Key> = keys.collect();
        let mut scopes = read_many::<Scope>(&self.port, &keys).await?.into_iter();
        let pair = |place: Option<Canonical>| place.and_then(|place| Some((place, scopes.next()??)));
        Ok(places.into_iter().map(pair).collect())
    }

    /// The first height of the next cut that commits or is emitted.
    pub(crate) async fn next_cut_to_hand_on(&self, look: &ChainLook, cut: usize) -> Result<u64, Error> {
        if look.pipeline.commit_cut() == Some(cut) {
            return Ok(look.frontier.height);
        }
        let key = OutState::key_of(look.chain(), &look.pipeline.stages[cut].name);
        let out: Option<OutState> = read(&self.port, &key).await?;
        Ok(out.map_or(look.state.start_height, |out| out.next_from))
    }
}
