//! The port's conformance suite on DynamoDB, as the local AWS has it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;

use proofyard_aws::outbox::Outbox;
use proofyard_aws::port::AwsPort;
use proofyard_aws::table::Table;
use proofyard_conformance::{assert_count, counter_key, increment, run_all};

async fn port() -> AwsPort {
    let config = proofyard_aws::sdk::sdk_config().await;
    let table = Table::new(aws_sdk_dynamodb::Client::new(&config), "proofyard-t".into());
    AwsPort::new(table, Arc::new(Outbox::default()))
}

#[tokio::test]
async fn dynamodb_does_what_a_port_must() {
    run_all(&port().await).await;
}

#[tokio::test]
async fn thirty_two_callers_lose_no_update() {
    let port = port().await;
    let (shared, quiet) = (counter_key(&port), counter_key(&port));
    let callers = (0..32).map(|n| increment(&port, if n % 8 == 0 { &quiet } else { &shared }, 5));
    futures_util::future::join_all(callers).await;
    assert_count(&port, &shared, 28 * 5).await;
    assert_count(&port, &quiet, 4 * 5).await;
}
