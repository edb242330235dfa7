//! The function itself, in its role, with all others of a yard.

use std::time::{Duration, Instant};

use proofyard_aws_tests::PATIENCE;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::local::LocalAws;
use serde_json::json;

use crate::acting::recording;
use crate::evm::KEY;
use crate::ledger::Ledger;
use crate::yard::{OF_SECRET, put_secret, sent, submitting};

#[tokio::test]
async fn commits_become_transactions_by_the_function_in_its_role() {
    const BLOCKS: u64 = 3;
    let ledger = Ledger::start();
    let aws = LocalAws::whole(&["--no-schedule"]);
    let sink = submitting("l1", &ledger, &ledger.anvil.url(), OF_SECRET);
    let driver = Driver::with_pipeline(&aws, &format!("{PIPELINE}\n{sink}")).await.patient(&aws);
    put_secret(&driver, &json!({ "KEY": KEY }).to_string()).await;
    driver.register("w").await;
    for height in 1..=BLOCKS {
        driver.home.yard.record_block("c", &block(height, "a", "a")).await.unwrap();
    }
    driver.take_steps().await.unwrap();
    driver.work_all("w").await;
    let began = Instant::now();
    loop {
        let cursor = driver.home.yard.sink_cursor("c", "l1", "commits").await.unwrap();
        if cursor.next_sequence == BLOCKS {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{cursor:?}");
        driver.home.yard.sweep().await.unwrap();
        driver.take_steps().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!((1..=BLOCKS).all(|height| ledger.times(height) == 1));
    assert_eq!((ledger.calls(), sent(&ledger)), (BLOCKS, BLOCKS));
    let denied = Driver::in_role(&aws, "notifier").await;
    let secret = denied.home.secret(denied.home.names.keys_secret()).that_count(0).await;
    assert!(secret.is_err(), "the notifier reads no keys");
    let denied = Driver::in_role(&aws, "proposer").await;
    let secret = denied.home.secret(denied.home.names.sinks_secret()).that_count(0).await;
    assert!(secret.is_err(), "nor the proposer what is the notifier's");
}

#[tokio::test]
async fn a_stages_calls_are_made_by_the_function_in_its_role_and_the_collector_goes_on() {
    const BLOCKS: u64 = 2;
    let ledger = Ledger::start();
    let aws = LocalAws::whole(&["--no-schedule"]);
    let driver = Driver::with_pipeline(&aws, &recording(&ledger, "")).await.patient(&aws);
    put_secret(&driver, &json!({ "KEY": KEY }).to_string()).await;
    driver.register("w").await;
    for height in 1..=BLOCKS {
        driver.home.yard.record_block("c", &block(height, "a", "a")).await.unwrap();
    }
    driver.take_steps().await.unwrap();
    driver.work_all("w").await;
    let began = Instant::now();
    loop {
        let home = &driver.home.begin().home;
        let explained = home.yard.explain("c", BLOCKS).await.unwrap().to_string();
        let status = home.yard.status("c", true).await.unwrap();
        // Scopes are settled by whoever hears of the results.
        if status.tasks.unwrap().is_empty() && ledger.calls() == BLOCKS {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{explained}");
        driver.home.sweep().await.unwrap();
        driver.take_steps().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!((1..=BLOCKS).all(|height| ledger.times(height) == 1));
    assert_eq!(sent(&ledger), BLOCKS);
}
