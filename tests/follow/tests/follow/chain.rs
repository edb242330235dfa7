//! The chain of a real node, with its reorgs, its restarts, and the yard's crashes.

use std::time::Duration;

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;

#[test]
fn a_nodes_chain_is_proved_from_its_start_and_goes_on_with_it() {
    let anvil = Anvil::start();
    anvil.mine_fast(150);
    let mut yard = FollowingYard::following(&anvil);
    yard.wait_for_chain_of(&anvil);
    anvil.mine(5);
    yard.wait_for_chain_of(&anvil);
    let status = yard.status().unwrap();
    let following = &status["following"];
    assert_eq!((&following["chain_id"], &following["head"]["height"]), (&31_337.into(), &155.into()));
    assert_eq!(following["endpoints"][0]["state"], "followed");
    assert_eq!(following["endpoints"][1]["state"], "ready", "told of by WebSocket");
    let (is_good, page) = yard.command(&["status", "--data", "yard"]);
    assert!(is_good && page.contains("head 155") && page.contains(": followed at 155"), "{page}");
    assert_eq!(yard.stop(), Some(130));
    // What came meanwhile is taken by the next run.
    anvil.mine_fast(20);
    yard.start();
    yard.wait_for_chain_of(&anvil);
}

#[test]
fn reorgs_of_any_depth_are_followed_and_what_was_handed_on_is_taken_back() {
    let anvil = Anvil::start();
    anvil.mine_fast(1_010);
    let mut yard = FollowingYard::following(&anvil);
    yard.wait_for_chain_of(&anvil);
    for (number, depth) in [1, 10, 100, 1_000].into_iter().enumerate() {
        anvil.reorg(depth);
        anvil.mine(1);
        let handed = yard.wait_for_chain_of(&anvil);
        assert!(handed.retracts > number, "{depth}");
    }
}

#[test]
fn reorgs_while_blocks_are_taken_and_committed_lose_nothing() {
    let anvil = Anvil::start();
    anvil.mine_fast(400);
    let mut yard = FollowingYard::following(&anvil);
    for round in 0..12 {
        std::thread::sleep(Duration::from_millis(60));
        anvil.reorg(1 + round * 7 % 60);
        anvil.mine(2);
    }
    yard.wait_for_chain_of(&anvil);
}

#[test]
fn a_yard_that_is_killed_again_and_again_goes_on_where_it_was() {
    let anvil = Anvil::start();
    anvil.mine_fast(300);
    let mut yard = FollowingYard::following(&anvil);
    for round in 0..6_u64 {
        std::thread::sleep(Duration::from_millis(250 + round * 90));
        yard.kill();
        anvil.mine(2);
        if round % 2 == 1 {
            anvil.reorg(15);
            anvil.mine(1);
        }
        yard.start();
    }
    yard.wait_for_chain_of(&anvil);
}

#[test]
fn a_node_that_starts_anew_with_another_chain_of_the_same_genesis_is_followed() {
    let first = Anvil::start();
    let port = first.at.port();
    first.mine_fast(30);
    let mut yard = FollowingYard::following(&first);
    yard.wait_for_chain_of(&first);
    drop(first);
    yard.wait_for_endpoint(0, "down");
    let second = Anvil::start_at(port, &[]);
    // It has less than before: nothing is taken away for a node that may only be behind, until it has another block.
    second.change_coinbase();
    second.mine_fast(40);
    yard.wait_for_chain_of(&second);
    let endpoint = yard.wait_for_endpoint(0, "followed");
    assert_eq!(endpoint["error"], serde_json::Value::Null);
    // The WebSocket is connected again by itself.
    wait_for("the WebSocket is there again", || {
        (yard.status()?["following"]["endpoints"][1]["state"] == "ready").then_some(())
    });
}

#[test]
fn a_node_of_another_genesis_is_named_and_not_followed() {
    let first = Anvil::start();
    let port = first.at.port();
    first.mine_fast(5);
    let mut yard = FollowingYard::following(&first);
    yard.wait_for_chain_of(&first);
    drop(first);
    yard.wait_for_endpoint(0, "down");
    let second = Anvil::start_at(port, &["--gas-limit", "20000000"]);
    second.mine_fast(9);
    let endpoint = yard.wait_for_endpoint(0, "other_chain");
    assert!(endpoint["error"].as_str().unwrap().contains("block 0"), "{endpoint}");
    assert_eq!(yard.handed_on().blocks.len(), 5);
    assert!(yard.is_running());
}
