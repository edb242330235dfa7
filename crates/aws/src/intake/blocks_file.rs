//! A blocks file, posted to a yard on AWS: each line once, also when it is posted again after a crash.
//!
//! How far it came is kept in the state, so that a reorg line is not taken a second time. A block line may be posted
//! twice, after a crash in between, and changes nothing then.

use proofyard_blocks::{BlocksError, Line, Rules, Step, Taking, TakingError};
use proofyard_core::port::Port;

use super::IntakeError;
use crate::home::AwsHome;
use crate::queues::QueueError;
use crate::queues::message::Message;

impl AwsHome {
    /// Posts the lines of a checked file that were not posted before; then the end of the input, if the file's end is that.
    /// Answers how many lines it posted.
    pub async fn post_lines(
        &self,
        chain: &str,
        file: &str,
        lines: impl IntoIterator<Item = Result<(u64, Line), BlocksError>>,
        rules: &Rules,
        ends: bool,
    ) -> Result<u64, IntakeError> {
        let port = &self.yard.port;
        let start_height = self.yard.chain_state(chain).await?.start_height;
        let mut taking = Taking::begin(port, chain, file, start_height, rules).await?;
        let mut posted = 0;
        for next in lines {
            let (number, line) = next.map_err(TakingError::from)?;
            let step = taking.next(port, number, &line).await?;
            if step == Step::Skip {
                continue;
            }
            let message = match &line {
                Line::Block(block) => {
                    let block = self.keep_payload(block).await?;
                    Message::Block { chain: chain.to_owned(), block }
                }
                Line::Reorg { hash } => Message::Reorg {
                    chain: chain.to_owned(),
                    height: taking.height_of(hash),
                    hash: format!("0x{}", hex::encode(hash)),
                },
            };
            self.post_one(chain, &message).await?;
            if step == Step::Take {
                taking.remember(port, false).await?;
                posted += 1;
            }
        }
        taking.end(port).await?;
        if ends {
            self.post_one(chain, &Message::End { chain: chain.to_owned() }).await?;
        }
        Ok(posted)
    }

    async fn post_one(&self, chain: &str, message: &Message) -> Result<(), QueueError> {
        let deduplication = format!("posted-{:016x}", self.yard.port.random());
        self.post(chain, deduplication, message).await
    }
}
