//! Nodes that fail, contracts that revert, accounts that are poor, shared or in use elsewhere.

use std::thread;

use proofyard_follow_tests::between::{Between, Does};
use serde_json::json;

use crate::evm::{ACCOUNT, DEPLOYER, SECOND_KEY, deployed, selector_text};
use crate::ledger::Ledger;
use crate::program::{Submitter, answer};

#[test]
fn a_node_that_fails_costs_time_and_no_second_transaction() {
    let ledger = Ledger::start();
    let between = Between::start(ledger.anvil.at);
    let submitter = Submitter::of(&ledger, &between.url(), "confirmations = 1");
    let failures = [Does::HangsUp, Does::TooMany, Does::ServerError, Does::Html, Does::HalfAnswer];
    for (height, does) in (1..).zip(failures) {
        between.now(does);
        submitter.submit(height).later("127.0.0.1");
        between.now(Does::Well);
        submitter.submit(height).done();
        assert_eq!(ledger.times(height), 1, "{does:?}");
    }
}

#[test]
fn another_node_is_asked_where_the_first_is_down() {
    let ledger = Ledger::start();
    let between = Between::start(ledger.anvil.at);
    between.now(Does::HangsUp);
    let urls = format!("{}\", \"{}", between.url(), ledger.anvil.url());
    let submitter = Submitter::of(&ledger, &urls, "confirmations = 1\nerrors = [\"Closed(uint256)\"]");
    submitter.submit(3).done();
    assert_eq!(ledger.calls(), 1);
    // What that one says of the call is the answer, and no reason to ask on.
    ledger.tell("close(uint256)", 7);
    submitter.submit(4).later("would revert: Closed(7)");
}

#[test]
fn nothing_is_sent_to_another_chain() {
    let ledger = Ledger::start();
    let between = Between::start(ledger.anvil.at);
    between.now(Does::OtherChain);
    let submitter = Submitter::of(&ledger, &between.url(), "");
    submitter.submit(3).later("the node is of chain 5, and `chain_id` is 31337");
}

#[test]
fn a_contract_that_reverts_is_asked_again_and_nothing_is_spent() {
    let ledger = Ledger::start();
    let keys = "confirmations = 1\nerrors = [\"Closed(uint256 since)\", \"TooCheap(uint256,uint256)\"]";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    ledger.tell("close(uint256)", 7);
    submitter.submit(3).later("submit would revert: Closed(7)");
    submitter.submit(3).later("submit would revert: Closed(7)");
    let sent = ledger.anvil.ask("eth_getTransactionCount", &json!([ACCOUNT, "latest"]));
    assert_eq!(sent, "0x0");
    ledger.tell("close(uint256)", 0);
    submitter.submit(3).done();
    assert_eq!(ledger.calls(), 1);
}

#[test]
fn one_that_reverts_in_its_block_is_looked_at_anew() {
    let ledger = Ledger::start_by_hand();
    let keys = "confirmations = 1\ntime_limit_ms = 300\nerrors = [\"Closed(uint256 since)\"]";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(3).later("waits for a block");
    // It closes in the same block, before it: whoever pays more comes first.
    ledger.anvil.ask(
        "eth_sendTransaction",
        &json!([{ "from": DEPLOYER, "to": ledger.address,
            "data": format!("0x0aebeb4e{:064x}", 9), "maxPriorityFeePerGas": "0x174876e800", "maxFeePerGas": "0x1bf08eb000" }]),
    );
    ledger.mine(1);
    submitter.submit(3).later("reverted in block");
    // A reorg could have it succeed after all: until then nothing else is sent.
    ledger.mine(126);
    submitter.submit(3).later("reverted in block");
    ledger.mine(1);
    submitter.submit(3).later("would revert: Closed(9)");
    ledger.tell("close(uint256)", 0);
    submitter.submit(3).later("waits for a block");
    ledger.mine(1);
    submitter.submit(3).done();
    assert_eq!(ledger.calls(), 1);
}

#[test]
fn a_key_without_funds_says_so() {
    let ledger = Ledger::start();
    let mut submitter = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1\ntime_limit_ms = 300");
    submitter.key = "0x00000000000000000000000000000000000000000000000000000000000000aa".to_owned();
    submitter.submit(3).later("unds");
    assert_eq!(ledger.calls(), 0);
}

#[test]
fn what_offers_too_little_is_offered_for_more_and_never_for_more_than_the_chain_asks() {
    let ledger = Ledger::start_by_hand();
    let keys = "confirmations = 1\ntime_limit_ms = 300\nreplace_after_ms = 50";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(3).later("waits for a block");
    let dear = || {
        // What it offered is below what blocks ask.
        ledger.anvil.ask("anvil_setNextBlockBaseFeePerGas", &json!(["0x2540be400"]));
        ledger.mine(1);
    };
    dear();
    assert_eq!(ledger.calls(), 0);
    submitter.submit(3).later("waits for a block");
    dear();
    assert_eq!(ledger.calls(), 1, "{}", submitter.journaled());
    submitter.submit(3).done();
    let sent = submitter.journaled()["sent"][0].clone();
    let tries = sent["tries"].as_array().unwrap();
    assert_eq!(sent["included"]["transaction"], tries.last().unwrap()["hash"]);
    assert_eq!(tries.len(), 2);
    // Where no block comes, nothing is offered for more.
    submitter.submit(4).later("waits for a block");
    submitter.submit(4).later("waits for a block");
    assert_eq!(submitter.journaled()["sent"][1]["tries"].as_array().unwrap().len(), 1);
}

#[test]
fn a_node_that_hangs_is_passed_over_and_named() {
    let ledger = Ledger::start();
    let between = Between::start(ledger.anvil.at);
    between.now(Does::Silence);
    let urls = format!("{}\", \"{}", between.url(), ledger.anvil.url());
    let keys = "confirmations = 1\ntime_limit_ms = 4000";
    Submitter::of(&ledger, &urls, keys).submit(3).done();
    Submitter::of(&ledger, &between.url(), keys).submit(4).later("does not answer in time");
    assert_eq!(ledger.calls(), 1);
}

#[test]
fn what_somebody_else_did_counts_once_blocks_confirm_it() {
    let ledger = Ledger::start_by_hand();
    let keys = "confirmations = 5\ntime_limit_ms = 300\ndone_if = [\"{seen}\", \">=\", \"{to}\"]\n\
                [sink.l1.read.seen]\nfunction = \"latest() returns (uint256)\"";
    ledger.mine(10);
    let data = format!("{}{:064x}{:064x}{:064x}", selector_text("submit(uint256,bytes)"), 3, 64, 0);
    ledger
        .anvil
        .ask("eth_sendTransaction", &json!([{ "from": DEPLOYER, "to": ledger.address, "data": data }]));
    ledger.mine(1);
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(3).later("done already, with less than 5 confirmations");
    ledger.anvil.reorg(1);
    ledger.anvil.ask("anvil_dropAllTransactions", &json!([]));
    submitter.submit(3).later("waits for a block");
    ledger.mine(5);
    submitter.submit(3).done();
    assert_eq!(ledger.times(3), 1);
}

#[test]
fn another_contract_has_not_got_what_the_one_before_has() {
    let ledger = Ledger::start();
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1");
    submitter.submit(3).done();
    let other = Ledger { address: deployed(&ledger.anvil, "Ledger", ""), ..ledger };
    let again = Submitter::of(&other, &other.anvil.url(), "confirmations = 1");
    std::os::unix::fs::symlink(submitter.journal(), again.journal()).unwrap();
    again.submit(3).done();
    assert_eq!(other.times(3), 1);
}

#[test]
fn a_proof_that_no_transaction_holds_is_refused_and_lies_in_nobodys_way() {
    let ledger = Ledger::start();
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1");
    std::fs::write(submitter.folder.path().join("proof"), vec![7; 131_072]).unwrap();
    submitter.submit(3).refused("nodes keep none above 131072");
    std::fs::write(submitter.folder.path().join("proof"), b"small").unwrap();
    submitter.submit(4).done();
    assert_eq!((ledger.times(3), ledger.times(4)), (0, 1));
}

#[test]
fn gas_that_costs_more_than_it_may_is_waited_out() {
    let ledger = Ledger::start();
    ledger.anvil.ask("anvil_setNextBlockBaseFeePerGas", &json!(["0x2540be400"]));
    ledger.mine(1);
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1\nmax_fee_gwei = 2");
    submitter.submit(3).later("`max_fee_gwei` is 2");
    ledger.mine(30);
    submitter.submit(3).done();
}

#[test]
fn two_sinks_of_one_account_do_not_take_each_others_nonces() {
    let ledger = Ledger::start();
    ledger.anvil.ask("evm_setAutomine", &json!([false]));
    ledger.anvil.ask("evm_setIntervalMining", &json!([1]));
    let one = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1");
    std::fs::create_dir(one.journal()).unwrap();
    let other = one.beside("other");
    thread::scope(|scope| {
        for (submitter, heights) in [(&one, 1..5), (&other, 11..15)] {
            scope.spawn(move || heights.for_each(|height| submitter.submit(height).done()));
        }
    });
    let heights = (1..5).chain(11..15);
    assert!(heights.into_iter().all(|height| ledger.times(height) == 1));
    // Both at once, of one message each, in the same block.
    let children = [one.start_submitting(20), other.start_submitting(21)];
    for child in children {
        let output = child.wait_with_output().unwrap();
        answer(output.status.code(), &output.stdout).done();
    }
    assert_eq!(ledger.calls(), 10);
}

#[test]
fn one_message_in_two_programs_by_mistake_is_one_transaction() {
    let ledger = Ledger::start();
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1");
    let children = [submitter.start_submitting(4), submitter.start_submitting(4)];
    for child in children {
        let output = child.wait_with_output().unwrap();
        answer(output.status.code(), &output.stdout).done();
    }
    assert_eq!(ledger.calls(), 1);
}

/// Each has an account and a journal of its own, and both have sent before a block has either.
#[test]
fn a_second_proposer_by_mistake_costs_one_call_that_comes_to_nothing() {
    let ledger = Ledger::start();
    ledger.anvil.ask("evm_setAutomine", &json!([false]));
    let keys = "confirmations = 3\ntime_limit_ms = 300\nerrors = [\"Again(uint256 height)\"]\n\
                done_if = [\"{latest}\", \">=\", \"{to}\"]\n[sink.l1.read.latest]\nfunction = \"latest() returns (uint256)\"";
    let one = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    let mut other = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    other.key = SECOND_KEY.to_owned();
    let both = [&one, &other];
    both.iter().for_each(|proposer| proposer.submit(3).later("waits for a block"));
    // What anvil is asked counts what waits for a block: the second would not be sent if it was refused by then.
    let takes_one = |takes: u64| {
        ledger.anvil.ask("anvil_setStorageAt", &json!([ledger.address, "0x6", format!("0x{takes:064x}")]));
    };
    takes_one(1);
    ledger.mine(1);
    both.iter().for_each(|proposer| proposer.submit(3).later("in block"));
    assert_eq!((ledger.times(3), ledger.calls()), (1, 1), "the other call reverted");
    ledger.mine(2);
    both.iter().for_each(|proposer| proposer.submit(3).done());
    // Neither is in the way of the next entry, also once the call that reverted is forgotten.
    for height in [4, 5] {
        takes_one(0);
        both.iter().for_each(|proposer| proposer.submit(height).later("waits for a block"));
        takes_one(1);
        ledger.mine(130);
        both.iter().for_each(|proposer| proposer.submit(height).done());
        assert_eq!(ledger.times(height), 1);
    }
}

#[test]
fn a_nonce_that_something_else_has_is_given_up_once_that_is_deep() {
    let ledger = Ledger::start_by_hand();
    let keys = "confirmations = 1\ntime_limit_ms = 300";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(3).later("waits for a block");
    ledger.anvil.ask("anvil_dropAllTransactions", &json!([]));
    ledger.anvil.ask("eth_sendTransaction", &json!([{ "from": ACCOUNT, "to": ACCOUNT, "nonce": "0x0" }]));
    ledger.mine(1);
    submitter.submit(3).later("waits for a block");
    ledger.mine(12);
    submitter.submit(3).later("nonce 1, waits for a block");
    ledger.mine(1);
    submitter.submit(3).done();
    assert_eq!(ledger.calls(), 1);
}

#[test]
fn what_was_offered_as_often_as_it_may_be_says_what_is_waited_for() {
    let ledger = Ledger::start_by_hand();
    let keys = "confirmations = 1\ntime_limit_ms = 800\nreplace_after_ms = 50";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(3).later("waits for a block");
    let tries = || submitter.journaled()["sent"][0]["tries"].as_array().unwrap().len();
    let mut base_fee: u128 = 5_000_000_000;
    while tries() < 16 {
        assert!(base_fee < 1 << 54, "{} tries", tries());
        // No block has room for what it offers, and the next one asks for more.
        ledger.anvil.ask("anvil_setNextBlockBaseFeePerGas", &json!([format!("{base_fee:#x}")]));
        ledger.mine(1);
        submitter.submit(3).later("waits for a block");
        base_fee = base_fee * 5 / 2;
    }
    ledger.anvil.ask("anvil_setNextBlockBaseFeePerGas", &json!([format!("{base_fee:#x}")]));
    ledger.mine(1);
    submitter.submit(3).later("it was offered 16 times, at last for ");
    assert_eq!(tries(), 16);
    // Blocks ask for less again; what the node gave up meanwhile it is given anew.
    ledger.mine(40);
    submitter.submit(3);
    ledger.mine(1);
    submitter.submit(3).done();
    assert_eq!(ledger.calls(), 1);
}
