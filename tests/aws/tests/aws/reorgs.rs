//! A reorg of many pages, whose writer dies between any two of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hex::encode;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::error::Error;
use proofyard_core::state::{Block, ScopeId};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

/// Sixteen heights fit a page.
const BLOCKS: u64 = 40;

/// The branches differ from the first block on. The head of `a` is one lower than that of `b`, so that one height comes and
/// goes.
fn head_of(branch: &str) -> u64 {
    BLOCKS - u64::from(branch == "a")
}

async fn change_to(driver: &Driver, branch: &str) -> Result<(), Error> {
    let head = block_of(branch, head_of(branch));
    driver.home.yard.record_reorg(&named("c"), head.height, &head.hash).await?;
    driver.take_steps().await
}

/// Records all blocks of both branches, and commits some of `b`, which must be retracted later.
async fn record_branches(driver: &Driver) {
    driver.register("w").await;
    for branch in ["b", "a"] {
        for height in 1..=head_of(branch) {
            driver.home.yard.record_block(&named("c"), &block_of(branch, height)).await.unwrap();
        }
    }
    driver.take_steps().await.unwrap();
    for _ in 0..4 {
        driver.work("w").await.unwrap();
        driver.take_steps().await.unwrap();
    }
}

fn block_of(branch: &str, height: u64) -> Block {
    block(height, branch, if height == 1 { "genesis" } else { branch })
}

/// A writer changes to the branch, and dies at the write after so many; answers whether it was done before that.
async fn reorg_until_death(aws: &LocalAws, branch: &str, survives: u64) -> bool {
    let writer = Driver::new(aws).await;
    let (writes, dies) = (AtomicU64::new(0), Arc::new(Notify::new()));
    let death = Arc::clone(&dies);
    writer.http.breaks(move |operation, _| {
        let is_write = matches!(operation, "TransactWriteItems" | "PutItem" | "DeleteItem");
        if !is_write || writes.fetch_add(1, Ordering::SeqCst) < survives {
            return Fate::Made;
        }
        death.notify_one();
        Fate::NotSent
    });
    tokio::select! {
        biased;
        () = dies.notified() => false,
        reorged = change_to(&writer, branch) => {
            reorged.unwrap();
            true
        }
    }
}

#[tokio::test]
async fn a_writer_that_dies_between_any_two_pages_of_a_reorg_leaves_one_branch() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    record_branches(&driver).await;
    let mut branch = "b";
    for survives in 0.. {
        branch = if branch == "a" { "b" } else { "a" };
        let is_done = reorg_until_death(&aws, branch, survives).await;
        // Another process, which knows nothing of what was under way, goes on.
        let next = Driver::new(&aws).await;
        if survives == 0 {
            change_to(&next, branch).await.unwrap();
        }
        next.home.sweep().await.unwrap();
        next.take_steps().await.unwrap();
        let state = next.home.yard.chain_state(&named("c")).await.unwrap();
        assert!(state.reorg.is_none(), "after {survives} writes a reorg is left: {:?}", state.reorg);
        let head = block_of(branch, head_of(branch));
        assert_eq!(next.home.yard.tip(&named("c")).await.unwrap().head, Some((head.height, head.hash)));
        if is_done {
            assert!(survives > 4, "{survives} writes are too few for a reorg of several pages");
            break;
        }
    }
    driver.work_all("w").await;
    // In the end one branch is committed, each height once; proofs name their scope.
    let proof_of = |height: u64| {
        let id = ScopeId::of_block(&named("c"), height, &block_of(branch, height).hash, 0);
        (height, encode(Sha256::digest(id.as_str())))
    };
    assert_eq!(driver.committed("c").await, (1..=head_of(branch)).map(proof_of).collect::<Vec<_>>());
}
