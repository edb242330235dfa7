//! Redrive: dead letters are put back on the queues they are from.
//!
//! A dead letter that fails again becomes one again at once, tagged with this redrive's id, and this redrive does not retry it. So
//! a redrive ends, although functions consume its messages meanwhile.

use std::collections::BTreeSet;

use futures_util::future::LocalBoxFuture;
use proofyard_core::error::{Code, Coded, Error};
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::port::Port;

use crate::clients::names::Names;
use crate::home::AwsHome;
use crate::queues::{Outgoing, QueueError, REDRIVE};

#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("the yard's pools cannot be read")]
    State(#[from] Error),
}

impl Coded for RedriveError {
    fn code(&self) -> Code {
        match self {
            Self::Queue(error) => error.code(),
            Self::State(error) => error.code(),
        }
    }
}

impl AwsHome {
    /// Puts all dead letters back; answers how many.
    pub fn redrive(&self) -> LocalBoxFuture<'_, Result<usize, RedriveError>> {
        Box::pin(async move {
            let redrive = format!("{:016x}", self.yard.port.random());
            let mut moved = 0;
            for queue in self.queues_with_dead_letters().await? {
                moved += self.put_back(&queue, &redrive).await?;
            }
            Ok(moved)
        })
    }

    async fn queues_with_dead_letters(&self) -> Result<Vec<String>, RedriveError> {
        let names = &self.names;
        let mut queues = vec![names.blocks_queue(), names.results_queue(), names.ticks_queue()];
        let mut pools = BTreeSet::from([JUDGE_POOL.to_owned()]);
        for chain in self.yard.chains().await? {
            pools.extend(self.yard.chain(&chain).await?.1.pools.keys().cloned());
        }
        let wakes = pools.into_iter().map(|pool| names.wake_queue(&pool));
        for queue in wakes.chain([names.follow_queue(), names.notify_queue(), names.propose_queue()]) {
            // A pipeline's pool may not be deployed, and a yard may have no judge, and no proposer; an older one
            // has no follower, and no notifier.
            if self.queues.exists(&queue).await? {
                queues.push(queue);
            }
        }
        Ok(queues)
    }

    async fn put_back(&self, queue: &str, redrive: &str) -> Result<usize, QueueError> {
        let dead = Names::dead_letters_of(queue);
        let (mut moved, mut stay) = (0, Vec::new());
        loop {
            let messages = self.queues.receive(&dead, 1).await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                if message.redrive.as_deref() == Some(redrive) {
                    stay.push(message);
                    continue;
                }
                let again = Outgoing {
                    body: message.body.clone(),
                    group: message.group.clone(),
                    // A new deduplication id, so that SQS does not drop it as a repeat.
                    deduplication: message
                        .group
                        .as_ref()
                        .map(|_| format!("again-{:016x}", self.yard.port.random())),
                    attributes: vec![(REDRIVE.to_owned(), redrive.to_owned())],
                    ..Outgoing::default()
                };
                self.queues.send(queue, &[again]).await?;
                self.queues.delete(&dead, &[&message]).await?;
                moved += 1;
            }
        }
        let stay: Vec<_> = stay.iter().map(|message| (message, 0)).collect();
        self.queues.retry_after(&dead, &stay).await?;
        Ok(moved)
    }
}
