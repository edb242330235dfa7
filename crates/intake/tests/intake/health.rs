//! Which of several nodes is followed.

use proofyard_core::state::EndpointState;
use proofyard_intake::follower::NodeError;

use crate::nodes::{Test, hash};

fn down() -> NodeError {
    NodeError::Down("connection refused".to_owned())
}

#[test]
fn another_node_is_followed_while_the_first_is_down() {
    let mut test = Test::new();
    test.node(0).grow(5, 0);
    test.node(1).grow(5, 0);
    test.follow();
    assert_eq!(test.status().endpoints[0].state, EndpointState::Followed);
    test.node(1).grow(6, 0);
    test.node(0).faults.borrow_mut().push_back(down());
    test.follow();
    test.expect_same_chain(1);
    let status = test.status();
    assert_eq!(status.endpoints[0].state, EndpointState::Down);
    assert_eq!(status.endpoints[0].error.as_deref(), Some("connection refused"));
    // It comes back, and the one that is followed stays so.
    test.node(0).grow(7, 0);
    test.node(1).grow(7, 0);
    test.pass(60_000);
    test.follow();
    let states = test.status().endpoints.iter().map(|endpoint| endpoint.state).collect::<Vec<_>>();
    assert_eq!(states, [EndpointState::Ready, EndpointState::Followed]);
}

#[test]
fn two_nodes_that_disagree_on_the_newest_block_do_not_take_turns() {
    let mut test = Test::new();
    test.node(0).grow(10, 0);
    test.node(1).grow(9, 0);
    test.node(1).grow(11, 1);
    test.follow();
    test.expect_same_chain(0);
    for _ in 0..5 {
        test.pass(5_000);
        assert_eq!(test.round().reorg, None);
    }
    // One that is clearly ahead counts.
    test.node(1).grow(13, 1);
    test.follow();
    test.expect_same_chain(1);
    assert_eq!(test.status().endpoints[0].state, EndpointState::Behind);
    assert_eq!(test.canonical(10), Some(hash(10, 1)));
}

#[test]
fn a_node_that_fails_rests_longer_each_time_and_one_that_is_busy_as_long_as_it_says() {
    let mut test = Test::new();
    let of_no_use = |test: &mut Test, error: NodeError| {
        for index in 0..2 {
            test.node(index).faults.borrow_mut().push_back(error.clone());
        }
        let began_ms = test.round().rests_until_ms.unwrap();
        assert!(test.status().trouble.unwrap().contains("none of the nodes"));
        began_ms
    };
    let mut waited = Vec::new();
    for _ in 0..10 {
        let now_ms = of_no_use(&mut test, down());
        let before_ms = test.now_ms();
        waited.push(now_ms - before_ms);
        test.pass(now_ms - before_ms);
    }
    assert_eq!(waited, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    let busy = NodeError::Busy { why: "429".into(), retry_after_ms: Some(7_000) };
    let until_ms = of_no_use(&mut test, busy);
    assert_eq!(until_ms - test.now_ms(), 7_000);
    assert_eq!(test.status().endpoints[0].state, EndpointState::Busy);
    let asked = test.node(0).asked.get();
    test.pass(6_999);
    test.round();
    assert_eq!(test.node(0).asked.get(), asked, "it is left alone");
    test.pass(1);
    test.node(0).grow(2, 0);
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn a_node_of_another_chain_is_never_followed() {
    let mut test = Test::new();
    test.node(0).grow(5, 0);
    test.node(1).grow(9, 4);
    test.node(1).chain_id.set(8);
    test.follow();
    test.expect_same_chain(0);
    let status = test.status();
    assert_eq!(status.chain_id, Some(7));
    assert_eq!(status.endpoints[1].state, EndpointState::OtherChain);
    assert!(status.endpoints[1].error.as_ref().unwrap().contains("chain 8"));
    // Neither after a restart, nor one that only begins otherwise.
    let mut test = test.restarted();
    test.node(1).chain_id.set(7);
    test.node(1).genesis.set(3);
    test.node(0).faults.borrow_mut().push_back(down());
    assert!(test.round().rests_until_ms.is_some());
    assert!(test.status().endpoints[1].error.as_ref().unwrap().contains("block 0"));
    test.expect_same_chain(0);
}

#[test]
fn a_node_in_whose_place_another_chains_came_is_found_out() {
    let mut test = Test::new();
    test.node(0).grow(5, 0);
    test.follow();
    test.node(0).faults.borrow_mut().push_back(down());
    test.round();
    test.node(0).genesis.set(3);
    test.node(0).reorg(0, 9, 5);
    test.pass(60_000);
    test.round();
    assert_eq!(test.status().endpoints[0].state, EndpointState::OtherChain);
    assert_eq!(test.tip(), Some((5, hash(5, 0))));
}
