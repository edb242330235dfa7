//! Queues, topics and event buses of AWS. An entry's key is its deduplication id where the other side is FIFO, and stands in
//! the message in any case: a repeat can be told.

use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use proofyard_aws::clients::call_fault::CallFault;
use proofyard_aws::queues::group_id;
use proofyard_core::error::{Cause, with_causes};
use proofyard_core::pipeline::AwsTarget;
use proofyard_core::sinks::Trouble;
use proofyard_core::state::OutKind;
use proofyard_sinks::{EntryMessage, Message, Outcome};

/// Who sends events, as rules of a bus match it.
const SOURCE: &str = "proofyard";
const FIFO: &str = ".fifo";

pub struct Services {
    sqs: aws_sdk_sqs::Client,
    sns: aws_sdk_sns::Client,
    eventbridge: aws_sdk_eventbridge::Client,
}

impl Services {
    pub fn of(config: &SdkConfig) -> Self {
        Self {
            sqs: aws_sdk_sqs::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            eventbridge: aws_sdk_eventbridge::Client::new(config),
        }
    }

    /// `sink` names the sink and its chain: the group of its messages where the other side is FIFO.
    pub async fn tell(&self, target: &AwsTarget, sink: &str, message: &Message) -> Outcome {
        let Message::Entry(entry) = message else {
            return Outcome::Refused("entries of a log are sent, and this is a block".to_owned());
        };
        let body = match serde_json::to_string(message) {
            Ok(body) => body,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let sent = match target {
            AwsTarget::Sqs(url) => self.send(url, sink, entry, body).await,
            AwsTarget::Sns(topic) => self.publish(topic, sink, entry, body).await,
            AwsTarget::Eventbridge(bus) => self.put(bus, entry, body).await,
        };
        match sent {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Later(Trouble::saying(with_causes(error.as_ref()).to_string())),
        }
    }

    async fn send(&self, url: &str, sink: &str, entry: &EntryMessage, body: String) -> Result<(), Cause> {
        let mut send = self.sqs.send_message().queue_url(url).message_body(body);
        if url.ends_with(FIFO) {
            send = send.message_group_id(group_id(sink)).message_deduplication_id(group_id(&entry.key));
        }
        send.send().await.map_err(CallFault::of)?;
        Ok(())
    }

    async fn publish(
        &self,
        topic: &str,
        sink: &str,
        entry: &EntryMessage,
        body: String,
    ) -> Result<(), Cause> {
        let mut publish = self.sns.publish().topic_arn(topic).message(body);
        if topic.ends_with(FIFO) {
            publish = publish.message_group_id(group_id(sink)).message_deduplication_id(group_id(&entry.key));
        }
        publish.send().await.map_err(CallFault::of)?;
        Ok(())
    }

    async fn put(&self, bus: &str, entry: &EntryMessage, body: String) -> Result<(), Cause> {
        let event = PutEventsRequestEntry::builder()
            .event_bus_name(bus)
            .source(SOURCE)
            .detail_type(event_of(&entry.entry.kind))
            .detail(body)
            .build();
        let answer = self.eventbridge.put_events().entries(event).send().await.map_err(CallFault::of)?;
        // The call succeeds also where the bus has not taken the event.
        if answer.failed_entry_count() == 0 {
            return Ok(());
        }
        let failed = answer.entries().first();
        let code = failed.and_then(|failed| failed.error_code()).unwrap_or("no code");
        let says = failed.and_then(|failed| failed.error_message()).unwrap_or_default();
        Err(format!("bus {bus} has not taken the event: {code}: {says}").into())
    }
}

fn event_of(kind: &OutKind) -> &'static str {
    match kind {
        OutKind::Proof { .. } => "proof",
        OutKind::Retract { .. } => "retract",
    }
}
