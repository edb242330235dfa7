//! The scopes of a chain that are open.

use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::pages::height_pages;
use crate::state::{CutAt, Scope};
use crate::transaction::{read, read_range};
use crate::yard::Yard;

/// Open scopes of one look. Windows beyond it exist only in replays, where the lowest heights matter.
const MAX_SCOPES: usize = 1_024;
/// Committed blocks below the frontier that a look visits for work that goes on after the commit.
const LOOK_BACK_BLOCKS: u64 = 64;
/// The same for cuts.
const LOOK_BACK_CUTS: usize = 8;

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

impl Yard {
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
                for (_, _, cut) in read_range::<CutAt>(&self.port, &range).await? {
                    let scope: Option<Scope> = read(&self.port, &Scope::key_of(&cut.scope)).await?;
                    scopes.extend(scope.filter(is_open));
                }
            }
        }
        Ok(scopes)
    }
}

fn is_open(scope: &Scope) -> bool {
    scope.is_live() && !scope.is_settled()
}
