//! What a prover needs with a block: fetched once, kept, and given to it.

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::between::{Between, Does};
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;

#[test]
fn each_block_is_proved_with_its_witness_which_is_fetched_once() {
    let anvil = Anvil::start();
    let between = Between::start_with_witnesses_of(anvil.at, 3_000_000);
    let mut yard = FollowingYard::with_witness(&[between.url()]);
    anvil.mine_fast(6);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    assert_eq!(between.witnesses(), 6);
    anvil.reorg(2);
    anvil.mine(1);
    yard.wait_for_chain_of(&anvil);
    assert_eq!(between.witnesses(), 9, "of each block once, also of those that left the chain");
    let (is_good, page) = yard.command(&["report", "--data", "yard"]);
    assert!(is_good && page.contains("witness"), "{page}");
}

#[test]
fn a_witness_that_is_not_there_cut_off_or_of_another_block_is_fetched_again() {
    let anvil = Anvil::start();
    let between = Between::start(anvil.at);
    let mut yard = FollowingYard::with_witness(&[between.url()]);
    anvil.mine_fast(2);
    yard.start();
    yard.wait_for_chain_of(&anvil);
    for (does, said) in [
        (Does::NoWitness, "it has none of block"),
        (Does::HalfWitness, ""),
        (Does::OtherWitness, "the witness is of another block"),
    ] {
        between.now(does);
        anvil.mine_fast(1);
        let height = anvil.height().to_string();
        wait_for("it is said why the block waits", || {
            let (_, page) = yard.command(&["explain", &height, "--data", "yard"]);
            (page.contains("witness") && page.contains("again") && page.contains(said)).then_some(())
        });
        between.now(Does::Well);
        yard.wait_for_chain_of(&anvil);
    }
}

#[test]
fn a_method_that_the_node_does_not_know_parks_and_is_named() {
    let anvil = Anvil::start();
    let between = Between::start(anvil.at);
    let mut yard = FollowingYard::with_witness(&[between.url()]);
    between.now(Does::NoSuchMethod);
    anvil.mine_fast(1);
    yard.start();
    wait_for("the block's witness parks", || {
        let (_, page) = yard.command(&["explain", "1", "--data", "yard"]);
        (page.contains("parked") && page.contains("it knows no debug_executionWitness")).then_some(())
    });
    between.now(Does::Well);
    assert!(yard.command(&["retry", "--data", "yard"]).0);
    yard.wait_for_chain_of(&anvil);
}
