//! Nonces that nobody has a transaction with, below those that wait.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::evm::{ACCOUNT, number, receipt};
use crate::ledger::Ledger;
use crate::program::Submitter;

const KEYS: &str = "confirmations = 1\ntime_limit_ms = 1000\nreplace_after_ms = 6000";

/// Entry 4 waits under nonce 2, and nobody has anything with nonce 1.
fn with_a_gap(ledger: &Ledger, keys: &str) -> Submitter {
    let submitter = Submitter::of(ledger, &ledger.anvil.url(), keys);
    submitter.submit(2).later("nonce 0, waits for a block");
    ledger.mine(1);
    submitter.submit(2).done();
    submitter.submit(3).later("nonce 1, waits for a block");
    submitter.submit(4).later("nonce 2, waits for a block");
    loses(ledger, &submitter);
    submitter
}

/// The journal is restored without its second line, and the node has forgotten everything.
fn loses(ledger: &Ledger, submitter: &Submitter) {
    submitter.rewrite_journal(|journal| {
        journal["sent"].as_array_mut().unwrap().remove(1);
    });
    ledger.anvil.ask("anvil_dropAllTransactions", &json!([]));
}

fn count(ledger: &Ledger) -> u64 {
    number(&ledger.anvil.ask("eth_getTransactionCount", &json!([ACCOUNT, "latest"])))
}

/// Blocks come until the entry is done.
fn ends(ledger: &Ledger, submitter: &Submitter, height: u64) {
    for _ in 0..10 {
        if submitter.submit(height).code == Some(0) {
            return;
        }
        ledger.mine(1);
    }
    submitter.submit(height).done();
}

#[test]
fn a_nonce_that_nobody_has_is_named_and_filled_with_one_that_does_nothing() {
    let ledger = Ledger::start_by_hand();
    let submitter = with_a_gap(&ledger, KEYS);
    submitter.submit(4).later(&format!("nonce 1 of {ACCOUNT} is missing"));
    ledger.mine(1);
    submitter.submit(4).later(" s and a block it is filled");
    assert_eq!(submitter.journaled()["sent"].as_array().unwrap().len(), 2, "not before its time");
    thread::sleep(Duration::from_secs(6));
    submitter.submit(4).later("waits for a block");
    let filler = submitter.journaled()["sent"][1].clone();
    assert_eq!((filler["nonce"].as_u64(), filler["sink"].as_str()), (Some(1), Some("account/gap")));
    ledger.mine(1);
    submitter.submit(4).done();
    assert_eq!((count(&ledger), ledger.times(3), ledger.times(4)), (3, 0, 1));
    let sent = ledger.anvil.ask("eth_getTransactionByHash", &json!([filler["tries"][0]["hash"]]));
    assert_eq!(
        (sent["value"].as_str(), sent["input"].as_str(), sent["to"].as_str().unwrap().to_lowercase()),
        (Some("0x0"), Some("0x"), ACCOUNT.to_lowercase())
    );
    assert!(receipt(&ledger.anvil, &filler["tries"][0]["hash"]).is_some());
    // What was lost is sent anew.
    submitter.submit(3).later("nonce 3, waits for a block");
    ledger.mine(1);
    submitter.submit(3).done();
    assert_eq!(ledger.times(3), 1);
}

#[test]
fn a_nonce_that_a_node_has_something_pending_with_is_not_filled() {
    let ledger = Ledger::start_by_hand();
    let submitter = with_a_gap(&ledger, KEYS);
    submitter.submit(4).later("is missing");
    ledger.mine(1);
    let by_hand = json!([{ "from": ACCOUNT, "to": ACCOUNT, "nonce": "0x1" }]);
    let by_hand = ledger.anvil.ask("eth_sendTransaction", &by_hand);
    thread::sleep(Duration::from_secs(6));
    submitter.submit(4).later("nonce 1 of");
    submitter.submit(4).later("is that of a transaction that nodes have");
    // It is dropped, and its time begins anew.
    ledger.anvil.ask("anvil_dropTransaction", &json!([by_hand]));
    submitter.submit(4).later(" s and a block it is filled");
    assert_eq!(submitter.journaled()["sent"].as_array().unwrap().len(), 2);
    ends(&ledger, &submitter, 4);
    assert_eq!((count(&ledger), ledger.times(4)), (3, 1));
}

#[test]
fn several_missing_nonces_are_filled_one_after_another_and_for_no_more_than_the_sink_allows() {
    let ledger = Ledger::start_by_hand();
    let keys = format!("{}\nmax_fee_gwei = 20", KEYS.replace("6000", "50"));
    let submitter = with_a_gap(&ledger, &keys);
    submitter.submit(5).later("nonce 3, waits for a block");
    loses(&ledger, &submitter);
    ledger.anvil.ask("anvil_setNextBlockBaseFeePerGas", &json!(["0x174876e800"]));
    ledger.mine(1);
    submitter.submit(5).later("is missing");
    ledger.mine(1);
    submitter.submit(5).later("cannot be filled: a unit of gas costs");
    ledger.mine(40);
    ends(&ledger, &submitter, 5);
    let journal = submitter.journaled();
    let sinks: Vec<_> = journal["sent"].as_array().unwrap().iter().map(|sent| sent["sink"].clone()).collect();
    assert_eq!(sinks, ["l1", "account/gap", "account/gap", "l1"]);
    assert_eq!((count(&ledger), ledger.times(5)), (4, 1));
}

#[test]
fn a_transaction_that_every_node_refuses_is_given_up_and_made_anew_once_it_cannot_take_effect() {
    let ledger = Ledger::start_by_hand();
    let keys = KEYS.replace("6000", "200");
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), &keys);
    submitter.submit(2).later("nonce 0, waits for a block");
    let paid = ledger.anvil.ask("eth_getBalance", &json!([ACCOUNT, "latest"]));
    ledger.anvil.ask("anvil_dropAllTransactions", &json!([]));
    ledger.anvil.ask("anvil_setBalance", &json!([ACCOUNT, "0x1"]));
    submitter.submit(2).later("nsufficient funds");
    let refused = submitter.journaled()["sent"][0]["refused"].clone();
    assert!(refused["since_ms"].is_u64(), "{refused}");
    submitter.submit(2).later("nsufficient funds");
    assert_eq!(submitter.journaled()["sent"].as_array().unwrap().len(), 1, "not before its time");
    thread::sleep(Duration::from_secs(2));
    submitter.submit(2).later("nsufficient funds");
    assert_eq!(submitter.journaled()["sent"].as_array().unwrap().len(), 1, "nor without a block");
    ledger.mine(1);
    submitter.submit(2).later("every node refuses it: nonce 0 is filled");
    let journal = submitter.journaled();
    let of = |at: usize, what: &str| journal["sent"][at][what].clone();
    assert_eq!((of(0, "sink"), of(1, "sink")), (json!("account/gap"), json!("l1")));
    assert_eq!((of(0, "nonce"), of(1, "nonce")), (json!(0), json!(0)));
    // What was given up is offered to nobody any more.
    ledger.anvil.ask("anvil_setBalance", &json!([ACCOUNT, paid]));
    submitter.submit(2).later("every node refuses it");
    ledger.mine(1);
    assert_eq!((count(&ledger), ledger.times(2)), (1, 0));
    submitter.submit(2).later("nonce 0");
    ledger.mine(12);
    submitter.submit(2).later("nonce 1, waits for a block");
    ledger.mine(1);
    submitter.submit(2).done();
    assert_eq!((count(&ledger), ledger.times(2)), (2, 1));
}

/// What asks for more is refused as well, and its time goes on.
#[test]
fn what_every_node_refuses_is_given_up_however_often_it_was_replaced_meanwhile() {
    let ledger = Ledger::start_by_hand();
    let keys = "confirmations = 1\ntime_limit_ms = 400\nreplace_after_ms = 1000";
    let submitter = Submitter::of(&ledger, &ledger.anvil.url(), keys);
    submitter.submit(2).later("nonce 0, waits for a block");
    let paid = ledger.anvil.ask("eth_getBalance", &json!([ACCOUNT, "latest"]));
    ledger.anvil.ask("anvil_dropAllTransactions", &json!([]));
    ledger.anvil.ask("anvil_setBalance", &json!([ACCOUNT, "0x1"]));
    submitter.submit(2).later("nsufficient funds");
    let of = |what: &str| submitter.journaled()["sent"][0][what].clone();
    let since = of("refused");
    let mut base_fee: u128 = 10_000_000_000;
    for tries in 2..=4 {
        thread::sleep(Duration::from_millis(1_050));
        ledger.anvil.ask("anvil_setNextBlockBaseFeePerGas", &json!([format!("{base_fee:#x}")]));
        ledger.mine(1);
        submitter.submit(2).later("nsufficient funds");
        assert_eq!((of("tries").as_array().unwrap().len(), of("refused")), (tries, since.clone()));
        base_fee = base_fee * 5 / 2;
    }
    thread::sleep(Duration::from_secs(10));
    ledger.mine(1);
    submitter.submit(2).later("every node refuses it: nonce 0 is filled");
    let of = |at: usize, what: &str| submitter.journaled()["sent"][at][what].clone();
    assert_eq!((of(0, "sink"), of(1, "sink"), of(1, "nonce")), (json!("account/gap"), json!("l1"), json!(0)));
    ledger.anvil.ask("anvil_setBalance", &json!([ACCOUNT, paid]));
    submitter.submit(2).later("every node refuses it");
    ledger.mine(1);
    assert_eq!((count(&ledger), ledger.times(2)), (1, 0), "none of the four is offered any more");
    submitter.submit(2).later("nonce 0");
    ledger.mine(12);
    submitter.submit(2).later("nonce 1, waits for a block");
    ledger.mine(1);
    submitter.submit(2).done();
    assert_eq!((count(&ledger), ledger.times(2)), (2, 1));
}
