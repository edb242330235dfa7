//! Contracts: each entry is one transaction, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::named;
use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Op, Port, Range};
use proofyard_core::state::KeyFamily;
use proofyard_follow_tests::between::{Between, Does};
use serde_json::json;
use tokio::sync::Barrier;

use crate::evm::ACCOUNT;
use crate::ledger::Ledger;
use crate::yard::{OF_SECRET, ProposingYard, proposer, put_secret, sent, soon, submitting};

fn account() -> String {
    format!("31337-{ACCOUNT}")
}

/// As docs/sinks.md has it.
const CALLS_A_LOOK: u64 = 18;

/// What the table has of the account that is read at each look, by name.
async fn pages(yard: &ProposingYard) -> Vec<String> {
    let range: Range = KeyFamily::JournalPage.range(account(), 1_000);
    let found = yard.driver.home.begin().home.yard.port.range(&range).await.unwrap();
    found.into_iter().map(|(sort, _)| sort).collect()
}

#[tokio::test]
async fn each_commit_is_a_transaction_that_is_not_waited_for() {
    let ledger = Ledger::start_by_hand();
    let sink = submitting("l1", &ledger, &ledger.anvil.url(), &format!("{OF_SECRET}\nconfirmations = 3"));
    let sink = sink.replace("confirmations = 1\n", "");
    let yard = ProposingYard::with(&sink, 2).await;
    yard.tell().await;
    let cursor = yard.cursor("l1").await;
    let reason = cursor.last_error.clone().unwrap();
    assert!(reason.contains("waits for a block"), "{reason}");
    // It is no failure: no pause grows by it.
    assert_eq!((cursor.next_sequence, cursor.failures), (0, 0));
    assert!(cursor.next_try_ms.is_some());
    ledger.mine(1);
    for _ in 0..3 {
        yard.resume("l1").await;
        yard.tell().await;
    }
    let cursor = yard.cursor("l1").await;
    assert!(cursor.last_error.clone().unwrap().contains("1 of 3 confirmations"), "{cursor:?}");
    assert_eq!((cursor.failures, sent(&ledger)), (0, 1));
    ledger.anvil.ask("evm_setAutomine", &serde_json::json!([true]));
    ledger.anvil.ask("evm_setIntervalMining", &serde_json::json!([1]));
    yard.until_told("l1", 2).await;
    assert_eq!((ledger.times(1), ledger.times(2), sent(&ledger)), (1, 1, 2));
}

/// What docs/sinks.md says of it: a look that sends, and one that finds it confirmed.
#[tokio::test]
async fn a_look_makes_few_calls_to_aws() {
    let ledger = Ledger::start();
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), OF_SECRET), 1).await;
    let mut totals = Vec::new();
    for _ in 0..2 {
        let messages = yard.received().await;
        yard.driver.http.take_counts();
        yard.proposer.take_batch(&yard.proposer.names.propose_queue(), &messages, soon()).await;
        let counts = yard.driver.http.take_counts();
        println!("{counts:?}");
        totals.push(counts.values().sum::<u64>());
        yard.proposer
            .queues
            .delete(&yard.proposer.names.propose_queue(), &messages.iter().collect::<Vec<_>>())
            .await
            .unwrap();
        yard.resume("l1").await;
    }
    assert_eq!(yard.cursor("l1").await.next_sequence, 1);
    assert!(totals.iter().all(|total| *total <= CALLS_A_LOOK), "{totals:?}");
}

/// It is ended at one of its calls to AWS after another, in an invocation that confirms one entry and sends the next.
#[tokio::test]
async fn a_function_that_is_killed_at_any_call_sends_no_entry_twice() {
    const BLOCKS: u64 = 32;
    let ledger = Ledger::start();
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), OF_SECRET), BLOCKS).await;
    let (mut kills, mut has_outlived) = (0, false);
    for entry in 0..BLOCKS {
        let mut invocations = 0;
        while yard.cursor("l1").await.next_sequence == entry {
            assert!(invocations < 20, "{:?}", yard.cursor("l1").await);
            yard.resume("l1").await;
            let call = if invocations == 0 { entry as usize } else { usize::MAX };
            match yard.tell_until_killed(call).await {
                true => kills += 1,
                false if invocations == 0 => has_outlived = true,
                false => {}
            }
            invocations += 1;
        }
    }
    assert!(kills >= 12 && has_outlived, "it was killed at each of its calls: {kills}");
    assert!((1..=BLOCKS).all(|height| ledger.times(height) == 1));
    assert_eq!((ledger.calls(), sent(&ledger)), (BLOCKS, BLOCKS));
}

/// The table has it, and says so to nobody.
#[tokio::test]
async fn a_tables_answer_that_is_lost_costs_no_second_transaction() {
    let ledger = Ledger::start();
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), OF_SECRET), 1).await;
    yard.driver.http.breaks(|operation, body| {
        match operation == "TransactWriteItems" && body.contains("page#raw-") {
            true => Fate::AnswerLost,
            false => Fate::Made,
        }
    });
    yard.tell().await;
    yard.driver.http.works();
    assert!(pages(&yard).await.iter().any(|page| page.starts_with("page#raw-")), "the table has it");
    yard.until_told("l1", 1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1));
}

/// From when the journal is written on the node takes nothing, and says nothing.
#[tokio::test]
async fn what_is_written_and_not_sent_is_sent_by_the_next_look() {
    let ledger = Ledger::start();
    let node = Arc::new(Between::start(ledger.anvil.at));
    let yard = ProposingYard::with(&submitting("l1", &ledger, &node.url(), OF_SECRET), 1).await;
    let fails = Arc::clone(&node);
    yard.driver.http.breaks(move |operation, body| {
        if operation == "TransactWriteItems" && body.contains("page#raw-") {
            fails.now(Does::HangsUp);
        }
        Fate::Made
    });
    yard.tell().await;
    yard.driver.http.works();
    assert_eq!(sent(&ledger), 0, "no node has heard of it");
    assert!(pages(&yard).await.iter().any(|page| page.starts_with("page#raw-")), "the table has it");
    node.now(Does::Well);
    yard.until_told("l1", 1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1));
}

/// Of a write without an answer it is not known whether it will be made: the same entry is called for again, and no newer one.
#[tokio::test]
async fn what_may_be_written_is_not_taken_for_nothing() {
    let ledger = Ledger::start();
    let keys = format!("{OF_SECRET}\nevery_ms = 1");
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), &keys), 1).await;
    yard.driver.http.breaks(|operation, body| {
        match operation == "TransactWriteItems" && body.contains("page#raw-") {
            true => Fate::NotSent,
            false => Fate::Made,
        }
    });
    yard.tell().await;
    yard.driver.http.works();
    assert_eq!(sent(&ledger), 0);
    yard.prove(2..=2).await;
    yard.until_told("l1", 2).await;
    assert_eq!((ledger.times(1), ledger.times(2), sent(&ledger)), (1, 1, 2));
}

/// Both sign for the nonce that is next; one of them finds at writing that the other has it.
#[tokio::test]
async fn two_invocations_on_one_account_take_no_nonce_twice() {
    const BLOCKS: u64 = 2;
    let ledger = Ledger::start();
    let sinks = ["one", "two"].map(|sink| submitting(sink, &ledger, &ledger.anvil.url(), OF_SECRET)).concat();
    let yard = ProposingYard::with(&sinks, BLOCKS).await;
    let (both, written) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&written);
    yard.driver.http.breaks(move |operation, body| {
        if operation != "TransactWriteItems" || !body.contains("page#raw-") {
            return Fate::Made;
        }
        match count.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Fate::Together(Arc::clone(&both)),
            _ => Fate::Made,
        }
    });
    yard.tell().await;
    yard.driver.http.works();
    assert!(written.load(Ordering::Relaxed) >= 3, "the one that came second has signed anew");
    yard.until_told("one", BLOCKS).await;
    yard.until_told("two", BLOCKS).await;
    assert!((1..=BLOCKS).all(|height| ledger.times(height) == 2));
    assert_eq!((ledger.calls(), sent(&ledger)), (2 * BLOCKS, 2 * BLOCKS));
}

/// A message that comes to two functions at once, as when one of them is taken for dead.
#[tokio::test]
async fn one_message_in_two_functions_is_one_transaction() {
    let ledger = Ledger::start();
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), OF_SECRET), 1).await;
    let both = Arc::new(Barrier::new(2));
    let written = AtomicUsize::new(0);
    yard.driver.http.breaks(move |operation, body| {
        let is_first = operation == "TransactWriteItems"
            && body.contains("page#raw-")
            && written.fetch_add(1, Ordering::Relaxed) < 2;
        if is_first { Fate::Together(Arc::clone(&both)) } else { Fate::Made }
    });
    let (messages, other) = (yard.received().await, proposer(&yard.driver.home));
    let queue = other.names.propose_queue();
    let (one, two) =
        (yard.proposer.take_batch(&queue, &messages, soon()), other.take_batch(&queue, &messages, soon()));
    tokio::join!(one, two);
    yard.driver.http.works();
    yard.resume("l1").await;
    yard.until_told("l1", 1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1));
}

#[tokio::test]
async fn a_contract_that_reverts_for_ever_holds_up_its_sink_alone() {
    let ledger = Ledger::start();
    ledger.tell("close(uint256)", 7);
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), OF_SECRET), 2).await;
    for failures in 1..=2 {
        yard.tell().await;
        let cursor = yard.cursor("l1").await;
        assert!(cursor.last_error.clone().unwrap().contains("submit would revert: Closed(7)"), "{cursor:?}");
        assert_eq!((cursor.next_sequence, cursor.failures), (0, failures));
        if failures == 1 {
            tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
            yard.sweep().await;
        }
    }
    yard.prove(3..=4).await;
    assert_eq!(yard.cursor("file").await.next_sequence, 4, "the chain goes on, and so do others");
    assert_eq!(sent(&ledger), 0, "nothing is spent");
    ledger.tell("close(uint256)", 0);
    yard.resume("l1").await;
    yard.until_told("l1", 4).await;
    assert_eq!(ledger.calls(), 4);
}

/// What is deep has no bytes any more, and is known all the same.
#[tokio::test]
async fn a_journal_keeps_no_bytes_of_what_is_settled_and_knows_it() {
    let ledger = Ledger::start();
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), OF_SECRET), 1).await;
    yard.until_told("l1", 1).await;
    ledger.mine(130);
    yard.prove(2..=2).await;
    yard.until_told("l1", 2).await;
    let pages = pages(&yard).await;
    let of = |kind: &str| pages.iter().filter(|page| page.starts_with(&format!("page#{kind}-"))).count();
    assert_eq!((of("sent"), of("raw")), (1, 1), "what is settled is read by its name alone: {pages:?}");
    yard.driver
        .home
        .yard
        .tell_sink(&named("c"), "l1", proofyard_core::sinks::SinkWord::Again { from: 0 })
        .await
        .unwrap();
    yard.driver.take_steps().await.unwrap();
    yard.until_told("l1", 2).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 2));
}

/// Puts what an older journal has of so many entries that are long done.
async fn put_finished(yard: &ProposingYard, nonces: std::ops::Range<u64>) {
    let port = &yard.driver.home.begin().home.yard.port;
    let page = |nonce: u64| {
        let hash = format!("{nonce:#066x}");
        let text = json!({
            "sink": "c/other", "key": format!("c/commits/{nonce}"), "nonce": nonce, "to": ACCOUNT, "selector": "0x00000000",
            "fees": { "max_fee_gwei": null, "replace_after_ms": 1 }, "has_counted": true, "ended": "included",
            "tries": [{ "hash": hash, "raw": "", "max_fee_wei": 1, "priority_fee_wei": 1, "at_ms": 1, "at_height": 1 }],
            "included": { "transaction": hash, "height": 1, "block": hash, "has_succeeded": true, "gas_used": 1 },
        });
        let action = Action::Put { value: text.to_string().into_bytes(), due_ms: None };
        let key = KeyFamily::JournalPage.key_in(account(), format!("sent-{nonce:020}-{hash}"));
        Op { key, expect: Expect::Any, action }
    };
    for ops in nonces.map(page).collect::<Vec<_>>().chunks(80) {
        let batch = Batch { version: port.random(), ops: ops.to_vec(), durable: true };
        assert!(matches!(port.commit(&batch).await.unwrap(), CommitOutcome::Committed));
    }
}

/// An older journal is brought into this form by the look that finds it.
#[tokio::test]
async fn a_look_costs_as_many_calls_after_2000_entries_as_after_20() {
    let ledger = Ledger::start();
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), OF_SECRET), 1).await;
    let (mut finished, mut counted) = (0, Vec::new());
    for (at, all) in [20, 2_000].into_iter().enumerate() {
        put_finished(&yard, 1_000_000 + finished..1_000_000 + all).await;
        finished = all;
        let block = 2 * at as u64 + 2;
        yard.until_told("l1", block - 1).await;
        yard.prove(block..=block).await;
        let queue = yard.proposer.names.propose_queue();
        let messages = yard.received().await;
        yard.driver.http.take_counts();
        yard.proposer.take_batch(&queue, &messages, soon()).await;
        let counts = yard.driver.http.take_counts();
        yard.proposer.queues.delete(&queue, &messages.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!(sent(&ledger), block, "it has sent the next");
        counted.push(counts);
        yard.until_told("l1", block).await;
        yard.prove(block + 1..=block + 1).await;
    }
    assert_eq!(counted[0], counted[1]);
    assert!(counted[1].values().sum::<u64>() <= CALLS_A_LOOK, "{counted:?}");
    let open = pages(&yard).await;
    assert!(open.len() < 20, "{open:?}");
}

/// A key without its name in the secret, and a keystore whose text stands there.
#[tokio::test]
async fn a_keystores_text_stands_in_the_secret_under_its_files_name() {
    let ledger = Ledger::start();
    let keys = "key_file = \"proposer.json\"\npassword_from = \"PASSWORD\"";
    let yard = ProposingYard::with(&submitting("l1", &ledger, &ledger.anvil.url(), keys), 1).await;
    yard.tell().await;
    let reason = yard.cursor("l1").await.last_error.unwrap();
    assert!(reason.contains("proofyard/test/keys has no proposer.json"), "{reason}");
    let store = include_str!("../../../../tests/contracts/tests/contracts/keystore.json");
    let secret = serde_json::json!({ "proposer.json": store, "PASSWORD": "secret" });
    put_secret(&yard.driver, &secret.to_string()).await;
    // What was read counts for a minute; a function that starts reads it.
    let yard = ProposingYard { proposer: proposer(&yard.driver.home), ..yard };
    yard.resume("l1").await;
    yard.until_told("l1", 1).await;
    assert_eq!((ledger.times(1), sent(&ledger)), (1, 1));
}
