//! Ticks: each minute a schedule invokes the sweeper, which sends that minute's ticks as delayed messages. No tick sends
//! another tick, so that there can be no loop. The follower has ticks of its own, where a chain follows a node.

use futures_util::future::LocalBoxFuture;
use proofyard_core::error::Error;

use crate::home::AwsHome;
use crate::queues::message::Message;
use crate::queues::{Outgoing, QueueError};

const MINUTE_MS: u64 = 60_000;
/// The shortest tick that a delay in whole seconds can make.
const SHORTEST_MS: u64 = 1_000;

#[derive(Debug, thiserror::Error)]
pub enum TickError {
    #[error(transparent)]
    Yard(#[from] Error),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// When the ticks of a minute come, in seconds from its begin.
pub fn delays_s(tick_ms: u64) -> Vec<u32> {
    let tick_ms = tick_ms.clamp(SHORTEST_MS, MINUTE_MS);
    (0..MINUTE_MS).step_by(tick_ms as usize).map(|at_ms| (at_ms / 1_000) as u32).collect()
}

impl AwsHome {
    /// Sends the ticks of the minute that begins now, as often as the chain with the shortest tick needs.
    pub fn send_ticks(&self) -> LocalBoxFuture<'_, Result<usize, TickError>> {
        Box::pin(async move {
            let tick_ms = self.shortest_tick_ms().await?;
            self.send_a_minutes_ticks(&self.names.ticks_queue(), tick_ms).await
        })
    }

    /// The same for the follower, as often as the chain that polls its node most often needs; none where no chain follows one.
    pub fn send_follow_ticks(&self) -> LocalBoxFuture<'_, Result<usize, TickError>> {
        Box::pin(async move {
            let chains = self.followed_chains().await?;
            let polls_ms = chains.iter().filter_map(|(_, pipeline)| Some(pipeline.node.as_ref()?.poll_ms));
            match polls_ms.min() {
                Some(poll_ms) => self.send_a_minutes_ticks(&self.names.follow_queue(), poll_ms).await,
                None => Ok(0),
            }
        })
    }

    async fn send_a_minutes_ticks(&self, queue: &str, tick_ms: u64) -> Result<usize, TickError> {
        let body = serde_json::to_string(&Message::Tick {}).unwrap_or_default();
        let ticks: Vec<Outgoing> = delays_s(tick_ms)
            .into_iter()
            .map(|delay_s| Outgoing { body: body.clone(), delay_s, ..Outgoing::default() })
            .collect();
        self.queues.send(queue, &ticks).await?;
        Ok(ticks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_its_ticks_and_no_more() {
        assert_eq!(delays_s(15_000), [0, 15, 30, 45]);
        assert_eq!(delays_s(1_000), (0..60).collect::<Vec<_>>());
        assert_eq!(delays_s(10), delays_s(1_000));
        assert_eq!(delays_s(600_000), [0]);
    }
}
