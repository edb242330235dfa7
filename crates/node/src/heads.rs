//! Being notified of new blocks by WebSocket. What is told only begins a round sooner: a connection may break, or stay open and say
//! nothing, and rounds go on by the clock.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use alloy_primitives::B256;
use alloy_pubsub::{ConnectionHandle, PubSubConnect, SubscriptionItem};
use alloy_rpc_client::RpcClient;
use alloy_transport::{TransportErrorKind, TransportResult};
use alloy_transport_ws::WsConnect;
use proofyard_core::state::{EndpointState, EndpointStatus};
use proofyard_intake::follower::{Hint, NodeError};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::endpoints::shown;
use crate::errors::node_error;
use crate::rpc::{hash_of, height_of};

/// For connecting, and for the answer to the subscription.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Several nodes' blocks that wait for a round. What does not fit is found out by it.
pub(crate) const HINTS: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewHead {
    number: String,
    hash: String,
    parent_hash: String,
}

/// A connection that is not made again behind one's back.
struct Once(WsConnect);

impl PubSubConnect for Once {
    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        self.0.connect().await
    }

    async fn try_reconnect(&self) -> TransportResult<ConnectionHandle> {
        Err(TransportErrorKind::non_retryable_str("the connection broke"))
    }
}

/// One subscription: connected, and connected again, for ever.
pub(crate) struct Subscription {
    pub url: Url,
    /// Where it says how it stands.
    pub statuses: Rc<RefCell<Vec<EndpointStatus>>>,
    pub index: usize,
    /// The newest block that was found by asking.
    pub polled: Rc<Cell<u64>>,
    /// It is silent if it says nothing for so long, and there was a new block.
    pub silent_after: Duration,
    pub hints: Sender<Hint>,
    pub now_ms: fn() -> u64,
}

impl Subscription {
    pub async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let (error, was_good) = self.listen().await;
            self.set(
                match error {
                    NodeError::Rubbish(_) | NodeError::Refused { .. } => EndpointState::Wrong,
                    _ => EndpointState::Down,
                },
                Some(error.to_string()),
                None,
            );
            pause = if was_good { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            sleep(pause).await;
        }
    }

    /// Until the connection is of no use any more: why, and whether it ever was.
    async fn listen(&self) -> (NodeError, bool) {
        let late = |_| NodeError::Down("it does not answer in time".to_owned());
        // Connecting again is done here, so that it shows.
        let connect = RpcClient::connect_pubsub(Once(WsConnect::new(self.url.as_str())));
        let client = match timeout(CONNECT_TIMEOUT, connect).await.map_err(late) {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return (node_error(error, &self.url), false),
            Err(late) => return (late, false),
        };
        let mut request = client.request::<_, B256>("eth_subscribe", ("newHeads",));
        request.set_is_subscription();
        let id = match timeout(CONNECT_TIMEOUT, request).await.map_err(late) {
            Ok(Ok(id)) => id,
            Ok(Err(error)) => return (node_error(error, &self.url), false),
            Err(late) => return (late, false),
        };
        let mut heads = client.get_subscription::<NewHead>(id).await;
        self.set(EndpointState::Ready, None, None);
        let mut newest = self.polled.get();
        loop {
            match timeout(self.silent_after, heads.recv_any()).await {
                Ok(Ok(head)) => {
                    let hint = match head {
                        SubscriptionItem::Item(head) => head.hint(),
                        SubscriptionItem::Other(_) => None,
                    };
                    let Some(hint) = hint else {
                        return (NodeError::Rubbish("what it tells of is no block".to_owned()), true);
                    };
                    newest = hint.height;
                    self.set(EndpointState::Ready, None, Some(newest));
                    // Whoever does not fit is found out by the round that one of the others begins.
                    let _ = self.hints.try_send(hint);
                }
                // More came at once than are kept: a round finds them.
                Ok(Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) => {
                    return (NodeError::Down("the connection broke".to_owned()), true);
                }
                Err(_) if self.polled.get() > newest => {
                    let why = format!("it has said nothing since block {newest}");
                    return (NodeError::Down(why), true);
                }
                Err(_) => {}
            }
        }
    }

    fn set(&self, state: EndpointState, error: Option<String>, head: Option<u64>) {
        let mut statuses = self.statuses.borrow_mut();
        let status = &mut statuses[self.index];
        if status.state != state {
            (status.state, status.since_ms) = (state, (self.now_ms)());
        }
        status.error = error;
        status.head = head.or(status.head);
    }

    pub fn not_asked(url: &Url, now_ms: u64) -> EndpointStatus {
        EndpointStatus::new(shown(url), now_ms)
    }
}

impl NewHead {
    fn hint(self) -> Option<Hint> {
        let height = height_of(&self.number)?;
        Some(Hint { height, hash: hash_of(&self.hash)?.into(), parent: hash_of(&self.parent_hash)?.into() })
    }
}
