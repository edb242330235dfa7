//! Messages may be lost, repeated, late and out of order, and only time is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proofyard_aws::clients::names::Names;
use proofyard_aws::queues::message::Message;
use proofyard_aws::queues::{Incoming, Outgoing};
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::port::Port;

/// With ticks of a second, so that a test need not wait for quiet ones.
fn real_time() -> String {
    PIPELINE.replace("window = 8", "window = 8\nreal_time = true")
}

async fn post(driver: &Driver, message: &Message) {
    let deduplication = format!("{:016x}", driver.home.yard.port.random());
    driver.home.post(&named("c"), deduplication, message).await.unwrap();
}

fn event(height: u64, branch: &str, parent_branch: &str) -> Message {
    Message::Block { chain: named("c"), block: block(height, branch, parent_branch) }
}

fn reorg(height: u64, branch: &str) -> Message {
    Message::Reorg { chain: named("c"), height, hash: block(height, branch, branch).hash }
}

/// Facts that came by a queue to which workers may write; a worker could send a chain back to a branch of its choice.
#[tokio::test]
async fn a_block_a_reorg_and_an_end_count_only_if_they_come_by_the_queue_of_blocks() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let (yard, names) = (&driver.home.yard, &driver.home.names);
    for (height, branch, parent) in [(1, "a", "a"), (2, "a", "a"), (2, "b", "a")] {
        yard.record_block(&named("c"), &block(height, branch, parent)).await.unwrap();
    }
    driver.take_steps().await.unwrap();
    let forged = [event(3, "a", "a"), reorg(2, "b"), Message::End { chain: named("c") }, Message::Tick {}];
    for (message, queue) in
        forged.iter().flat_map(|message| [(message, names.results_queue()), (message, names.ticks_queue())])
    {
        if (message, &queue) == (&Message::Tick {}, &names.ticks_queue()) {
            continue;
        }
        let is_fifo = queue.ends_with(".fifo");
        let sent = Outgoing {
            body: serde_json::to_string(message).unwrap(),
            group: is_fifo.then(|| "c".to_owned()),
            deduplication: is_fifo.then(|| format!("{:016x}", yard.port.random())),
            ..Outgoing::default()
        };
        driver.home.queues.send(&queue, &[sent]).await.unwrap();
        driver.drain(&queue).await;
        let dead = driver.home.queues.receive(&Names::dead_letters_of(&queue), 1).await.unwrap();
        assert_eq!(dead.len(), 1, "{message:?} by {queue}");
        let dead: Vec<_> = dead.iter().collect();
        driver.home.queues.delete(&Names::dead_letters_of(&queue), &dead).await.unwrap();
    }
    let tip = yard.tip(&named("c")).await.unwrap();
    assert_eq!((tip.head, tip.ended), (Some((2, block(2, "a", "a").hash)), false));
}

/// Workers may not write to it, so wakes of whoever advances must not need it.
#[tokio::test]
async fn a_wake_goes_to_no_queue_of_blocks() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    driver.home.yard.record_block(&named("c"), &block(1, "a", "a")).await.unwrap();
    driver.home.deliver().await;
    assert_eq!(driver.home.queues.receive(&driver.home.names.blocks_queue(), 0).await.unwrap(), []);
    assert_ne!(driver.home.queues.receive(&driver.home.names.results_queue(), 1).await.unwrap(), []);
}

async fn heights(driver: &Driver) -> Vec<u64> {
    driver.committed("c").await.into_iter().map(|(height, _)| height).collect()
}

#[tokio::test]
async fn blocks_that_come_thrice_and_out_of_order_are_committed_once_and_in_order() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    driver.register("w").await;
    for height in [3, 1, 5, 4, 2, 3, 3, 1, 5] {
        post(&driver, &event(height, "a", "a")).await;
    }
    driver.drain_all().await;
    driver.work_all("w").await;
    post(&driver, &event(2, "a", "a")).await;
    driver.drain_all().await;
    driver.work_all("w").await;
    assert_eq!(heights(&driver).await, [1, 2, 3, 4, 5]);
}

/// A, then B from the same height, then A again, all within SQS's five minutes of deduplication.
#[tokio::test]
async fn a_branch_that_comes_back_at_once_is_proved() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    driver.register("w").await;
    for message in [
        event(1, "a", "a"),
        event(2, "a", "a"),
        event(2, "b", "a"),
        event(3, "b", "b"),
        reorg(3, "b"),
        event(2, "a", "a"),
        event(3, "a", "a"),
        reorg(3, "a"),
        // A late repeat of an orphan must not bring it back.
        event(3, "b", "b"),
    ] {
        post(&driver, &message).await;
        driver.drain_all().await;
    }
    driver.work_all("w").await;
    assert_eq!(heights(&driver).await, [1, 2, 3]);
    let tip = driver.home.yard.tip(&named("c")).await.unwrap().head.unwrap();
    assert_eq!(tip, (3, block(3, "a", "a").hash));
}

/// A function that dies after its transaction and before its sends, at every step of a block's way.
#[tokio::test]
async fn a_block_goes_on_though_whoever_took_it_died_before_telling_anyone() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, &real_time()).await;
    driver.register("w").await;
    let forget = || driver.home.yard.port.outbox().take_all();
    driver.home.yard.record_block(&named("c"), &block(1, "a", "a")).await.unwrap();
    assert!(!forget().is_empty());
    let began = Instant::now();
    while heights(&driver).await.is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}",
            driver.home.yard.explain(&named("c"), 1).await
        );
        driver.home.sweep().await.unwrap();
        forget();
        driver.work("w").await.unwrap();
        forget();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    // Opening and committing were each a sweep's: two ticks of a second each.
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
}

/// Answers as SQS does that has taken the messages, and loses them.
fn lost(body: &str) -> Fate {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let entries = body["Entries"].as_array().unwrap();
    let sent: Vec<_> = entries
        .iter()
        .map(|entry| serde_json::json!({ "Id": entry["Id"], "MessageId": "lost", "MD5OfMessageBody": "" }))
        .collect();
    Fate::Answered(200, serde_json::json!({ "Successful": sent, "Failed": [] }).to_string())
}

#[tokio::test]
async fn a_queue_that_loses_every_tenth_message_costs_time_and_nothing_else() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, &real_time()).await;
    driver.register("w").await;
    for height in 1..=12 {
        driver.home.yard.record_block(&named("c"), &block(height, "a", "a")).await.unwrap();
    }
    let sends = AtomicU64::new(0);
    driver.http.breaks(move |operation, body| match operation {
        "SendMessageBatch" if sends.fetch_add(1, Ordering::Relaxed) % 10 == 3 => lost(body),
        _ => Fate::Made,
    });
    let began = Instant::now();
    while heights(&driver).await.len() < 12 {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", heights(&driver).await);
        // A worker that only records, and functions that only hear of it by the queues.
        while driver.work("w").await.unwrap() {
            driver.home.deliver().await;
        }
        driver.home.deliver().await;
        driver.drain_all().await;
        driver.home.sweep().await.unwrap();
        driver.home.deliver().await;
    }
    assert_eq!(heights(&driver).await, (1..=12).collect::<Vec<_>>());
}

/// The first of a group fails for a passing reason: it and those behind it are left alone, and all are back within two
/// seconds, in order.
#[tokio::test]
async fn what_fails_for_a_passing_reason_is_back_within_two_seconds_with_all_behind_it() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let queue = driver.home.names.blocks_queue();
    for height in 1..=4 {
        post(&driver, &event(height, "a", "a")).await;
    }
    let messages = driver.home.queues.receive(&queue, 1).await.unwrap();
    assert_eq!(messages.len(), 4);
    let second = block(2, "a", "a").hash;
    driver.http.breaks(move |operation, body| match operation {
        // Also what is tried again within one call.
        "TransactWriteItems" if body.contains(second.as_str()) => Fate::throttled(),
        _ => Fate::Made,
    });
    let until = Instant::now() + Duration::from_secs(60);
    let again = driver.home.take_batch(&queue, &messages, until).await;
    let failed = Instant::now();
    let ids = |messages: &[Incoming]| messages.iter().map(|message| message.id.clone()).collect::<Vec<_>>();
    assert_eq!(again, ids(&messages[1..]));
    driver.home.queues.delete(&queue, &[&messages[0]]).await.unwrap();
    driver.http.works();
    let mut back = Vec::new();
    while back.len() < 3 {
        back.extend(driver.home.queues.receive(&queue, 1).await.unwrap());
        assert!(failed.elapsed() < Duration::from_millis(2_900), "{} of 3 are back", back.len());
    }
    assert_eq!(ids(&back), ids(&messages[1..]));
    assert!(back.iter().all(|message| message.receives == 2));
}

/// What can never be taken is out of the way at once, with its reason, and comes back when an operator says so.
#[tokio::test]
async fn a_message_that_nobody_can_take_waits_among_the_dead_letters() {
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let names = &driver.home.names;
    // Its pipeline is not there yet.
    post(&driver, &event(1, "a", "a")).await;
    let rubbish = |group: Option<&str>| Outgoing {
        body: "rubbish".into(),
        group: group.map(str::to_owned),
        deduplication: group.map(|_| "rubbish".to_owned()),
        ..Outgoing::default()
    };
    driver.home.queues.send(&names.results_queue(), &[rubbish(Some("g"))]).await.unwrap();
    driver.home.queues.send(&names.ticks_queue(), &[rubbish(None)]).await.unwrap();
    for queue in [names.blocks_queue(), names.results_queue(), names.ticks_queue()] {
        assert_eq!(driver.drain(&queue).await, 1);
        let dead = driver.home.queues.receive(&Names::dead_letters_of(&queue), 1).await.unwrap();
        assert_eq!(dead.len(), 1, "{queue}");
        let again: Vec<_> = dead.iter().map(|message| (message, 0)).collect();
        driver.home.queues.retry_after(&Names::dead_letters_of(&queue), &again).await.unwrap();
    }
    driver.home.yard.record_pipeline(PIPELINE).await.unwrap();
    driver.take_steps().await.unwrap();
    assert_eq!(driver.home.redrive().await.unwrap(), 3);
    driver.register("w").await;
    driver.drain(&names.ticks_queue()).await;
    driver.drain_all().await;
    driver.work_all("w").await;
    assert_eq!(heights(&driver).await, [1]);
}
