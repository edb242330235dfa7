//! Facts that are recorded at once, by whoever may write the yard's state. A follower must know what was recorded before it asks
//! its node for more.
//!
//! What a fact leads to is for others: its wakes go on their queues as soon as it is recorded.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use proofyard_core::Yard;
use proofyard_core::error::with_causes;
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::ChainName;
use proofyard_intake::{Fact, Intake, record};
use tracing::{info, warn};

use super::IntakeError;
use crate::home::AwsHome;

/// The pause after an error that passes, before the same is tried again.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Records in a home: an invocation's, or one that reads the table each time.
#[derive(Clone, Copy)]
pub struct Recording<'a>(pub &'a AwsHome);

impl AwsHome {
    fn record_fact<'a>(
        &'a self,
        chain: &'a ChainName,
        fact: &'a Fact,
    ) -> LocalBoxFuture<'a, Result<Option<BlockOutcome>, IntakeError>> {
        Box::pin(async move {
            let keep = async |payload: &[u8]| Ok::<_, IntakeError>(self.keep(payload).await?);
            let outcome = record(&self.yard, chain, fact, keep).await?;
            match fact {
                Fact::Block(block) => {
                    let repeated = outcome == Some(BlockOutcome::Repeated);
                    info!(%chain, height = block.height, repeated, "block recorded");
                }
                Fact::Reorg { height, hash } => info!(%chain, height, hash = hash.as_str(), "reorg recorded"),
                Fact::End | Fact::Finality(_) => {}
            }
            self.deliver().await;
            Ok(outcome)
        })
    }
}

impl Intake for Recording<'_> {
    type Error = IntakeError;

    fn yard(&self) -> &Yard {
        &self.0.yard
    }

    async fn take(&self, chain: &ChainName, fact: &Fact) -> Result<Option<BlockOutcome>, IntakeError> {
        self.0.record_fact(chain, fact).await
    }

    async fn may_try_again(&self, error: &IntakeError) -> bool {
        if error.passes() {
            warn!(error = %with_causes(error), "what a node has cannot be taken now; it is tried again");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        error.passes()
    }
}
