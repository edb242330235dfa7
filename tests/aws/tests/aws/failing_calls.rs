//! Failing calls to AWS: throttled, without an answer, with lost answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proofyard_aws::clients::names::Names;
use proofyard_aws::queues::message::Message;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::error::Error;
use proofyard_core::port::Port;

/// Nothing is taken, and nothing lost or given up, while the table is throttled for a minute. It is the messages' own
/// minute: what they are told to wait is added up, and they are shown at once.
#[tokio::test]
async fn a_table_that_is_throttled_for_a_minute_loses_no_message() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    driver.register("w").await;
    for height in 1..=3 {
        let message = Message::Block { chain: named("c"), block: block(height, "a", "a") };
        driver.home.post(&named("c"), format!("{height}"), &message).await.unwrap();
    }
    let tables = ["GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem", "DeleteItem"];
    let waited_s = Arc::new(AtomicU64::new(0));
    let waits = Arc::clone(&waited_s);
    driver.http.breaks(move |operation, body| {
        if operation == "ChangeMessageVisibilityBatch" {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            let entries = body["Entries"].as_array().unwrap();
            let first = entries.iter().map(|entry| entry["VisibilityTimeout"].as_u64().unwrap()).min();
            waits.fetch_add(first.unwrap(), Ordering::Relaxed);
        }
        if tables.contains(&operation) { Fate::throttled() } else { Fate::Made }
    });
    let queue = driver.home.names.blocks_queue();
    let mut receives = 0;
    while waited_s.load(Ordering::Relaxed) < 60 {
        let messages = driver.home.queues.receive(&queue, 1).await.unwrap();
        assert_eq!(messages.len(), 3, "after {receives} receives");
        receives = messages[0].receives;
        let before = waited_s.load(Ordering::Relaxed);
        let again = driver.home.take_batch(&queue, &messages, Instant::now() + Duration::from_secs(5)).await;
        assert_eq!(again.len(), messages.len());
        let wait_s = waited_s.load(Ordering::Relaxed) - before;
        assert!((1..=2).contains(&wait_s), "after {receives} receives they come again after {wait_s} s");
        let now: Vec<_> = messages.iter().map(|message| (message, 0)).collect();
        driver.home.queues.retry_after(&queue, &now).await.unwrap();
    }
    assert!(receives >= 30, "{receives}");
    driver.http.works();
    assert_eq!(driver.home.queues.receive(&Names::dead_letters_of(&queue), 0).await.unwrap(), []);
    driver.drain_all().await;
    driver.work_all("w").await;
    let heights: Vec<u64> = driver.committed("c").await.into_iter().map(|(height, _)| height).collect();
    assert_eq!(heights, [1, 2, 3]);
}

/// Of all calls to the table some are throttled, some are not sent, and of some the answer is lost.
#[tokio::test]
async fn whatever_calls_fail_blocks_are_committed_once_and_in_order() {
    let aws = LocalAws::without_functions();
    let driver =
        Driver::with_pipeline(&aws, &PIPELINE.replace("window = 8", "window = 3\nreal_time = true")).await;
    driver.register("w").await;
    let calls = AtomicU64::new(0);
    driver.http.breaks(move |operation, _| {
        if operation.contains("Message") || operation.contains("object") {
            return Fate::Made;
        }
        // A fixed sequence without a short period, so that a failing run can be had again.
        let n = calls.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        match n % 10 {
            0 => Fate::throttled(),
            1 => Fate::AnswerLost,
            2 => Fate::NotSent,
            _ => Fate::Made,
        }
    });
    for height in 1..=8 {
        let message = Message::Block { chain: named("c"), block: block(height, "a", "a") };
        driver.home.post(&named("c"), format!("{height}"), &message).await.unwrap();
    }
    let began = Instant::now();
    loop {
        driver.drain_all().await;
        while let Ok(true) | Err(Error::Port(_)) = driver.work("w").await {
            _ = driver.take_steps().await;
            if began.elapsed() > Duration::from_secs(90) {
                break;
            }
        }
        // A step that was not taken has no message: it stays due.
        _ = driver.home.sweep().await;
        _ = driver.take_steps().await;
        let frontier = driver.home.yard.frontier(&named("c")).await;
        if frontier.is_ok_and(|frontier| frontier.height == 9) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "it does not end");
    }
    driver.http.works();
    let heights: Vec<u64> = driver.committed("c").await.into_iter().map(|(height, _)| height).collect();
    assert_eq!(heights, (1..=8).collect::<Vec<_>>());
    let log = driver.home.yard.out_log(&named("c"), 0).await.unwrap();
    assert_eq!(log.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
}

/// The bucket's objects are written once, and mended where they are not what they should be.
#[tokio::test]
async fn an_artifact_that_is_cut_short_is_told_and_mended_by_putting_it_again() {
    use proofyard_core::state::ArtifactRef;
    use sha2::Digest;
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let content = b"a proof".to_vec();
    let artifact = ArtifactRef { sha256: hex::encode(sha2::Sha256::digest(&content)), bytes: 7 };
    let objects = &driver.home.objects;
    let mut nothing = tokio::io::sink();
    let missing = objects.get_file(&artifact, &mut nothing).await.unwrap_err();
    assert!(missing.to_string().contains("is not there"), "{missing}");
    objects.put_bytes(&artifact, content.clone()).await.unwrap();
    objects.put_bytes(&artifact, content.clone()).await.unwrap();
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&driver.config).force_path_style(true).build(),
    );
    let key = format!("artifacts/{}/{}", &artifact.sha256[..2], artifact.sha256);
    let cut = s3.put_object().bucket(aws.bucket()).key(&key).body(content[..3].to_vec().into());
    cut.send().await.unwrap();
    objects.put_bytes(&artifact, content.clone()).await.unwrap();
    let mut read = Vec::new();
    objects.get_file(&artifact, &mut read).await.unwrap();
    assert_eq!(read, content);
    assert_ne!(driver.home.yard.port.now_ms(), 0);
}
