//! The function itself, in its role, with all others of a yard.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use proofyard_aws_tests::PATIENCE;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_follow_tests::between::{Between, Does};
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
        driver.home.yard.record_block(&named("c"), &block(height, "a", "a")).await.unwrap();
    }
    driver.take_steps().await.unwrap();
    driver.work_all("w").await;
    let began = Instant::now();
    loop {
        let cursor = driver.home.yard.sink_cursor(&named("c"), "l1", "commits").await.unwrap();
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
        driver.home.yard.record_block(&named("c"), &block(height, "a", "a")).await.unwrap();
    }
    driver.take_steps().await.unwrap();
    driver.work_all("w").await;
    let began = Instant::now();
    loop {
        let home = &driver.home.begin().home;
        let explained = home.yard.explain(&named("c"), BLOCKS).await.unwrap().to_string();
        let status = home.yard.status(&named("c"), true).await.unwrap();
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

/// Ends the function in the middle of what it does; answers how many processes of it there were.
fn kill_proposer(aws: &LocalAws) -> usize {
    let port = aws.endpoint().rsplit(':').next().unwrap().to_owned();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let is = |name: &str, value: &str| {
            let mut variables = environment.split('\0').filter_map(|variable| variable.split_once('='));
            variables.any(|(of, said)| of == name && said.ends_with(value))
        };
        is("AWS_LAMBDA_FUNCTION_NAME", "-proposer") && is("AWS_ENDPOINT_URL", &port)
    });
    let ids = processes.map(|entry| entry.file_name());
    ids.filter(|id| Command::new("kill").arg("-9").arg(id).status().unwrap().success()).count()
}

/// Its queue would hide what it had for six minutes.
#[tokio::test]
async fn a_function_that_is_killed_costs_its_stage_about_a_minute() {
    let ledger = Ledger::start();
    let node = Between::start(ledger.anvil.at);
    node.now(Does::Silence);
    let aws = LocalAws::whole(&["--no-schedule"]);
    let pipeline = recording(&ledger, "").replace(&ledger.anvil.url(), &node.url());
    let driver = Driver::with_pipeline(&aws, &pipeline).await.patient(&aws);
    put_secret(&driver, &json!({ "KEY": KEY }).to_string()).await;
    driver.register("w").await;
    driver.home.yard.record_block(&named("c"), &block(1, "a", "a")).await.unwrap();
    driver.take_steps().await.unwrap();
    driver.work_all("w").await;
    let mut began = Instant::now();
    while node.asked() == 0 {
        assert!(began.elapsed() < PATIENCE, "it looks at the task, and waits for the node");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(kill_proposer(&aws) > 0);
    node.now(Does::Well);
    began = Instant::now();
    while ledger.times(1) == 0 {
        assert!(began.elapsed() < Duration::from_secs(180), "its message is hidden for too long");
        driver.home.sweep().await.unwrap();
        driver.take_steps().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("it is done {:.1} s after the kill", began.elapsed().as_secs_f64());
    assert_eq!(sent(&ledger), 1);
}
