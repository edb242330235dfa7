//! What the yard relies on in a FIFO queue, of LocalStack's queues alone.

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName::{
    DeduplicationScope, FifoQueue, FifoThroughputLimit, QueueArn, RedrivePolicy, VisibilityTimeout,
};
use proofyard_aws::queues::{Incoming, Outgoing, Queues};
use proofyard_aws_tests::PATIENCE;
use proofyard_aws_tests::driver::Driver;
use proofyard_aws_tests::local::LocalAws;
use serde_json::json;
use tokio::runtime::Runtime;

const QUEUE: &str = "groups.fifo";
const DEAD: &str = "groups-dead.fifo";
const VISIBILITY: Duration = Duration::from_secs(2);
/// After so many receives a message is dead.
const RECEIVES: u32 = 2;

pub fn order_visibility_and_dead_letters(aws: &LocalAws) {
    Runtime::new().unwrap().block_on(async {
        let driver = Driver::new(aws).await;
        make_queues(&aws_sdk_sqs::Client::new(&driver.config)).await;
        check(&driver.home.queues).await;
    });
}

/// As the yard's, but for their times and counts.
async fn make_queues(sqs: &aws_sdk_sqs::Client) {
    let fifo = |name| {
        let made = sqs.create_queue().queue_name(name).attributes(FifoQueue, "true");
        let made = made.attributes(DeduplicationScope, "messageGroup");
        made.attributes(FifoThroughputLimit, "perMessageGroupId")
    };
    let dead = fifo(DEAD).send().await.unwrap().queue_url.unwrap();
    let asked = sqs.get_queue_attributes().queue_url(dead).attribute_names(QueueArn).send().await.unwrap();
    let dead = asked.attributes.unwrap().remove(&QueueArn).unwrap();
    let policy = json!({ "deadLetterTargetArn": dead, "maxReceiveCount": RECEIVES }).to_string();
    let made = fifo(QUEUE).attributes(VisibilityTimeout, VISIBILITY.as_secs().to_string());
    made.attributes(RedrivePolicy, policy).send().await.unwrap();
}

async fn check(queues: &Queues) {
    // One of them twice: within five minutes that is one message.
    for body in ["a1", "b1", "a2", "a2", "b2"] {
        send(queues, body).await;
    }
    let first = receive(queues, QUEUE, 4).await;
    let received = Instant::now();
    assert_eq!(of_group(&first, "a"), [("a1", 1), ("a2", 1)]);
    assert_eq!(of_group(&first, "b"), [("b1", 1), ("b2", 1)]);
    send(queues, "a3").await;
    assert_eq!(queues.receive(QUEUE, 0).await.unwrap(), [], "its group is in somebody's hands");
    let done: Vec<&Incoming> = first.iter().filter(|message| message.body != "a2").collect();
    queues.delete(QUEUE, &done).await.unwrap();
    let again = receive(queues, QUEUE, 2).await;
    assert!(received.elapsed() > VISIBILITY.mul_f64(0.9), "back after {:?}", received.elapsed());
    assert_eq!(of_group(&again, "a"), [("a2", RECEIVES), ("a3", 1)]);
    assert_eq!(of_group(&receive(queues, QUEUE, 1).await, "a"), [("a3", 2)]);
    let dead: Vec<_> =
        receive(queues, DEAD, 1).await.into_iter().map(|dead| (dead.body, dead.group)).collect();
    assert_eq!(dead, [("a2".to_owned(), Some("a".to_owned()))]);
}

/// Its group is the body's first letter.
async fn send(queues: &Queues, body: &str) {
    let message = Outgoing {
        body: body.to_owned(),
        group: Some(body[..1].to_owned()),
        deduplication: Some(body.to_owned()),
        ..Outgoing::default()
    };
    queues.send(QUEUE, &[message]).await.unwrap();
}

/// So many messages, in the order in which they came, and no more.
async fn receive(queues: &Queues, queue: &str, count: usize) -> Vec<Incoming> {
    let (began, mut received) = (Instant::now(), Vec::new());
    while received.len() < count {
        assert!(began.elapsed() < PATIENCE, "{count} messages of {queue}; there were {received:?}");
        received.extend(queues.receive(queue, 1).await.unwrap());
    }
    assert_eq!(received.len(), count, "{received:?}");
    received
}

/// Bodies, and how often they were received.
fn of_group<'a>(messages: &'a [Incoming], group: &str) -> Vec<(&'a str, u32)> {
    let its = messages.iter().filter(|message| message.group.as_deref() == Some(group));
    its.map(|message| (message.body.as_str(), message.receives)).collect()
}
