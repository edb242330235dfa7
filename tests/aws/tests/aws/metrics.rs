//! What is told of blocks is told once, by whichever process looks first.

use proofyard_aws_tests::driver::{Driver, PIPELINE};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;

#[tokio::test]
async fn each_block_is_told_of_once_whoever_looks() {
    let aws = LocalAws::without_functions();
    let (one, other) =
        (Driver::with_pipeline(&aws, PIPELINE).await, Driver::with_pipeline(&aws, PIPELINE).await);
    let chain = named("c");
    let first = one.home.yard.pass_metrics_cursor(&chain, 1, 4).await.unwrap();
    assert_eq!(first, 1, "from the chain's start");
    assert_eq!(other.home.yard.pass_metrics_cursor(&chain, 1, 4).await.unwrap(), 4, "nothing is left");
    let (a, b) = tokio::join!(
        one.home.yard.pass_metrics_cursor(&chain, 1, 9),
        other.home.yard.pass_metrics_cursor(&chain, 1, 9)
    );
    let mut from = [a.unwrap(), b.unwrap()];
    from.sort();
    assert_eq!(from, [4, 9], "one of two who look at once tells them");
    // After a reorg the frontier comes by some heights again, and they are other blocks.
    assert_eq!(one.home.yard.pass_metrics_cursor(&chain, 1, 7).await.unwrap(), 9, "nothing to tell");
    assert_eq!(other.home.yard.pass_metrics_cursor(&chain, 1, 9).await.unwrap(), 7);
}
