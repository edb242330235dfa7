//! The chain that is submitted to changes its mind.

use serde_json::json;

use crate::evm::ACCOUNT;
use crate::ledger::Ledger;
use crate::program::Submitter;

#[test]
fn a_transaction_that_a_reorg_took_away_is_sent_again() {
    for depth in [1, 3, 70] {
        let ledger = Ledger::start_by_hand();
        let keys = format!("confirmations = {}\ntime_limit_ms = 300", depth + 2);
        let submitter = Submitter::of(&ledger, &ledger.anvil.url(), &keys);
        ledger.mine(80);
        submitter.submit(5).later("waits for a block");
        ledger.mine(depth);
        submitter.submit(5).later("confirmations");
        ledger.anvil.reorg(depth);
        // The node forgets what it took out of blocks.
        ledger.anvil.ask("anvil_dropAllTransactions", &json!([]));
        assert_eq!(ledger.times(5), 0);
        submitter.submit(5).later("waits for a block");
        ledger.mine(depth + 2);
        submitter.submit(5).done();
        assert_eq!(ledger.calls(), 1, "{depth}");
    }
}

#[test]
fn one_that_was_done_already_is_sent_again_with_the_next() {
    let ledger = Ledger::start();
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1");
    ledger.mine(10);
    submitter.submit(5).done();
    submitter.submit(6).done();
    ledger.anvil.reorg(2);
    ledger.anvil.ask("anvil_dropAllTransactions", &json!([]));
    assert_eq!(ledger.calls(), 0);
    submitter.submit(7).done();
    assert_eq!((ledger.times(5), ledger.times(6), ledger.times(7)), (1, 1, 1));
    assert_eq!(ledger.calls(), 3);
}

/// Entry 5 was done, and its nonce has gone to something else.
fn undone_for_good(keys: &str) -> (Ledger, Submitter) {
    let ledger = Ledger::start();
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), &format!("confirmations = 1\n{keys}"));
    ledger.mine(10);
    submitter.submit(5).done();
    ledger.anvil.ask("evm_setAutomine", &json!([false]));
    ledger.anvil.reorg(2);
    ledger.anvil.ask("anvil_dropAllTransactions", &json!([]));
    // The account's nonce goes to something else on the new branch.
    ledger.anvil.ask("eth_sendTransaction", &json!([{ "from": ACCOUNT, "to": ACCOUNT, "nonce": "0x0" }]));
    ledger.mine(14);
    (ledger, submitter)
}

#[test]
fn an_entry_that_a_deep_reorg_undid_for_good_is_a_matter_for_people() {
    let (ledger, submitter) = undone_for_good("errors = [\"Closed(uint256)\"]");
    submitter.submit(6).refused("--again 5");
    ledger.anvil.ask("evm_setAutomine", &json!([true]));
    submitter.submit(5).done();
    submitter.submit(6).done();
    assert_eq!((ledger.times(5), ledger.times(6)), (1, 1));
}

#[test]
fn where_a_call_stands_for_all_before_it_the_next_one_goes_on() {
    let (ledger, submitter) = undone_for_good("every_ms = 1000");
    ledger.anvil.ask("evm_setAutomine", &json!([true]));
    submitter.submit(6).done();
    assert_eq!((ledger.times(5), ledger.times(6)), (0, 1));
}

#[test]
fn what_left_the_own_chain_after_it_was_submitted_is_a_matter_for_people() {
    let ledger = Ledger::start();
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), "confirmations = 1");
    submitter.retract(5).refused("left the chain after their proofs went to");
    assert_eq!(ledger.calls(), 0);
}
