//! SQS: sending in batches of ten, receiving, deleting, making a message visible again. [`message`] is what they carry.
//!
//! A batch may fail in part: the messages that failed are sent again, a few times, with a random wait in between.

pub mod message;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use futures_util::future::BoxFuture;
use proofyard_core::error::{Cause, Code, Coded, because};

use crate::clients::call_fault::CallFault;
use crate::clients::host::Source;
use crate::clients::sdk::time_limits;

/// How many messages SQS takes in one batch.
pub const MAX_BATCH: usize = 10;
/// The longest delay of a message in a standard queue.
pub const MAX_DELAY_S: u32 = 900;
/// Bytes of one message, and of all in one batch, attributes included: what `infra/spec` sets for every queue.
pub const MAX_MESSAGE_BYTES: usize = 262_144;
/// How many of them are reserved for a dead letter's attributes.
const ATTRIBUTES_BYTES: usize = 4_096;
const TRIES: u32 = 4;
const FIRST_WAIT_MS: u64 = 40;
/// The attribute that names the redrive which put a message back.
pub const REDRIVE: &str = "redrive";
/// How long a receive waits for a message; the call's time limit is somewhat longer.
pub const LONG_POLL_S: u32 = 20;
const RECEIVE_CALL: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
#[error("queue {queue}")]
pub struct QueueError {
    pub queue: String,
    pub source: Cause,
}

impl QueueError {
    fn new(queue: &str, source: impl Into<Cause>) -> Self {
        Self { queue: queue.to_owned(), source: source.into() }
    }
}

impl Coded for QueueError {
    fn code(&self) -> Code {
        Code::QueueFault
    }
}

/// A message to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    pub body: String,
    /// FIFO queues: messages of one group keep their order; a repeat of a deduplication id within five minutes is dropped.
    pub group: Option<String>,
    pub deduplication: Option<String>,
    /// Standard queues only.
    pub delay_s: u32,
    /// Attributes, such as a dead letter's reason.
    pub attributes: Vec<(String, String)>,
}

/// A message received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub id: String,
    pub receipt: String,
    pub body: String,
    pub group: Option<String>,
    /// How often it was received, this time included.
    pub receives: u32,
    /// When it was sent.
    pub sent_ms: Option<u64>,
    /// Which redrive put it back, if any: the same one does not put it back again.
    pub redrive: Option<String>,
}

#[derive(Clone)]
pub struct Queues {
    client: Client,
    urls: Arc<Mutex<HashMap<String, String>>>,
    random: Source,
}

impl Queues {
    pub fn new(client: Client, random: Source) -> Self {
        Self { client, urls: Arc::default(), random }
    }

    /// Whether there is such a queue.
    pub async fn exists(&self, queue: &str) -> Result<bool, QueueError> {
        match self.client.get_queue_url().queue_name(queue).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_queue_does_not_exist()) => {
                Ok(false)
            }
            Err(error) => Err(failed(queue, error)),
        }
    }

    /// Whether the queue has this tag; one that is not there has none.
    pub async fn is_tagged(&self, queue: &str, tag: &str) -> Result<bool, QueueError> {
        if !self.exists(queue).await? {
            return Ok(false);
        }
        let tags = self.client.list_queue_tags().queue_url(self.url(queue).await?).send().await;
        let tags = tags.map_err(|error| failed(queue, error))?;
        Ok(tags.tags.is_some_and(|tags| tags.contains_key(tag)))
    }

    /// Whether this process has sent to it, or received from it.
    pub(crate) fn has_used(&self, queue: &str) -> bool {
        self.known_url(queue).is_some()
    }

    fn known_url(&self, queue: &str) -> Option<String> {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned()
    }

    async fn url(&self, queue: &str) -> Result<String, QueueError> {
        if let Some(url) = self.known_url(queue) {
            return Ok(url);
        }
        let found = self.client.get_queue_url().queue_name(queue).send().await;
        let found = found.map_err(|error| failed(queue, error))?;
        let url = found.queue_url.ok_or_else(|| QueueError::new(queue, "it has no address"))?;
        self.urls.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.to_owned(), url.clone());
        Ok(url)
    }

    /// Sends all of them, in order; those that fail for a transient reason are retried.
    pub fn send<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [Outgoing],
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let too_long = |message: &&Outgoing| message.body.len() > MAX_MESSAGE_BYTES - ATTRIBUTES_BYTES;
            if let Some(message) = messages.iter().find(too_long) {
                let (found, most) = (message.body.len(), MAX_MESSAGE_BYTES - ATTRIBUTES_BYTES);
                let reason = format!("a message has {found} bytes; {most} are the most");
                return Err(QueueError::new(queue, reason));
            }
            let url = self.url(queue).await?;
            for batch in batches(messages) {
                self.send_batch(queue, &url, batch).await?;
            }
            Ok(())
        })
    }

    async fn send_batch(&self, queue: &str, url: &str, batch: &[Outgoing]) -> Result<(), QueueError> {
        let mut left: Vec<usize> = (0..batch.len()).collect();
        let mut reason = String::new();
        let mut wait_ms = FIRST_WAIT_MS;
        for _ in 0..TRIES {
            let entries = left.iter().filter_map(|place| Some((place, batch.get(*place)?)));
            let entries =
                entries.map(|(place, message)| entry(*place, message)).collect::<Result<Vec<_>, _>>();
            let entries = entries
                .map_err(|error| QueueError::new(queue, because("a message cannot be sent", error)))?;
            let sent =
                self.client.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
            let sent = sent.map_err(|error| failed(queue, error))?;
            if sent.failed.is_empty() {
                return Ok(());
            }
            if let Some(fault) = sent.failed.iter().find(|entry| entry.sender_fault) {
                let said = fault.message.as_deref().unwrap_or_default();
                reason = format!("a message was refused: {} {said}", fault.code);
                break;
            }
            left = sent.failed.iter().filter_map(|entry| entry.id.parse().ok()).collect();
            reason = format!("{} of {} messages were not taken", left.len(), batch.len());
            tokio::time::sleep(Duration::from_millis((self.random)() % wait_ms)).await;
            wait_ms *= 2;
        }
        Err(QueueError::new(queue, reason))
    }

    /// Up to ten messages; waits up to `wait_s` for the first.
    pub fn receive<'a>(
        &'a self,
        queue: &'a str,
        wait_s: u32,
    ) -> BoxFuture<'a, Result<Vec<Incoming>, QueueError>> {
        Box::pin(async move {
            let limits = aws_sdk_sqs::config::Config::builder()
                .timeout_config(time_limits(RECEIVE_CALL, RECEIVE_CALL));
            let got = self
                .client
                .receive_message()
                .queue_url(self.url(queue).await?)
                .max_number_of_messages(MAX_BATCH as i32)
                .wait_time_seconds(i32::try_from(wait_s.min(LONG_POLL_S)).unwrap_or_default())
                .message_system_attribute_names(MessageSystemAttributeName::All)
                .message_attribute_names(REDRIVE)
                .customize()
                .config_override(limits)
                .send()
                .await
                .map_err(|error| failed(queue, error))?;
            Ok(got.messages.unwrap_or_default().into_iter().filter_map(incoming).collect())
        })
    }

    /// Removes messages that are done.
    pub fn delete<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [&'a Incoming],
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let url = self.url(queue).await?;
            for batch in messages.chunks(MAX_BATCH) {
                let entries = batch.iter().enumerate().map(|(place, message)| {
                    DeleteMessageBatchRequestEntry::builder()
                        .id(place.to_string())
                        .receipt_handle(&message.receipt)
                        .build()
                });
                let entries =
                    entries.collect::<Result<Vec<_>, _>>().map_err(|error| QueueError::new(queue, error))?;
                let deleted = self.client.delete_message_batch().queue_url(&url).set_entries(Some(entries));
                // A message that was not deleted is delivered again, and finds nothing left to do.
                deleted.send().await.map_err(|error| failed(queue, error))?;
            }
            Ok(())
        })
    }

    /// Makes each visible again after so many seconds.
    pub fn retry_after<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [(&'a Incoming, u32)],
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let url = self.url(queue).await?;
            for batch in messages.chunks(MAX_BATCH) {
                let entries = batch.iter().enumerate().map(|(place, (message, after_s))| {
                    ChangeMessageVisibilityBatchRequestEntry::builder()
                        .id(place.to_string())
                        .receipt_handle(&message.receipt)
                        .visibility_timeout(i32::try_from(*after_s).unwrap_or_default())
                        .build()
                });
                let entries =
                    entries.collect::<Result<Vec<_>, _>>().map_err(|error| QueueError::new(queue, error))?;
                let change = self.client.change_message_visibility_batch().queue_url(&url);
                let changed = change.set_entries(Some(entries)).send().await;
                let changed = changed.map_err(|error| failed(queue, error))?;
                if let Some(refused) = changed.failed().first() {
                    let code = refused.message().unwrap_or(refused.code());
                    return Err(QueueError::new(queue, Cause::from(code)));
                }
            }
            Ok(())
        })
    }
}

/// The messages in their order, as many in a batch as SQS takes.
fn batches(messages: &[Outgoing]) -> Vec<&[Outgoing]> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (place, message) in messages.iter().enumerate() {
        let more: usize =
            message.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
                + message.body.len();
        if place > from && (place - from == MAX_BATCH || bytes + more > MAX_MESSAGE_BYTES) {
            batches.extend(messages.get(from..place));
            (from, bytes) = (place, 0);
        }
        bytes += more;
    }
    batches.extend(messages.get(from..).filter(|rest| !rest.is_empty()));
    batches
}

fn entry(
    place: usize,
    message: &Outgoing,
) -> Result<SendMessageBatchRequestEntry, aws_sdk_sqs::error::BuildError> {
    let Outgoing { body, group, deduplication, delay_s, attributes } = message;
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(place.to_string())
        .message_body(body)
        .set_message_group_id(group.clone())
        .set_message_deduplication_id(deduplication.clone());
    if *delay_s > 0 {
        entry = entry.delay_seconds(i32::try_from(*delay_s.min(&MAX_DELAY_S)).unwrap_or_default());
    }
    for (name, value) in attributes {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build()?;
        entry = entry.message_attributes(name, value);
    }
    entry.build()
}

fn incoming(message: aws_sdk_sqs::types::Message) -> Option<Incoming> {
    let attributes = message.attributes.unwrap_or_default();
    let attribute = |name| attributes.get(&name).cloned();
    Some(Incoming {
        id: message.message_id?,
        receipt: message.receipt_handle?,
        body: message.body.unwrap_or_default(),
        group: attribute(MessageSystemAttributeName::MessageGroupId),
        receives: attribute(MessageSystemAttributeName::ApproximateReceiveCount)
            .and_then(|count| count.parse().ok())
            .unwrap_or(1),
        sent_ms: attribute(MessageSystemAttributeName::SentTimestamp).and_then(|at_ms| at_ms.parse().ok()),
        redrive: message.message_attributes.and_then(|mut all| all.remove(REDRIVE)?.string_value),
    })
}

fn failed<E, R>(queue: &str, error: SdkError<E, R>) -> QueueError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    QueueError::new(queue, CallFault::of(error))
}

/// The FIFO group of a chain, scope or sink. SQS takes 128 characters for a group: a longer name is replaced by its hash.
pub fn group_id(name: &str) -> String {
    use sha2::{Digest, Sha256};
    let plain = name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { name.to_owned() } else { hex::encode(Sha256::digest(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_batch_is_longer_than_sqs_takes() {
        let of = |bytes: &[usize]| {
            let messages: Vec<Outgoing> = bytes
                .iter()
                .map(|bytes| Outgoing { body: "x".repeat(*bytes), ..Outgoing::default() })
                .collect();
            batches(&messages).iter().map(|batch| batch.len()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [0; 0]);
        assert_eq!(of(&[1; 23]), [10, 10, 3]);
        assert_eq!(of(&[200_000, 60_000, 60_000, 200_000]), [2, 2]);
        assert_eq!(of(&[100_000; 5]), [2, 2, 1]);
    }

    #[test]
    fn the_queues_take_what_is_sent() {
        let spec = include_str!("../../../../infra/spec/yard.json");
        let spec: serde_json::Value = serde_json::from_str(spec).unwrap();
        let set = spec.pointer("/queue_defaults/max_message_bytes").and_then(serde_json::Value::as_u64);
        assert_eq!(set, Some(MAX_MESSAGE_BYTES as u64));
    }
}
