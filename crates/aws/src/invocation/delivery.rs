//! Delivery: each wake of an outbox is put on the queue of its receiver.

use futures_util::future::LocalBoxFuture;
use proofyard_core::error::with_causes;
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::port::{Port, Wake};
use proofyard_core::state::ChainName;
use tracing::warn;

use super::supplier::Supplier;
use crate::home::AwsHome;
use crate::queues::message::Message;
use crate::queues::{Outgoing, group_id};

impl AwsHome {
    /// Puts all wakes of this home's outbox on their queues, and submits workers to the pools that have tasks. None goes on
    /// the queue of block events, to which only block sources may write. What cannot be sent is lost: the sweeper finds it.
    pub fn deliver(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            let (mut steps, mut to_judge) = (Vec::new(), Vec::new());
            let (mut own, mut to_propose) = (Vec::new(), Vec::new());
            for wake in self.yard.port.outbox().take_all() {
                match &wake {
                    Wake::Pool { pool } => match self.supplier_of(pool).await {
                        Supplier::Workers => {
                            self.send_wakes(&self.names.wake_queue(pool), vec![token()]).await;
                            self.supply.ensure_workers(&self.yard, pool, false).await;
                        }
                        Supplier::Proposer => to_propose.push(wake),
                    },
                    Wake::Judge { .. } => {
                        to_judge.push(Outgoing { body: body_of(&wake), ..Outgoing::default() });
                    }
                    Wake::Chain { chain } => steps.push(self.wake_message(chain.as_str(), &wake)),
                    Wake::Scope { scope } => steps.push(self.wake_message(scope.as_str(), &wake)),
                    // What a function that tells sinks did not come to comes to it again.
                    Wake::Sink { .. } if self.notifier.is_some() => own.push(wake),
                    Wake::Sink { chain, sink } => {
                        steps.push(self.wake_message(&sink_group(chain, sink), &wake))
                    }
                }
            }
            self.send_wakes(&self.names.results_queue(), steps).await;
            self.wake_proposer(to_propose).await;
            if let Some(notifier) = &self.notifier {
                self.wake_sinks(&notifier.queue(&self.names), own).await;
            }
            if !to_judge.is_empty() {
                self.send_wakes(&self.names.wake_queue(JUDGE_POOL), to_judge).await;
                self.supply.ensure_workers(&self.yard, JUDGE_POOL, false).await;
            }
        })
    }

    /// One sink is told by one function at a time, sinks side by side.
    pub(super) async fn wake_sinks(&self, queue: &str, wakes: Vec<Wake>) {
        let messages = wakes.iter().filter_map(|wake| match wake {
            Wake::Sink { chain, sink } => Some(self.wake_message(&sink_group(chain, sink), wake)),
            _ => None,
        });
        self.send_wakes(queue, messages.collect()).await;
    }

    /// For the tasks of stages with an action, each such pool a group.
    pub(crate) async fn wake_proposer(&self, wakes: Vec<Wake>) {
        let messages = wakes.iter().filter_map(|wake| match wake {
            Wake::Pool { pool } => Some(self.wake_message(&action_group(pool), wake)),
            _ => None,
        });
        self.send_wakes(&self.names.propose_queue(), messages.collect()).await;
    }

    async fn send_wakes(&self, queue: &str, messages: Vec<Outgoing>) {
        if messages.is_empty() {
            return;
        }
        if let Err(error) = self.queues.send(queue, &messages).await {
            warn!(error = %with_causes(&error), lost = messages.len(), "wakes were lost");
        }
    }

    /// Each wake is a message with its own deduplication id: SQS must not drop a later one that says the same.
    fn wake_message(&self, group: &str, wake: &Wake) -> Outgoing {
        Outgoing {
            body: body_of(wake),
            group: Some(group_id(group)),
            deduplication: Some(format!("wake-{:016x}", self.yard.port.random())),
            ..Outgoing::default()
        }
    }
}

fn sink_group(chain: &ChainName, sink: &str) -> String {
    format!("{chain}:sink:{sink}")
}

/// No name has a colon, so that no sink's group is the same.
fn action_group(pool: &str) -> String {
    format!("action:{pool}")
}

/// Says that a pool may have tasks, and nothing else.
fn token() -> Outgoing {
    Outgoing { body: "{}".to_owned(), ..Outgoing::default() }
}

fn body_of(wake: &Wake) -> String {
    serde_json::to_string(&Message::Wake(wake.clone())).unwrap_or_default()
}
