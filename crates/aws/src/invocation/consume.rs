//! How a queue's messages are handled, and when one is delivered again.
//!
//! Messages of one group are taken in order, groups side by side. One that fails for a passing reason is delivered again
//! within two seconds, later within a minute, and so are those behind it in its group, which are not tried before it. One
//! that can never be taken goes to the queue's dead letters at once, with the reason, so that it blocks no other; a redrive
//! puts it back. A fact (a block, a reorg, a tick) counts only if it came by the queue to which its sender alone may write;
//! workers may write to none of those.
//!
//! Each message is one [`Invocation`]. Delivering a message twice is harmless: its fact is recorded once, its steps are
//! idempotent.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::{LocalBoxFuture, join_all};
use proofyard_core::error::{Error, with_causes};
use proofyard_core::port::Port;
use proofyard_core::record::BlockOutcome;
use tracing::{error, info, warn};

use super::Invocation;
use crate::clients::names::Names;
use crate::home::AwsHome;
use crate::pools::job_workers::job_ended;
use crate::queues::message::{Event, Message};
use crate::queues::{Incoming, Outgoing, QueueError, REDRIVE};

/// The longest reason that a dead letter carries.
const MAX_REASON_CHARS: usize = 500;
/// The attribute of a dead letter that says why it is one.
const REASON: &str = "reason";

/// How taking one message ended.
#[derive(Debug)]
enum Outcome {
    Done,
    /// It failed for this passing reason: SQS is to deliver it again.
    Retry(String),
    /// It can never be taken, for this reason.
    DeadLetter(String),
}

impl AwsHome {
    /// Takes a batch, and answers the ids of the messages that SQS is to deliver again; after how long, it has set already.
    pub fn take_batch<'a>(
        &'a self,
        queue: &'a str,
        messages: &'a [Incoming],
        until: Instant,
    ) -> LocalBoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            let mut groups: BTreeMap<String, Vec<&Incoming>> = BTreeMap::new();
            for message in messages {
                let group = message.group.clone().unwrap_or_else(|| message.id.clone());
                groups.entry(group).or_default().push(message);
            }
            let taken = groups.into_values().map(|group| self.take_group(queue, group, until));
            let again: Vec<&Incoming> = join_all(taken).await.into_iter().flatten().collect();
            if again.is_empty() {
                return Vec::new();
            }
            let when: Vec<_> =
                again.iter().map(|message| (*message, retry_after_s(message.receives))).collect();
            if let Err(error) = self.queues.retry_after(queue, &when).await {
                warn!(error = %with_causes(&error), "failed messages are delivered again later than they should be");
            }
            again.into_iter().map(|message| message.id.clone()).collect()
        })
    }

    /// Answers what is to be delivered again: the first that failed, and all behind it.
    async fn take_group<'a>(
        &self,
        queue: &str,
        group: Vec<&'a Incoming>,
        until: Instant,
    ) -> Vec<&'a Incoming> {
        let mut left = group.into_iter();
        while let Some(message) = left.next() {
            let reason = if Instant::now() >= until {
                "there is no time left".to_owned()
            } else {
                let outcome = self.begin().take(queue, message, until).await;
                match outcome {
                    Outcome::Done => continue,
                    Outcome::DeadLetter(reason) => {
                        match self.to_dead_letters(queue, message, &reason).await {
                            Ok(()) => continue,
                            Err(error) => with_causes(&error).to_string(),
                        }
                    }
                    Outcome::Retry(reason) => reason,
                }
            };
            warn!(queue, id = message.id, receives = message.receives, reason, "a message comes again");
            return std::iter::once(message).chain(left).collect();
        }
        Vec::new()
    }

    async fn to_dead_letters(&self, queue: &str, message: &Incoming, reason: &str) -> Result<(), QueueError> {
        error!(queue, id = message.id, body = message.body, reason, "a message cannot be taken");
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
        let dead = Outgoing {
            body: message.body.clone(),
            group: message.group.clone(),
            deduplication: message.group.as_ref().map(|_| message.id.clone()),
            delay_s: 0,
            attributes: std::iter::once((REASON.to_owned(), reason))
                .chain(message.redrive.clone().map(|redrive| (REDRIVE.to_owned(), redrive)))
                .collect(),
        };
        self.queues.send(&Names::dead_letters_of(queue), &[dead]).await
    }

    /// The only queue by which this event is accepted; `None` for hints, which any queue may deliver.
    fn own_queue_of(&self, event: &Event) -> Option<String> {
        let Event::Message(message) = event else { return None };
        match **message {
            Message::Block { .. } | Message::Reorg { .. } | Message::End { .. } => {
                Some(self.names.blocks_queue())
            }
            Message::Tick {} => Some(self.names.ticks_queue()),
            Message::Wake(_) => None,
        }
    }
}

impl Invocation {
    async fn take(&self, queue: &str, message: &Incoming, until: Instant) -> Outcome {
        let event = match Event::read(&message.body) {
            Ok(event) => event,
            Err(error) => return self.unreadable(format!("it is no message of this yard: {error}")).await,
        };
        if let Some(own) = self.home.own_queue_of(&event).filter(|own| own != queue) {
            return Outcome::DeadLetter(format!(
                "it came by {queue}, and such a message counts only if it comes by {own}"
            ));
        }
        match self.record(event, message.sent_ms, until).await {
            Ok(()) => {}
            Err(error) if error.passes() => return Outcome::Retry(with_causes(&error).to_string()),
            Err(error @ Error::Refused(_)) => return Outcome::DeadLetter(with_causes(&error).to_string()),
            Err(error) => return self.unreadable(with_causes(&error).to_string()).await,
        }
        match self.take_steps_until(until).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(with_causes(&error).to_string()),
        }
    }

    /// What cannot be read is damaged, unless newer programs run beside this one: they can read it.
    async fn unreadable(&self, reason: String) -> Outcome {
        match self.home.newer_format().await {
            Ok(None) => Outcome::DeadLetter(reason),
            Ok(Some(newer)) => Outcome::Retry(format!("{reason}; {newer}")),
            Err(error) => {
                Outcome::Retry(format!("{reason}; the yard's format cannot be read: {}", with_causes(&error)))
            }
        }
    }

    /// Records the fact that a message brings, if it brings one.
    async fn record(&self, event: Event, sent_ms: Option<u64>, until: Instant) -> Result<(), Error> {
        let message = match event {
            Event::Message(message) => *message,
            Event::JobEnded { job } => return job_ended(&self.home.yard, &job).await,
            Event::Other { kind } => {
                info!(kind, "an event of AWS that needs nothing");
                return Ok(());
            }
        };
        match message {
            Message::Block { chain, block } => {
                // It was acknowledged to its sender when it was on the queue.
                let outcome = self.home.yard.record_acknowledged_block(&chain, &block, sent_ms).await?;
                let (height, hash) = (block.height, block.hash.as_str());
                info!(%chain, height, hash, repeated = outcome == BlockOutcome::Repeated, "block recorded");
            }
            Message::Reorg { chain, height, hash } => {
                let outcome = self.home.yard.record_reorg(&chain, height, &hash).await?;
                info!(%chain, height, hash = hash.as_str(), ?outcome, "reorg recorded");
            }
            Message::End { chain } => self.home.yard.record_end(&chain).await?,
            Message::Wake(wake) => self.home.yard.port.send(&[wake]).await,
            Message::Tick {} => self.home.sweep_until(until).await?,
        }
        Ok(())
    }
}

/// At most two seconds in the first minute and a half, so that a short outage costs no more; then longer with each receive,
/// up to a minute: so the thousand receives after which SQS gives a message up take hours, and a repair is noticed within a
/// minute.
fn retry_after_s(receives: u32) -> u32 {
    receives.min(2).max(receives / 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transient_error_gives_up_no_message_for_hours() {
        let spec = include_str!("../../../../infra/spec/yard.json");
        let spec: serde_json::Value = serde_json::from_str(spec).unwrap();
        let receives = spec.pointer("/queue_defaults/receives_before_dead_letter").unwrap().as_u64().unwrap();
        // The last receive makes it a dead letter, without a wait.
        let waits = (1..receives as u32).map(retry_after_s);
        assert!(waits.clone().take(45).all(|wait_s| wait_s <= 2));
        assert!(waits.clone().all(|wait_s| wait_s <= 62));
        let hours = waits.sum::<u32>() / 3_600;
        assert_eq!(hours, 8);
    }
}
