//! What arrives on a queue, and what becomes of each message.
//!
//! Messages of one group are taken in order, groups side by side. One that fails for a passing reason comes again within
//! two seconds, later within a minute, and so do those behind it in its group, which are not touched before it. One that
//! can never be taken goes to the queue's dead letters at once, with its reason, so that it holds up nobody; a redrive
//! brings it back. A fact counts only if it came by the queue that its sender alone may write to: workers, who wake
//! others, may write to no such queue.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::{LocalBoxFuture, join_all};
use proofyard_core::error::Error;
use proofyard_core::port::Port;
use proofyard_core::record::BlockOutcome;
use tracing::{error, info, warn};

use super::Invocation;
use crate::clients::names::Names;
use crate::home::AwsHome;
use crate::pools::job_workers::job_ended;
use crate::queues::message::{Event, Message};
use crate::queues::{Incoming, Outgoing, QueueError, REDRIVE};

/// SQS takes more; nobody reads more.
const MAX_REASON_CHARS: usize = 500;
/// The attribute of a dead letter that says why it is one.
const REASON: &str = "reason";

/// How taking one message ended.
#[derive(Debug)]
enum Ended {
    Done,
    /// It failed for a passing reason, and comes again.
    Again(String),
    /// It can never be taken, and goes to the dead letters.
    Never(String),
}

impl AwsHome {
    /// Takes a batch, and answers the ids of the messages that are to come again. Their time is set already.
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
                again.iter().map(|message| (*message, comes_again_after_s(message.receives))).collect();
            if let Err(trouble) = self.queues.show_again(queue, &when).await {
                warn!(%trouble, "failed messages come again later than they should");
            }
            again.into_iter().map(|message| message.id.clone()).collect()
        })
    }

    /// Answers what is to come again: the first that failed, and all behind it.
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
                let ended = self.begin().take(queue, message, until).await;
                match ended {
                    Ended::Done => continue,
                    Ended::Never(reason) => match self.bury(queue, message, &reason).await {
                        Ok(()) => continue,
                        Err(trouble) => trouble.to_string(),
                    },
                    Ended::Again(reason) => reason,
                }
            };
            warn!(queue, id = message.id, receives = message.receives, reason, "a message comes again");
            return std::iter::once(message).chain(left).collect();
        }
        Vec::new()
    }

    async fn bury(&self, queue: &str, message: &Incoming, reason: &str) -> Result<(), QueueError> {
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

    /// The one queue by which this may come; `None` for what only says that it may be worth looking.
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
    async fn take(&self, queue: &str, message: &Incoming, until: Instant) -> Ended {
        let event = match Event::read(&message.body) {
            Ok(event) => event,
            Err(error) => return self.unreadable(format!("it is no message of this yard: {error}")).await,
        };
        if let Some(own) = self.home.own_queue_of(&event).filter(|own| own != queue) {
            return Ended::Never(format!(
                "it came by {queue}, and such a message counts only if it comes by {own}"
            ));
        }
        match self.record(event, message.sent_ms, until).await {
            Ok(()) => {}
            Err(trouble) if trouble.passes() => return Ended::Again(trouble.to_string()),
            Err(trouble @ Error::Refused(_)) => return Ended::Never(trouble.to_string()),
            Err(trouble) => return self.unreadable(trouble.to_string()).await,
        }
        match self.settle(until).await {
            Ok(()) => Ended::Done,
            Err(trouble) => Ended::Again(trouble.to_string()),
        }
    }

    /// What cannot be read is damaged, unless newer programs run beside this one: they can read it.
    async fn unreadable(&self, reason: String) -> Ended {
        match self.home.newer_format().await {
            Ok(None) => Ended::Never(reason),
            Ok(Some(newer)) => Ended::Again(format!("{reason}; {newer}")),
            Err(trouble) => Ended::Again(format!("{reason}; the yard's format cannot be read: {trouble}")),
        }
    }

    /// Records the fact that a message brings, if it brings one.
    async fn record(&self, event: Event, sent_ms: Option<u64>, until: Instant) -> Result<(), Error> {
        let message = match event {
            Event::Message(message) => *message,
            Event::JobEnded { job } => return job_ended(&self.home.yard, &job).await,
            Event::Other { kind } => {
                info!(kind, "told by AWS, and nothing to do");
                return Ok(());
            }
        };
        match message {
            Message::Block { chain, block } => {
                // Who sent it was told that it is kept when it was on the queue.
                let outcome = self.home.yard.record_acknowledged_block(&chain, &block, sent_ms).await?;
                let (height, hash) = (block.height, &block.hash);
                info!(chain, height, hash, repeated = outcome == BlockOutcome::Repeated, "block recorded");
            }
            Message::Reorg { chain, height, hash } => {
                let outcome = self.home.yard.record_reorg(&chain, height, &hash).await?;
                info!(chain, height, hash, ?outcome, "reorg recorded");
            }
            Message::End { chain } => self.home.yard.record_end(&chain).await?,
            Message::Wake(wake) => self.home.yard.port.send(&[wake]).await,
            Message::Tick {} => self.sweep(until).await?,
        }
        Ok(())
    }
}

/// Two seconds at most in the first minute and a half, so that a hiccup costs no more; then a sixteenth more with each
/// receive, so that the thousand receives after which SQS gives a message up take hours, and what is mended meanwhile is
/// noticed within a minute.
fn comes_again_after_s(receives: u32) -> u32 {
    receives.min(2).max(receives / 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_trouble_gives_up_no_message_for_hours() {
        let spec = include_str!("../../../../infra/spec/yard.json");
        let spec: serde_json::Value = serde_json::from_str(spec).unwrap();
        let receives = spec.pointer("/queue_defaults/receives_before_dead_letter").unwrap().as_u64().unwrap();
        // Of which none is SQS's that makes no call.
        let waits = (1..receives as u32).map(comes_again_after_s);
        assert!(waits.clone().take(45).all(|wait_s| wait_s <= 2));
        assert!(waits.clone().all(|wait_s| wait_s <= 62));
        let hours = waits.sum::<u32>() / 3_600;
        assert_eq!(hours, 8);
    }
}
