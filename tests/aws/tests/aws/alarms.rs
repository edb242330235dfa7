//! The worst cases, each played: what its alarm looks at crosses the threshold, also where all else is quiet.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::types::QueueAttributeName::{
    ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible,
};
use proofyard_aws::queues::message::Message;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::local::{LocalAws, Request, programs};
use proofyard_aws_tests::named;
use proofyard_aws_tests::wait_for;
use proofyard_signature::sign;
use serde_json::Value;

const SECRET: &str = "not-the-default";

/// As `infra/spec` has it: its metric, and from where on it fires.
fn alarm(name: &str) -> (String, f64) {
    let spec: Value = serde_json::from_str(include_str!("../../../../infra/spec/yard.json")).unwrap();
    let alarm = &spec["alarms"][name];
    assert_eq!(alarm["tells"], "page", "{name}");
    (alarm["metric"]["name"].as_str().unwrap().to_owned(), alarm["above"].as_f64().unwrap())
}

/// The programs, but one of the functions ends at once.
fn programs_without(function: &str, folder: &Path) {
    for entry in std::fs::read_dir(programs()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("proofyard") && name != *function {
            symlink(entry.path(), folder.join(name)).unwrap();
        }
    }
    symlink("/bin/false", folder.join(function)).unwrap();
}

fn whole_without(function: &str, folder: &Path) -> LocalAws {
    programs_without(function, folder);
    let binaries = folder.to_str().unwrap();
    LocalAws::whole(&["--no-schedule", "--webhook-secret", SECRET, "--binaries", binaries])
}

/// The first block of the example chain, through the webhook.
fn post_to_webhook(aws: &LocalAws) -> u16 {
    let place = aws.environment["PROOFYARD_WEBHOOK"].strip_prefix(aws.endpoint()).unwrap();
    let chain = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/blocks/chain.jsonl");
    let chain = std::fs::read_to_string(chain).unwrap();
    let body = chain.lines().next().unwrap();
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    let signature = sign(SECRET.as_bytes(), &timestamp, "c", body.as_bytes());
    let headers = [("x-proofyard-timestamp", timestamp.as_str()), ("x-proofyard-signature", &signature)];
    Request { method: "POST", path: &format!("{place}/c"), headers: &headers, body }.send(aws.endpoint()).0
}

/// Messages of a queue, in somebody's hands or not.
async fn count(driver: &Driver, queue: &str) -> u32 {
    let sqs = aws_sdk_sqs::Client::new(&driver.config);
    let url = sqs.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap();
    let names = [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
    let asked = sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    asked.send().await.unwrap().attributes.unwrap().values().map(|count| count.parse::<u32>().unwrap()).sum()
}

/// The lag stays 0, since nobody recorded the block; its message gets older, as long as nobody takes it.
#[test]
fn a_dead_dispatcher_is_seen_by_the_age_of_the_oldest_block_and_by_the_lag_once_it_is_back() {
    let (metric, above_s) = alarm("block-waits");
    assert_eq!(metric, "ApproximateAgeOfOldestMessage");
    let folder = tempfile::tempdir().unwrap();
    let aws = whole_without("proofyard-dispatcher", folder.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let driver = runtime.block_on(Driver::with_pipeline(&aws, PIPELINE));
    runtime.block_on(driver.home.yard.pause(&named("c"))).unwrap();
    let queue = driver.home.names.blocks_queue();
    assert_eq!(post_to_webhook(&aws), 202);
    let acknowledged = Instant::now();
    wait_for("an age", || {
        assert!(runtime.block_on(count(&driver, &queue)) >= 1, "somebody took it");
        (acknowledged.elapsed() > Duration::from_secs(8)).then_some(())
    });
    let status = runtime.block_on(driver.home.yard.status(&named("c"), false)).unwrap();
    assert_eq!((status.lag_ms, status.lag_blocks), (0, 0), "what is not recorded has no lag");
    // Nothing but time is missing from here to the threshold. Then it is back.
    assert!(above_s > 0.0);
    let taken =
        wait_for("the message", || Some(runtime.block_on(driver.drain(&queue))).filter(|taken| *taken > 0));
    assert!(taken >= 1);
    let status = runtime.block_on(driver.home.yard.status(&named("c"), false)).unwrap();
    assert_eq!(status.lag_blocks, 1);
    assert!(status.lag_ms >= 8_000, "it counts from when it was acknowledged, and says {} ms", status.lag_ms);
}

#[test]
fn a_dead_ingest_refuses_with_an_error_of_the_function() {
    let (metric, above) = alarm("ingest-errors");
    assert_eq!(metric, "Errors");
    let folder = tempfile::tempdir().unwrap();
    let aws = whole_without("proofyard-ingest", folder.path());
    // Each is an error of the function's, which Lambda counts.
    for _ in 0..=above as u64 {
        let status = post_to_webhook(&aws);
        assert!(status >= 500, "{status}");
    }
}

/// The function runs, and what it needs does not: Lambda counts no error.
#[test]
fn an_ingest_that_can_keep_nothing_tells_so() {
    let (metric, above) = alarm("ingest-unavailable");
    let aws = LocalAws::whole(&["--no-schedule", "--webhook-secret", SECRET]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let driver = runtime.block_on(Driver::with_pipeline(&aws, PIPELINE));
    let table = aws_sdk_dynamodb::Client::new(&driver.config);
    runtime.block_on(table.delete_table().table_name(driver.home.names.table()).send()).unwrap();
    let wanted = above as usize + 1;
    for _ in 0..wanted {
        assert_eq!(post_to_webhook(&aws), 503);
    }
    // The local AWS keeps no metrics of functions: that each such answer is told is a matter of `Home::ingest_under`.
    assert_eq!(metric, "IngestUnavailable");
}

/// A block that waits on the queue is late from the moment on in which its sender was told that it is kept.
#[tokio::test]
async fn lag_counts_from_what_was_acknowledged() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let message = Message::Block { chain: named("c"), block: block(1, "a", "a") };
    driver.home.post(&named("c"), "1".into(), &message).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    driver.drain_all().await;
    let status = driver.home.yard.status(&named("c"), false).await.unwrap();
    assert!(status.lag_ms >= 2_000, "{}", status.lag_ms);
}
