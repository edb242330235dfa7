//! What sources bring, and who takes it.

use std::future::Future;

use proofyard_blocks::{RecordedBlock, TakingError};
use proofyard_core::Yard;
use proofyard_core::error::{Coded, Error};
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::{ArtifactRef, BlockHash, ChainName, Finality};

/// What a source brings of a chain.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// There is this block.
    Block(Box<RecordedBlock>),
    /// The chain's newest block is this one, which was brought before.
    Reorg { height: u64, hash: BlockHash },
    /// No more blocks come.
    End,
    /// What the node calls safe and finalized.
    Finality(Finality),
}

/// A home that takes facts.
pub trait Intake {
    type Error: Coded + From<Error> + From<TakingError>;

    fn yard(&self) -> &Yard;

    /// Takes a fact; what became of a block, where that is known at once. When this returns, the fact outlives a crash.
    fn take(
        &self,
        chain: &ChainName,
        fact: &Fact,
    ) -> impl Future<Output = Result<Option<BlockOutcome>, Self::Error>>;

    /// After an error: waits, and says whether the same is to be tried again.
    fn may_try_again(&self, _error: &Self::Error) -> impl Future<Output = bool> {
        std::future::ready(false)
    }
}

/// Records a fact in a yard, by a home that `keep`s payloads.
pub async fn record<E: From<Error>>(
    yard: &Yard,
    chain: &ChainName,
    fact: &Fact,
    keep: impl AsyncFnOnce(&[u8]) -> Result<ArtifactRef, E>,
) -> Result<Option<BlockOutcome>, E> {
    match fact {
        Fact::Block(block) => {
            let payload = keep(&block.payload).await?;
            Ok(Some(yard.record_block(chain, &block.event(payload)).await?))
        }
        Fact::Reorg { height, hash } => {
            yard.record_reorg(chain, *height, hash).await?;
            Ok(None)
        }
        Fact::End => {
            yard.record_end(chain).await?;
            Ok(None)
        }
        Fact::Finality(finality) => {
            yard.record_finality(finality).await?;
            Ok(None)
        }
    }
}
