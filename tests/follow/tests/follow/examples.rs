//! The examples that follow a node, on anvil, with the toy prover for provers that are elsewhere.

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::between::Between;
use proofyard_follow_tests::engine::{Consensus, Execution, Payload};
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::{FollowingYard, free_address};

#[test]
fn follow_proves_each_block() {
    let anvil = Anvil::start();
    anvil.mine_fast(12);
    let changes = [("local-proofs.jsonl", "out.jsonl")];
    let mut yard = FollowingYard::of_example("follow.toml", &anvil.url(), &anvil.ws(), &changes);
    yard.start();
    yard.wait_for_chain_of(&anvil);
}

#[test]
fn ethereum_has_both_zkvms_agree_on_each_block_with_its_witness() {
    let anvil = Anvil::start();
    let between = Between::start(anvil.at);
    anvil.mine_fast(5);
    let changes = [
        ("ethereum-proofs.jsonl", "out.jsonl"),
        ("start_height = 24000000", "start_height = 1"),
        ("deadline_ms = 12000", "deadline_ms = 60000"),
        ("chain_id = 1\n", "chain_id = 31337\n"),
        ("verify = [\"my-zisk-verifier\"]\n", ""),
        ("verify = [\"my-openvm-verifier\"]\n", ""),
    ];
    let mut yard = FollowingYard::of_example("ethereum.toml", &between.url(), &anvil.ws(), &changes);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    assert_eq!(between.witnesses(), 5);
}

#[test]
fn rollup_node_proves_ranges_that_end_where_a_field_changes() {
    let anvil = Anvil::start();
    anvil.mine_fast(3);
    anvil.change_coinbase();
    anvil.mine_fast(9);
    let changes = [("rollup-blocks.jsonl", "out.jsonl")];
    let mut yard = FollowingYard::of_example("rollup-node.toml", &anvil.url(), &anvil.ws(), &changes);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    let ranges = yard.folder().join("rollup-proofs.jsonl");
    wait_for("two ranges are proved", || {
        let text = std::fs::read_to_string(&ranges).ok()?;
        let closed = text.contains("\"from\":1,\"to\":3") && text.contains("\"from\":4,\"to\":11");
        closed.then_some(())
    });
}

#[test]
fn engine_proves_payloads_with_their_witnesses() {
    let (execution, listen) = (Execution::start(), free_address());
    let changes = [
        ("127.0.0.1:8551", &*listen.to_string()),
        ("127.0.0.1:8552", &*execution.at.to_string()),
        ("engine-proofs.jsonl", "out.jsonl"),
        ("start_height = 30000000", "start_height = 1"),
        ("deadline_ms = 12000", "deadline_ms = 60000"),
        ("verify = [\"my-zkvm-verifier\"]\n", ""),
        ("gpus_per_slot = 1\n", ""),
    ];
    let mut yard = FollowingYard::of_example("engine.toml", "", "", &changes);
    yard.start();
    let mut consensus = Consensus::connect(listen);
    let mut payload = Payload::first();
    for _ in 0..5 {
        execution.knows(&payload);
        consensus.new_payload(&payload);
        consensus.head(&payload, None, None);
        payload = payload.next();
    }
    wait_for("all five are handed on", || (yard.handed_on().blocks.len() == 5).then_some(()));
}
