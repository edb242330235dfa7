//! Beacon nodes: the accepted proofs come from the bucket, the keystore from the secret.

use proofyard_aws_tests::driver::block;
use proofyard_aws_tests::named;
use proofyard_core::state::Block;
use serde_json::json;

use crate::beacon_node::{BeaconNode, GENESIS_S, Root, sha256};
use crate::server::Server;
use crate::yard::{ProposingYard, proposer, put_secret};

const SLOT: u64 = 40;

/// One in each slot.
fn in_slot(height: u64) -> (Root, Block) {
    let block = Block { timestamp_s: GENESIS_S + 12 * (SLOT + height), ..block(height, "a", "a") };
    (sha256(&[block.hash.as_str().as_bytes()]), block)
}

fn sink(server: &Server) -> String {
    format!(
        "[sink.beacon]\nbeacon = \"{}\"\nproof_types = {{ p = 3 }}\nkeystore = \"validator.json\"\n\
         password_from = \"PASSWORD\"\ntime_limit_ms = 20000\n",
        server.url
    )
}

#[tokio::test]
async fn the_proofs_of_each_block_reach_the_node_signed_also_after_kills() {
    const BLOCKS: u64 = 3;
    let (node, server) = BeaconNode::start();
    let yard = ProposingYard::with(&sink(&server), 0).await;
    let store = include_str!("../../../../crates/notify/tests/notify/keystores/quick.json");
    let secret = json!({ "validator.json": store, "PASSWORD": "correct horse" });
    for height in 1..=BLOCKS {
        let (root, block) = in_slot(height);
        node.add(SLOT + height, root, block.hash.as_str());
        yard.driver.home.yard.record_block(&named("c"), &block).await.unwrap();
    }
    yard.driver.take_steps().await.unwrap();
    yard.driver.work_all("w").await;
    yard.tell().await;
    let place = yard.driver.home.yard.level_place(&named("c"), "beacon").await.unwrap().unwrap();
    let reason = place.last_error.unwrap();
    assert!(reason.contains("proofyard/test/keys has no validator.json"), "{reason}");
    put_secret(&yard.driver, &secret.to_string()).await;
    // What was read counts for a minute; a function that starts reads it.
    let yard = ProposingYard { proposer: proposer(&yard.driver.home), ..yard };
    let roots: Vec<Root> = (1..=BLOCKS).map(|height| in_slot(height).0).collect();
    let is_done = |node: &BeaconNode| roots.iter().all(|root| node.types(*root) == [3]);
    let (mut call, mut kills) = (0, 0);
    while !is_done(&node) {
        assert!(kills < 200, "{:?}", yard.driver.home.yard.level_place(&named("c"), "beacon").await);
        yard.resume("beacon").await;
        match yard.tell_until_killed(call).await {
            true => (call, kills) = (call + 2, kills + 1),
            false => call = 0,
        }
    }
    assert!(kills > 5, "{kills}");
    assert_eq!(node.state().faults, [""; 0]);
}
