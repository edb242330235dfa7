//! Looking: a chain's own items, the canonical blocks' scopes, and the scopes that are open.

use std::sync::Arc;

use crate::error::Error;
use crate::pages::height_pages;
use crate::pipeline::Pipeline;
use crate::port::{Key, Port};
use crate::state::{Canonical, ChainState, CutAt, Frontier, OutState, Scope, Tip};
use crate::transaction::{read, read_many, read_range};
use crate::yard::Yard;

/// Open scopes of one look. Windows beyond it exist only in replays, where the lowest heights matter.
const MAX_SCOPES: usize = 1_024;
/// Committed blocks below the frontier that a look visits for work that goes on after the commit.
const LOOK_BACK_BLOCKS: u64 = 64;
/// The same for cuts.
const LOOK_BACK_CUTS: usize = 8;

/// A chain's own items, read one after another.
pub(crate) struct ChainLook {
    pub(crate) now_ms: u64,
    pub(crate) state: ChainState,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) frontier: Frontier,
    pub(crate) tip: Tip,
}

impl ChainLook {
    pub(crate) fn chain(&self) -> &str {
        &self.state.chain
    }

    /// The first height that the window does not reach.
    pub(crate) fn window_end(&self) -> u64 {
        self.frontier.height.saturating_add(self.frontier.window)
    }
}

/// How many tasks may still be read.
pub(crate) struct Budget {
    pub(super) left: usize,
    pub(crate) truncated: bool,
}

impl Budget {
    pub(crate) fn new(tasks: usize) -> Self {
        Self { left: tasks, truncated: false }
    }
}

impl<P: Port> Yard<P> {
    pub(crate) async fn look(&self, chain: &str) -> Result<ChainLook, Error> {
        let (state, pipeline) = self.chain(chain).await?;
        let (frontier, tip) = (self.frontier(chain).await?, self.tip(chain).await?);
        Ok(ChainLook { now_ms: self.port.now_ms(), state, pipeline, frontier, tip })
    }

    /// The canonical block's scope.
    pub(crate) async fn block_scope(&self, chain: &str, height: u64) -> Result<Option<Scope>, Error> {
        let place: Option<Canonical> = read(&self.port, &Canonical::key_of(chain, height)).await?;
        match place {
            Some(place) => read(&self.port, &Scope::key_of(&place.scope())).await,
            None => Ok(None),
        }
    }

    /// The canonical blocks at these heights and their scopes, read at once.
    pub(crate) async fn block_scopes(
        &self,
        chain: &str,
        heights: std::ops::Range<u64>,
    ) -> Result<Vec<Option<(Canonical, Scope)>>, Error> {
        let keys: Vec<Key> = heights.map(|height| Canonical::key_of(chain, height)).collect();
        let places = read_many::<P, Canonical>(&self.port, &keys).await?;
        let keys = places.iter().flatten().map(|place| Scope::key_of(&place.scope()));
        let keys: Vec<Key> = keys.collect();
        let mut scopes = read_many::<P, Scope>(&self.port, &keys).await?.into_iter();
        let pair = |place: Option<Canonical>| place.and_then(|place| Some((place, scopes.next()??)));
        Ok(places.into_iter().map(pair).collect())
    }

    /// Live scopes that are not settled: open heights, open cuts, and a look back below both.
    pub(crate) async fn open_scopes(
        &self,
        look: &ChainLook,
        budget: &mut Budget,
    ) -> Result<Vec<Scope>, Error> {
        let mut scopes = Vec::new();
        let from = look.frontier.height.saturating_sub(LOOK_BACK_BLOCKS).max(look.state.start_height);
        for heights in height_pages(from..look.frontier.opened) {
            if scopes.len() >= MAX_SCOPES {
                budget.truncated = true;
                break;
            }
            let found = self.block_scopes(look.chain(), heights).await?;
            scopes.extend(found.into_iter().flatten().map(|(_, scope)| scope).filter(is_open));
        }
        for (index, stage, _) in look.pipeline.cut_stages() {
            let next = self.next_cut_to_hand_on(look, index).await?;
            let back = CutAt::range_back(look.chain(), &stage.name, next, LOOK_BACK_CUTS);
            let ahead = CutAt::range_from(look.chain(), &stage.name, next, MAX_SCOPES);
            for range in [back, ahead] {
                for (_, _, cut) in read_range::<P, CutAt>(&self.port, &range).await? {
                    let scope: Option<Scope> = read(&self.port, &Scope::key_of(&cut.scope)).await?;
                    scopes.extend(scope.filter(is_open));
                }
            }
        }
        Ok(scopes)
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

fn is_open(scope: &Scope) -> bool {
    scope.is_live() && !scope.is_settled()
}
