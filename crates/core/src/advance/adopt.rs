//! Adopting: a block that came before its parent is appended once its parent is the tip. Writes what recording a block writes.

use crate::error::Error;
use crate::record::fits;
use crate::state::{ChainName, KnownBlock, Scope};
use crate::transaction::{read_range, transact};
use crate::yard::{ChainReads, Yard};

/// Known blocks of one height that adoption looks at.
const MAX_SIBLINGS: usize = 64;

impl Yard {
    /// Appends a stored block whose parent has become the tip, if just one fits; says whether it did.
    pub(crate) async fn adopt(&self, chain: &ChainName) -> Result<bool, Error> {
        let tip = self.tip(chain).await?;
        let next = match &tip.head {
            Some((height, _)) => height + 1,
            None => self.chain_state(chain).await?.start_height,
        };
        let siblings = KnownBlock::range(chain, next, MAX_SIBLINGS);
        let siblings = read_range::<KnownBlock>(&self.port, &siblings).await?;
        if siblings.is_empty() {
            return Ok(false);
        }
        transact(&self.port, async |tx| {
            let state = tx.check_chain(chain).await?;
            let mut tip = tx.check_tip(chain).await?;
            if state.reorg.is_some() {
                return Ok(false);
            }
            let mut fitting = Vec::new();
            for (_, _, known) in &siblings {
                if tip.head.as_ref().is_some_and(|(_, hash)| *hash != known.parent) {
                    continue;
                }
                let scope: Option<Scope> = tx.peek(&Scope::key_of(&known.scope())).await?;
                fitting.extend(scope.filter(Scope::is_stored).map(|scope| (scope, known)));
            }
            // With several, which one is the chain's is for the node to say, not for the order of messages.
            let [(scope, known)] = fitting.as_mut_slice() else { return Ok(false) };
            if !scope.block().is_some_and(|block| fits(&tip, block, state.start_height)) {
                return Ok(false);
            }
            self.append(tx, &mut tip, scope, known).await?;
            Ok(true)
        })
        .await
    }
}
