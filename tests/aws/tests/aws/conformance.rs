//! The port's conformance suite on DynamoDB, as the local AWS has it.

use futures_util::future::join_all;
use proofyard_aws_tests::driver::Driver;
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_conformance::{assert_count, counter_key, increment, run_all};

#[tokio::test]
async fn dynamodb_does_what_a_port_must() {
    let aws = LocalAws::without_functions();
    run_all(&Driver::new(&aws).await.home.yard.port).await;
}

#[tokio::test]
async fn thirty_two_callers_lose_no_update() {
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let port = &driver.home.yard.port;
    let (shared, quiet) = (counter_key(port), counter_key(port));
    join_all((0..32).map(|n| increment(port, if n % 8 == 0 { &quiet } else { &shared }, 5))).await;
    assert_count(port, &shared, 28 * 5).await;
    assert_count(port, &quiet, 4 * 5).await;
}

/// Every third write's answer is lost: the SDK makes the call again, which must not count twice, nor pass for a conflict
/// when it was its own.
#[tokio::test]
async fn lost_answers_are_asked_for_again_and_nothing_happens_twice() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    let port = &driver.home.yard.port;
    let counter = counter_key(port);
    let calls = AtomicU64::new(0);
    driver.http.breaks(move |operation, _| {
        let writes = operation == "PutItem" || operation == "TransactWriteItems";
        if writes && calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            Fate::AnswerLost
        } else {
            Fate::Made
        }
    });
    increment(port, &counter, 10).await;
    driver.http.works();
    assert_count(port, &counter, 10).await;
}
