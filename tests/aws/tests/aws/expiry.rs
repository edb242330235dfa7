//! What the table may forget by itself, what it must not, and what is deleted at once.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use proofyard_aws::queues::message::Message;
use proofyard_aws::store::table::EXPIRES_S;
use proofyard_aws_tests::driver::{Driver, LEASE_MS, PIPELINE, block};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_blocks::Rules;
use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::Error;
use proofyard_core::port::{Port, Range};
use proofyard_core::record::{FailureKind, FailureOutcome, FailureReport};
use proofyard_core::state::Task;
use proofyard_intake::CheckedFile;
use serde_json::json;

const DAY_S: u64 = 24 * 3_600;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// All that is in the table: when it expires, by its key.
async fn expiry(aws: &LocalAws, driver: &Driver) -> BTreeMap<(String, String), Option<u64>> {
    let client = aws_sdk_dynamodb::Client::new(&driver.config);
    let scanned = client.scan().table_name(format!("proofyard-{}", aws.yard)).send().await.unwrap();
    assert!(scanned.last_evaluated_key().is_none());
    let text = |value: &AttributeValue| value.as_s().unwrap().clone();
    let rows = scanned.items().iter().map(|row| {
        let expires_s = row.get(EXPIRES_S).map(|value| value.as_n().unwrap().parse().unwrap());
        ((text(&row["p"]), text(&row["s"])), expires_s)
    });
    rows.collect()
}

/// AWS Batch tells, and the collector takes it.
async fn job_ends(driver: &Driver, job: &str) {
    let body = json!({
        "detail-type": "Batch Job State Change", "detail": { "jobId": job, "status": "FAILED" }
    });
    let told = proofyard_aws::queues::Outgoing {
        body: body.to_string(),
        group: Some(job.to_owned()),
        deduplication: Some(format!("{:016x}", driver.home.yard.port.random())),
        ..Default::default()
    };
    driver.home.queues.send(&driver.home.names.results_queue(), &[told]).await.unwrap();
    driver.drain(&driver.home.names.results_queue()).await;
}

async fn claim(driver: &Driver, worker: &str) -> Result<(ClaimRequest, Task), Error> {
    let claim = format!("{:016x}", driver.home.yard.port.random());
    let request = ClaimRequest { worker: worker.into(), slot: 0, claim };
    match driver.home.yard.claim(&request).await? {
        ClaimOutcome::Claimed(task) => Ok((request, *task)),
        other => panic!("{other:?}"),
    }
}

async fn items_of(driver: &Driver, worker: &str) -> usize {
    driver.home.yard.port.range(&Range::all(format!("W#{worker}"), 10)).await.unwrap().len()
}

/// With a chain that went through all that leaves items: proofs, a failed attempt, an orphan, an operator's hand.
#[tokio::test]
async fn only_what_nobody_reads_any_more_expires() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let yard = &driver.home.yard;
    driver.home.remember_worker("job-1", &"w".into()).await.unwrap();
    driver.register("w").await;
    for event in [block(1, "a", "a"), block(2, "a", "a"), block(2, "b", "a")] {
        yard.record_block(&named("c"), &event).await.unwrap();
    }
    driver.work_all("w").await;
    yard.record_reorg(&named("c"), 2, &block(2, "b", "a").hash).await.unwrap();
    driver.take_steps().await.unwrap();
    driver.work_all("w").await;
    yard.record_block(&named("c"), &block(3, "b", "b")).await.unwrap();
    driver.take_steps().await.unwrap();
    claim(&driver, "w").await.unwrap();
    let file = CheckedFile { name: "none", rules: &Rules::default(), lines: 0, ends: true };
    driver.home.post_lines(&named("c"), &file, []).await.unwrap();
    driver.drain_all().await;
    let expiry = expiry(&aws, &driver).await;
    let kinds: std::collections::BTreeSet<&str> =
        expiry.keys().map(|(partition, _)| partition.split(['#', ':']).next().unwrap()).collect();
    assert_eq!(kinds.into_iter().collect::<String>(), "CHMORSTWY", "{expiry:?}");
    for ((partition, sort), expires_s) in expiry {
        match expires_s {
            Some(expires_s) if partition == "W#job:job-1" => {
                let days = (expires_s - now_s()) / DAY_S;
                assert!((29..=30).contains(&days), "{days}");
            }
            expires_s => {
                assert_eq!(expires_s, None, "{partition} / {sort}");
                assert_ne!(partition, "W#job:job-1");
            }
        }
    }
}

/// DynamoDB deletes when it comes to it: until then an expired item does what it always did, and one that is written
/// again lives on.
#[tokio::test]
async fn an_expired_item_that_is_still_there_or_gone_does_no_harm() {
    let aws = LocalAws::without_functions();
    let mut driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let now = driver.home.yard.port.clone();
    let long_ago = now.clone().with_clock(|| (now_s() - 40 * DAY_S) * 1_000);
    driver.home.yard.port = long_ago;
    for job in ["there", "gone", "again"] {
        driver.home.remember_worker(job, &format!("{job}-1").as_str().into()).await.unwrap();
    }
    driver.home.yard.port = now;
    for worker in ["there-1", "gone-1", "again-1", "again-2"] {
        driver.register(worker).await;
    }
    driver.home.remember_worker("again", &"again-2".into()).await.unwrap();
    let before = expiry(&aws, &driver).await;
    let expires_s = |job: &str| before[&(format!("W#job:{job}"), "ids".to_owned())].unwrap();
    assert!(expires_s("there") < now_s() && expires_s("gone") < now_s());
    assert!(expires_s("again") > now_s() + 29 * DAY_S);
    let client = aws_sdk_dynamodb::Client::new(&driver.config);
    let delete = client.delete_item().table_name(format!("proofyard-{}", aws.yard));
    let delete = delete.key("p", AttributeValue::S("W#job:gone".into()));
    delete.key("s", AttributeValue::S("ids".into())).send().await.unwrap();
    for job in ["there", "gone", "again"] {
        job_ends(&driver, job).await;
    }
    for (worker, items) in [("there-1", 0), ("gone-1", 2), ("again-1", 0), ("again-2", 0)] {
        assert_eq!(items_of(&driver, worker).await, items, "{worker}");
    }
    // Its lease ends it.
    driver.home.yard.heartbeat(&"gone-1".into(), LEASE_MS).await.unwrap();
}

/// Its items are deleted as soon as it is ended: all that it may still bring is a proof that a verifier accepted.
#[tokio::test]
async fn a_dead_worker_that_comes_back_finds_nothing_under_its_id() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let yard = &driver.home.yard;
    driver.home.remember_worker("job", &"dead".into()).await.unwrap();
    driver.register("dead").await;
    driver.register("other").await;
    let message = Message::Block { chain: named("c"), block: block(1, "a", "a") };
    driver.home.post(&named("c"), "1".to_owned(), &message).await.unwrap();
    driver.drain_all().await;
    let (request, task) = claim(&driver, "dead").await.unwrap();
    job_ends(&driver, "job").await;
    assert_eq!(items_of(&driver, "dead").await, 0);
    assert_eq!(items_of(&driver, "job:job").await, 0);
    let dead = |error: &Error| matches!(error, Error::WorkerDead { worker } if worker == "dead");
    assert!(yard.heartbeat(&"dead".into(), LEASE_MS).await.is_err_and(|error| dead(&error)));
    assert!(claim(&driver, "dead").await.is_err_and(|error| dead(&error)));
    yard.record_release(&"dead".into(), 0, &request.claim, task.id()).await.unwrap();
    let (again, listed) = claim(&driver, "other").await.unwrap();
    assert_eq!((listed.id().clone(), listed.losses(), listed.failures()), (task.id().clone(), 1, 0));
    // Neither release nor failure of the old attempt touches the new one.
    yard.record_release(&"dead".into(), 0, &request.claim, task.id()).await.unwrap();
    let report = FailureReport {
        worker: "dead".into(),
        slot: 0,
        claim: request.claim,
        task: task.id().clone(),
        kind: FailureKind::Permanent,
        message: "no".into(),
        log: vec![],
        metered: None,
    };
    assert_eq!(yard.record_failure(&report).await.unwrap(), FailureOutcome::Stale);
    let held: Option<Task> =
        proofyard_core::transaction::read(&yard.port, &task.id().task_key()).await.unwrap();
    assert_eq!(
        held.unwrap().attempts().iter().map(|attempt| &attempt.claim).collect::<Vec<_>>(),
        [&again.claim]
    );
    assert_eq!(items_of(&driver, "dead").await, 0);
}
