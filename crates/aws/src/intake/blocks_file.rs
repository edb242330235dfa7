//! A blocks file, posted to a yard on AWS: each line waits on the chain's queue until the dispatcher records it.

use proofyard_blocks::{BlocksError, Line};
use proofyard_core::Yard;
use proofyard_core::port::Port;
use proofyard_core::record::BlockOutcome;
use proofyard_core::state::ChainName;
use proofyard_intake::{CheckedFile, Fact, Intake};

use super::IntakeError;
use crate::home::AwsHome;
use crate::queues::message::Message;

impl AwsHome {
    /// Posts the lines of a checked file that were not posted before; then the end of the input, if the file's end is that.
    /// Answers how many lines it posted.
    pub async fn post_lines(
        &self,
        chain: &ChainName,
        file: &CheckedFile<'_>,
        lines: impl IntoIterator<Item = Result<(u64, Line), BlocksError>>,
    ) -> Result<u64, IntakeError> {
        file.take(&Posting(self), chain, lines, || Ok(())).await
    }
}

/// Keeps a fact on its chain's queue.
struct Posting<'a>(&'a AwsHome);

impl Intake for Posting<'_> {
    type Error = IntakeError;

    fn yard(&self) -> &Yard {
        &self.0.yard
    }

    async fn take(&self, chain: &ChainName, fact: &Fact) -> Result<Option<BlockOutcome>, IntakeError> {
        let message = match fact {
            Fact::Block(block) => {
                Message::Block { chain: chain.clone(), block: self.0.keep_payload(block).await? }
            }
            Fact::Reorg { height, hash } => {
                Message::Reorg { chain: chain.clone(), height: *height, hash: hash.clone() }
            }
            Fact::End => Message::End { chain: chain.clone() },
            Fact::Finality(finality) => {
                self.0.yard.record_finality(finality).await?;
                return Ok(None);
            }
        };
        let deduplication = format!("posted-{:016x}", self.0.yard.port.random());
        self.0.post(chain, deduplication, &message).await?;
        Ok(None)
    }
}
