//! Queues, topics and event buses.

use std::sync::{Arc, Mutex};

use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::named;
use proofyard_core::sinks::SinkWord;
use serde_json::Value;

use crate::yard::{ToldYard, notifier, tell_by};

/// In a queue that is FIFO, a repeat of what it has is dropped there.
#[tokio::test]
async fn a_fifo_queue_gets_each_entry_once_and_in_order() {
    const BLOCKS: u64 = 5;
    let yard = ToldYard::with("", 0).await;
    let sqs = aws_sdk_sqs::Client::new(&yard.driver.config);
    let fifo = aws_sdk_sqs::types::QueueAttributeName::FifoQueue;
    let made = sqs.create_queue().queue_name("told.fifo").attributes(fifo, "true").send().await.unwrap();
    let url = made.queue_url.unwrap();
    let yard = yard.again(&format!("[sink.queue]\nsqs = \"{url}\"\n"), BLOCKS).await;
    let plain = notifier(&yard.driver.home);
    tell_by(&plain).await;
    // Everything again, as after a crash behind each.
    yard.driver.home.yard.tell_sink(&named("c"), "queue", SinkWord::Again { from: 0 }).await.unwrap();
    yard.driver.take_steps().await.unwrap();
    tell_by(&plain).await;
    assert_eq!(yard.next_sequence("queue").await, BLOCKS);
    let mut got: Vec<(u64, String)> = Vec::new();
    loop {
        let received = sqs.receive_message().queue_url(&url).max_number_of_messages(10).send().await.unwrap();
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            got.push((body["sequence"].as_u64().unwrap(), body["key"].as_str().unwrap().to_owned()));
            let receipt = message.receipt_handle().unwrap();
            sqs.delete_message().queue_url(&url).receipt_handle(receipt).send().await.unwrap();
        }
    }
    let wanted: Vec<_> = (0..BLOCKS).map(|sequence| (sequence, format!("c/commits/{sequence}"))).collect();
    assert_eq!(got, wanted);
}

/// What a role may not do, or a queue that is gone, is a failure that the sink shows; the chain goes on.
#[tokio::test]
async fn a_queue_that_cannot_be_sent_to_holds_up_its_sink_alone() {
    let sink = "[sink.queue]\nsqs = \"http://127.0.0.1:1/000000000000/gone\"\n";
    let yard = ToldYard::with(sink, 2).await;
    tell_by(&notifier(&yard.driver.home)).await;
    let cursor = yard.driver.home.yard.sink_cursor(&named("c"), "queue", "commits").await.unwrap();
    assert_eq!((cursor.next_sequence, cursor.failures), (0, 1));
    assert!(cursor.last_error.is_some());
}

/// PutEvents succeeds also where the bus has taken nothing.
#[tokio::test]
async fn a_bus_that_fails_an_event_in_an_answer_that_succeeds_gets_it_again() {
    let yard = ToldYard::with("[sink.bus]\neventbridge = \"told\"\n", 1).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let put = Arc::clone(&events);
    yard.driver.http.breaks(move |operation, body| {
        if operation != "PutEvents" {
            return Fate::Made;
        }
        let mut put = put.lock().unwrap();
        put.push(serde_json::from_str::<Value>(body).unwrap());
        let answer = match put.len() {
            1 => r#"{"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "later"}]}"#,
            _ => r#"{"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}"#,
        };
        Fate::Answered(200, answer.to_owned())
    });
    let plain = notifier(&yard.driver.home);
    tell_by(&plain).await;
    let cursor = yard.driver.home.yard.sink_cursor(&named("c"), "bus", "commits").await.unwrap();
    assert!(cursor.last_error.as_ref().is_some_and(|error| error.contains("InternalFailure")), "{cursor:?}");
    yard.driver.home.yard.tell_sink(&named("c"), "bus", SinkWord::Resume).await.unwrap();
    yard.driver.take_steps().await.unwrap();
    tell_by(&plain).await;
    assert_eq!(yard.next_sequence("bus").await, 1);
    let events = events.lock().unwrap();
    let event = &events[1]["Entries"][0];
    assert_eq!((&event["Source"], &event["DetailType"]), (&"proofyard".into(), &"proof".into()));
    assert_eq!(event["EventBusName"], "told");
    let detail: Value = serde_json::from_str(event["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["key"], "c/commits/0");
}

/// A topic that is FIFO is told which messages are one order, and which are the same.
#[tokio::test]
async fn a_fifo_topic_gets_a_group_and_a_deduplication_id() {
    let topic = "arn:aws:sns:us-east-1:000000000000:told.fifo";
    let yard = ToldYard::with(&format!("[sink.topic]\nsns = \"{topic}\"\n"), 1).await;
    let published = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&published);
    yard.driver.http.breaks(move |_, body| {
        if !body.contains("Action=Publish") {
            return Fate::Made;
        }
        kept.lock().unwrap().push(body.to_owned());
        let answer = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
                      <MessageId>1</MessageId></PublishResult></PublishResponse>";
        Fate::Answered(200, answer.to_owned())
    });
    tell_by(&notifier(&yard.driver.home)).await;
    assert_eq!(yard.next_sequence("topic").await, 1);
    let published = published.lock().unwrap();
    let [one] = published.as_slice() else { panic!("{published:?}") };
    assert!(one.contains("MessageGroupId=test%3Ac%3Atopic"), "{one}");
    assert!(one.contains("MessageDeduplicationId=test%3Ac%3Atopic%3Ac%2Fcommits%2F0"), "{one}");
}
