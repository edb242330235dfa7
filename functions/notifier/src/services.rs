//! Queues, topics and event buses of AWS. An entry's key is its deduplication id where the other side is FIFO, and stands in
//! the message in any case: a repeat can be told.

use aws_config::{Region, SdkConfig};
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
    config: SdkConfig,
}

impl Services {
    pub fn of(config: &SdkConfig) -> Self {
        Self { config: config.clone() }
    }

    /// `sink` names the sink, its chain and its yard: the group of its messages where the other side is FIFO.
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

    /// What is in another region is called there; the clients share their connections.
    fn config_for(&self, place: &str) -> SdkConfig {
        match region_of(place) {
            Some(region) => self.config.to_builder().region(Region::new(region.to_owned())).build(),
            None => self.config.clone(),
        }
    }

    async fn send(&self, url: &str, sink: &str, entry: &EntryMessage, body: String) -> Result<(), Cause> {
        let client = aws_sdk_sqs::Client::new(&self.config_for(url));
        let mut send = client.send_message().queue_url(url).message_body(body);
        if url.ends_with(FIFO) {
            send = send.message_group_id(group_id(sink)).message_deduplication_id(once(sink, entry));
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
        let client = aws_sdk_sns::Client::new(&self.config_for(topic));
        let mut publish = client.publish().topic_arn(topic).message(body);
        if topic.ends_with(FIFO) {
            publish = publish.message_group_id(group_id(sink)).message_deduplication_id(once(sink, entry));
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
        let client = aws_sdk_eventbridge::Client::new(&self.config_for(bus));
        let answer = client.put_events().entries(event).send().await.map_err(CallFault::of)?;
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

/// Two sinks, or two yards with a chain of the same name, may send to one queue.
fn once(sink: &str, entry: &EntryMessage) -> String {
    group_id(&format!("{sink}:{}", entry.key))
}

/// As an ARN or the URL of a queue says it.
fn region_of(place: &str) -> Option<&str> {
    let region = match place.strip_prefix("arn:") {
        Some(arn) => arn.split(':').nth(2),
        None => place
            .split_once("://sqs.")
            .and_then(|(_, host)| host.split_once(".amazonaws."))
            .map(|host| host.0),
    };
    region.filter(|region| !region.is_empty())
}

fn event_of(kind: &OutKind) -> &'static str {
    match kind {
        OutKind::Proof { .. } => "proof",
        OutKind::Retract { .. } => "retract",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_called_in_its_own_region() {
        for (place, region) in [
            ("arn:aws:sns:eu-west-1:111122223333:proofs", Some("eu-west-1")),
            ("arn:aws-cn:events:cn-north-1:111122223333:event-bus/proofs", Some("cn-north-1")),
            ("https://sqs.us-east-2.amazonaws.com/111122223333/proofs.fifo", Some("us-east-2")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/111122223333/proofs", Some("cn-north-1")),
            ("http://127.0.0.1:4566/000000000000/proofs", None),
            ("proofs", None),
        ] {
            assert_eq!(region_of(place), region, "{place}");
        }
    }
}
