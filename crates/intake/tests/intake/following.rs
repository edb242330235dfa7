//! A follower takes a node's chain: blocks, reorgs, faults, finality.

use proofyard_core::state::{EndpointState, NamedBlock};
use proofyard_intake::follower::NodeError;

use crate::nodes::{Forge, HomeError, Test, hash, now};

#[test]
fn a_chain_is_taken_from_its_start_in_bounded_rounds() {
    let mut test = Test::new();
    test.node(0).grow(50, 0);
    let round = test.round();
    assert_eq!((round.blocks, round.has_more), (8, true), "4 blocks a request, 2 requests at once");
    test.follow();
    test.expect_same_chain(0);
    test.node(0).grow(51, 0);
    let round = test.round();
    assert_eq!((round.blocks, round.has_more, round.reorg), (1, false, None));
    test.expect_same_chain(0);
    assert_eq!(test.round().blocks, 0);
}

#[test]
fn a_restart_goes_on_from_the_state() {
    let mut test = Test::new();
    test.node(0).grow(30, 0);
    test.round();
    let mut test = test.restarted();
    let asked = test.node(0).asked.get();
    test.follow();
    test.expect_same_chain(0);
    assert!(test.node(0).asked.get() - asked < 12, "it does not begin anew");
    assert_eq!(test.home().taken.borrow().len(), 22);
}

/// As on AWS, where each round may be a process of its own.
#[test]
fn each_round_may_run_in_a_new_process() {
    let mut test = Test::new();
    test.node(0).grow(12, 0);
    while test.round().has_more {
        test = test.gone_on();
    }
    test.expect_same_chain(0);
    // A failed node stays in backoff across processes; the other one is followed.
    test.node(1).grow(12, 0);
    test.node(0).faults.borrow_mut().push_back(NodeError::Down("no".to_owned()));
    test = test.gone_on();
    test.round();
    let (asked, states) = (test.node(0).asked.get(), |test: &Test| {
        test.status().endpoints.iter().map(|endpoint| endpoint.state).collect::<Vec<_>>()
    });
    assert_eq!(states(&test), [EndpointState::Down, EndpointState::Followed]);
    test = test.gone_on();
    test.round();
    assert_eq!((test.node(0).asked.get(), states(&test)), (asked, states(&test)));
    test.pass(500);
    test = test.gone_on();
    test.round();
    assert_eq!(
        states(&test),
        [EndpointState::Ready, EndpointState::Followed],
        "it is not taken back at once"
    );
    // A lower branch is followed once the node has reported it for 2 s, counted across processes.
    test.node(1).reorg(6, 8, 1);
    test.node(0).cut(0);
    test = test.gone_on();
    assert_eq!(test.round().reorg, None);
    test.pass(2_001);
    test = test.gone_on();
    test.follow();
    test.expect_same_chain(1);
}

/// Another node may be behind the URL by now, so the chain id is asked again each minute.
#[test]
fn a_node_says_which_chain_it_is_of_each_minute() {
    let mut test = Test::new();
    test.node(0).grow(5, 0);
    test.follow();
    test.node(0).chain_id.set(8);
    test.node(0).grow(6, 0);
    test.pass(60_000);
    test = test.gone_on();
    test.round();
    assert_eq!(test.status().endpoints[0].state, EndpointState::OtherChain);
    assert_eq!(test.tip(), Some((5, hash(5, 0))));
}

#[test]
fn a_reorg_of_any_depth_is_recorded_by_hash() {
    for depth in [1_u64, 10, 100, 1_000] {
        let mut test = Test::new();
        test.node(0).grow(1_005, 0);
        test.follow();
        let common = 1_005 - depth;
        test.node(0).reorg(common, 1_006, 1);
        let asked = test.node(0).asked.get();
        let round = test.round();
        assert!(round.reorg.is_some(), "{depth}");
        let asked = test.node(0).asked.get() - asked;
        assert!(
            asked <= 5 + 2 * (depth.ilog2() as usize + 1),
            "{asked} requests find a reorg of {depth} blocks"
        );
        test.follow();
        test.expect_same_chain(0);
        assert_eq!(test.canonical(common), Some(hash(common, 0)));
    }
}

#[test]
fn a_branch_that_was_left_is_come_back_to() {
    let mut test = Test::new();
    test.node(0).grow(20, 0);
    test.follow();
    for (branch, to) in [(1, 22), (0, 23), (1, 24), (0, 25)] {
        test.node(0).reorg(15, to, branch);
        test.follow();
        test.expect_same_chain(0);
    }
}

#[test]
fn a_branch_of_the_same_height_is_followed_at_once_and_a_lower_one_once_it_lasts() {
    let mut test = Test::new();
    test.node(0).grow(10, 0);
    test.follow();
    test.node(0).reorg(9, 10, 1);
    test.follow();
    test.expect_same_chain(0);
    test.node(0).reorg(6, 8, 2);
    let round = test.round();
    assert_eq!((round.reorg, test.tip()), (None, Some((10, hash(10, 1)))));
    assert!(test.status().trouble.unwrap().contains("another block 8"));
    test.pass(1_000);
    assert_eq!(test.round().reorg, None);
    test.pass(1_001);
    test.follow();
    test.expect_same_chain(0);
    assert_eq!(test.status().trouble, None);
}

#[test]
fn a_node_whose_newest_block_goes_back_on_the_same_chain_takes_nothing_away() {
    let mut test = Test::new();
    test.node(0).grow(10, 0);
    test.follow();
    test.node(0).cut(7);
    for _ in 0..5 {
        test.pass(10_000);
        assert_eq!(test.round().reorg, None);
    }
    assert_eq!(test.tip(), Some((10, hash(10, 0))));
    assert!(test.status().trouble.unwrap().contains("3 behind"));
    // Once it continues with other blocks, that is a reorg.
    test.node(0).grow(12, 1);
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn a_chain_that_differs_from_its_first_block_on_is_a_reorg_too() {
    let mut test = Test::new();
    test.node(0).grow(5, 0);
    test.follow();
    test.node(0).reorg(0, 7, 1);
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn a_block_that_the_node_told_of_costs_one_request() {
    let mut test = Test::new();
    test.node(0).grow(10, 0);
    test.follow();
    test.node(0).grow(11, 0);
    let asked = test.node(0).asked.get();
    let hint = test.node(0).hint(11);
    let round = now(test.follower.round(Some(&hint))).unwrap();
    assert_eq!((round.blocks, test.node(0).asked.get() - asked), (1, 1));
    test.expect_same_chain(0);
    // One that does not go on from the tip is found by a whole round.
    test.node(0).reorg(8, 12, 1);
    let hint = test.node(0).hint(12);
    let round = now(test.follower.round(Some(&hint))).unwrap();
    assert!(round.reorg.is_some());
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn what_a_node_answers_wrongly_is_not_taken() {
    let forgeries: [(Forge, &str); 4] = [
        (|_, _| "{".to_owned(), "block 6 cannot be taken"),
        (|_, json| json.replace("\"number\"", "\"numbers\""), "block 6 cannot be taken"),
        (|height, json| json.replace(&format!("{height:#x}\""), "0x1\""), "asked for block 6"),
        (|_, json| json[..json.len() / 2].to_owned(), "block 6 cannot be taken"),
    ];
    for (forge, text) in forgeries {
        let mut test = Test::new();
        test.node(0).grow(5, 0);
        test.follow();
        test.node(0).grow(6, 0);
        *test.node(0).forge.borrow_mut() = Some(forge);
        let round = test.round();
        assert_eq!(round.blocks, 0);
        let status = test.status();
        assert_eq!(status.endpoints[0].state, EndpointState::Wrong);
        assert!(status.endpoints[0].error.as_ref().unwrap().contains(text), "{:?}", status.endpoints[0]);
        // Another node tells the truth.
        test.node(1).grow(6, 0);
        test.follow();
        test.expect_same_chain(1);
        assert_eq!(test.status().endpoints[1].state, EndpointState::Followed);
    }
}

#[test]
fn blocks_that_do_not_hold_together_are_not_taken() {
    let mut test = Test::new();
    test.node(0).grow(3, 0);
    test.follow();
    test.node(0).grow(8, 0);
    // Its chain changes between two requests: block 6 is not the child of 5.
    *test.node(0).forge.borrow_mut() =
        Some(
            |height, json| {
                if height == 6 { json.replace(hash(5, 0).as_str(), hash(5, 3).as_str()) } else { json }
            },
        );
    assert_eq!(test.round().blocks, 2);
    assert_eq!(test.tip(), Some((5, hash(5, 0))));
    *test.node(0).forge.borrow_mut() = None;
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn a_home_that_cannot_take_a_block_loses_nothing() {
    let mut test = Test::new();
    test.node(0).grow(6, 0);
    test.follow();
    test.node(0).reorg(4, 12, 1);
    for taken in 0..12 {
        test.home().fails_after.set(Some(taken));
        if let Err(error) = now(test.follower.round(None)) {
            assert!(matches!(error, HomeError::Full));
            assert!(test.status().trouble.unwrap().contains("no room"));
        }
        test.home().fails_after.set(None);
        test = test.restarted();
    }
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn safe_and_finalized_are_recorded_as_the_node_says() {
    let mut test = Test::new();
    test.node(0).grow(10, 0);
    *test.node(0).finality.borrow_mut() = Some((8, 5));
    test.follow();
    let finality = test.finality().unwrap();
    assert_eq!(finality.safe, Some(NamedBlock { height: 8, hash: hash(8, 0) }));
    assert_eq!(finality.finalized, Some(NamedBlock { height: 5, hash: hash(5, 0) }));
    *test.node(0).finality.borrow_mut() = Some((9, 6));
    test.node(0).grow(11, 0);
    test.round();
    assert_eq!(test.finality().unwrap(), finality, "not asked for at each block");
    test.pass(4_000);
    test.round();
    assert_eq!(test.finality().unwrap().finalized.unwrap().height, 6);
    *test.node(0).finality.borrow_mut() = Some((10, 7));
    test.pass(4_000);
    test.round();
    assert_eq!(
        test.finality().unwrap().finalized.unwrap().height,
        6,
        "nor again and again without a new one"
    );
    test.pass(60_000);
    test.round();
    assert_eq!(test.finality().unwrap().finalized.unwrap().height, 7);
}

#[test]
fn a_node_below_the_start_is_waited_for() {
    let mut test = Test::new();
    let round = test.round();
    assert_eq!((round.blocks, round.has_more), (0, false));
    assert!(test.status().trouble.unwrap().contains("starts at 1"));
    test.node(0).faults.borrow_mut().push_back(NodeError::Down("refused".into()));
    test.node(0).grow(2, 0);
    test.node(1).grow(2, 0);
    test.follow();
    test.expect_same_chain(1);
}

#[test]
fn a_node_that_names_a_block_that_it_does_not_have_is_not_followed_for_it() {
    let mut test = Test::new();
    test.node(0).grow(5, 0);
    test.node(1).grow(5, 0);
    test.follow();
    for claimed in [9, 1 << 40, u64::MAX] {
        test.node(0).claims.set(Some(claimed));
        test.node(1).grow(test.tip().unwrap().0 + 2, 0);
        test.follow();
        test.expect_same_chain(1);
        let status = test.status();
        assert_eq!(status.endpoints[0].state, EndpointState::Wrong, "{claimed}");
        test.pass(60_000);
    }
}

/// As one address does with two nodes behind it, or a reorg between two requests.
#[test]
fn a_node_that_calls_its_newest_block_otherwise_than_it_answers_it_rests() {
    let mut test = Test::new();
    test.node(0).grow(5, 0);
    test.node(1).grow(5, 0);
    test.follow();
    test.node(0).claims.set(Some(5));
    test.node(1).grow(7, 0);
    test.follow();
    assert_eq!(test.status().endpoints[0].state, EndpointState::Wrong);
    test.expect_same_chain(1);
    test.node(0).grow(12, 0);
    test.node(0).claims.set(None);
    test.pass(60_000);
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn a_node_whose_branch_does_not_hold_together_rests() {
    let mut test = Test::new();
    test.node(0).grow(10, 0);
    test.follow();
    test.node(0).reorg(6, 12, 1);
    // The first block of the new branch names another parent, each time.
    *test.node(0).forge.borrow_mut() =
        Some(
            |height, json| {
                if height == 7 { json.replace(hash(6, 0).as_str(), hash(6, 5).as_str()) } else { json }
            },
        );
    test.round();
    assert_eq!(test.status().endpoints[0].state, EndpointState::Wrong);
    let asked = test.node(0).asked.get();
    test.round();
    assert_eq!(test.node(0).asked.get(), asked, "it is not asked again at once");
    assert_eq!(test.tip(), Some((10, hash(10, 0))));
    *test.node(0).forge.borrow_mut() = None;
    test.pass(60_000);
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn a_node_that_begins_anew_below_the_start_is_only_behind() {
    let mut test = Test::new();
    test.node(0).grow(5, 0);
    test.follow();
    test.node(0).cut(0);
    let round = test.round();
    assert_eq!((round.blocks, round.has_more, round.rests_until_ms), (0, false, None));
    assert_eq!(test.tip(), Some((5, hash(5, 0))));
    assert!(test.status().trouble.unwrap().contains("starts at 1"));
}

#[test]
fn a_lower_branch_that_grows_is_followed_too() {
    let mut test = Test::new();
    test.node(0).grow(100, 0);
    test.follow();
    test.node(0).reorg(40, 50, 1);
    for height in 51..54 {
        assert_eq!(test.round().reorg, None);
        test.node(0).grow(height, 1);
        test.pass(900);
    }
    test.follow();
    test.expect_same_chain(0);
}

#[test]
fn another_chain_in_the_nodes_place_is_found_out_before_it_is_followed() {
    let mut test = Test::new();
    test.node(0).grow(100, 0);
    test.follow();
    // Between two rounds, so that nobody saw it down.
    test.node(0).genesis.set(3);
    test.node(0).reorg(0, 120, 5);
    test.round();
    assert_eq!(test.status().endpoints[0].state, EndpointState::OtherChain);
    assert_eq!(test.tip(), Some((100, hash(100, 0))));
}

#[test]
fn a_node_whose_blocks_are_not_those_that_it_names_rests() {
    let mut test = Test::new();
    test.node(0).grow(100, 0);
    test.follow();
    test.node(0).reorg(10, 101, 1);
    // It names the new branch, and gives the blocks of the old one.
    *test.node(0).forge.borrow_mut() = Some(|height, json| {
        json.replace(hash(height, 1).as_str(), hash(height, 0).as_str())
            .replace(hash(height - 1, 1).as_str(), hash(height - 1, 0).as_str())
    });
    test.node(1).cut(0);
    test.round();
    test.round();
    assert_eq!(test.status().endpoints[0].state, EndpointState::Wrong);
    assert_eq!(test.tip(), Some((101, hash(101, 0))));
}

#[test]
fn a_block_that_was_told_of_twice_costs_nothing_the_second_time() {
    let mut test = Test::new();
    test.node(0).grow(11, 0);
    test.follow();
    let asked = test.node(0).asked.get();
    let hint = test.node(0).hint(11);
    now(test.follower.round(Some(&hint))).unwrap();
    assert_eq!(test.node(0).asked.get(), asked);
}
