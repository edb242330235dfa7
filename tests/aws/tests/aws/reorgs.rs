//! A reorg of many pages, whose writer dies between any two of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hex::encode;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_core::error::Error;
use proofyard_core::state::ScopeId;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

/// Sixteen heights fit a page.
const BLOCKS: u64 = 40;

/// Its first block is each branch's own; the head of `a` is one lower, so that heights come and go.
fn head_of(branch: &str) -> u64 {
    BLOCKS - u64::from(branch == "a")
}

async fn heads_to(driver: &Driver, branch: &str) -> Result<(), Error> {
    let head = block(head_of(branch), branch, branch);
    driver.home.yard.record_reorg("c", head.height, &head.hash).await?;
    driver.take_steps().await
}

#[tokio::test]
async fn a_writer_that_dies_between_any_two_pages_of_a_reorg_leaves_one_branch() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    driver.register("w").await;
    for branch in ["b", "a"] {
        for height in 1..=head_of(branch) {
            let parent = if height == 1 { "genesis" } else { branch };
            driver.home.yard.record_block("c", &block(height, branch, parent)).await.unwrap();
        }
    }
    driver.take_steps().await.unwrap();
    // Some of the first branch is committed, and must be retracted.
    for _ in 0..4 {
        driver.work("w").await.unwrap();
        driver.take_steps().await.unwrap();
    }
    let mut branch = "b";
    for survives in 0.. {
        branch = if branch == "a" { "b" } else { "a" };
        let writer = Driver::new(&aws).await;
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
        let ended = tokio::select! {
            biased;
            () = dies.notified() => false,
            reorged = heads_to(&writer, branch) => {
                reorged.unwrap();
                true
            }
        };
        drop(writer);
        // Whoever comes next knows nothing of what was under way.
        let next = Driver::new(&aws).await;
        if survives == 0 {
            heads_to(&next, branch).await.unwrap();
        }
        next.home.sweep().await.unwrap();
        next.take_steps().await.unwrap();
        let state = next.home.yard.chain_state("c").await.unwrap();
        assert!(state.reorg.is_none(), "after {survives} writes a reorg is left: {:?}", state.reorg);
        let head = block(head_of(branch), branch, branch);
        assert_eq!(next.home.yard.tip("c").await.unwrap().head, Some((head.height, head.hash)));
        if ended {
            assert!(survives > 4, "{survives} writes are too few for a reorg of several pages");
            break;
        }
    }
    driver.work_all("w").await;
    let committed = driver.committed("c").await;
    // What is committed in the end is one branch, each height once; proofs name their scope.
    let proof_of = |height: u64| {
        let parent = if height == 1 { "genesis" } else { branch };
        let id = ScopeId::of_block("c", height, &block(height, branch, parent).hash, 0);
        (height, encode(Sha256::digest(id.as_str())))
    };
    assert_eq!(committed, (1..=head_of(branch)).map(proof_of).collect::<Vec<_>>());
}
