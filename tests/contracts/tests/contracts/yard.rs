//! Whole yards that submit to a contract: kills, an L1 that is down or refuses, a reorg of the own chain.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::between::{Between, Does};
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;
use serde_json::Value;

use crate::evm::KEY;
use crate::ledger::Ledger;
use crate::program::CALL;

/// A yard that proves this chain and submits each block to the ledger by a node at this URL.
fn submitting(chain: &Anvil, ledger: &Ledger, url: &str, keys: &str) -> FollowingYard {
    let mut yard = FollowingYard::of_pipeline(&format!(
        "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 16\n\n\
         [source.node]\nrpc = [\"{}\"]\npoll_ms = 100\n\n\
         [stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"toy\"\npool = \"main\"\n\n\
         [prover.toy]\ncommand = [\"TOY\", \"--work-ms\", \"1\"]\n\n[pool.main]\nslots = 2\n\n\
         [sink.l1]\ncontract = \"{}\"\nrpc = [\"{url}\"]\nchain_id = 31337\nkey_from = \"KEY\"\nconfirmations = 1\n{CALL}\n{keys}\n",
        chain.url(),
        ledger.address,
    ));
    yard.environment.push(("KEY", KEY.to_owned()));
    yard
}

fn sink(yard: &FollowingYard) -> Option<Value> {
    let status = yard.status()?;
    status["sinks"].as_array()?.iter().find(|sink| sink["sink"] == "l1").cloned()
}

/// Waits until the status shows such trouble.
fn wait_for_trouble(yard: &FollowingYard, because: &str) {
    wait_for(&format!("the status shows \"{because}\"; now {:?}", sink(yard)), || {
        sink(yard).filter(|sink| sink.to_string().contains(because))
    });
}

#[test]
fn each_block_is_one_transaction_however_often_the_yard_is_killed() {
    let (chain, ledger) = (Anvil::start(), Ledger::start());
    chain.mine_fast(12);
    let mut yard = submitting(&chain, &ledger, &ledger.anvil.url(), "");
    for calls in [1, 3, 4, 7, 10] {
        yard.start();
        wait_for(&format!("{calls} calls"), || (ledger.calls() >= calls).then_some(()));
        yard.kill();
    }
    yard.start();
    wait_for("all are submitted", || (ledger.calls() >= 12).then_some(()));
    wait_for("the yard knows", || sink(&yard).filter(|sink| sink["next_sequence"] == 12));
    assert!((1..=12).all(|height| ledger.times(height) == 1));
}

#[test]
fn the_chain_goes_on_while_l1_is_down_or_the_contract_reverts() {
    let (chain, ledger) = (Anvil::start(), Ledger::start());
    let between = Between::start(ledger.anvil.at);
    between.now(Does::HangsUp);
    chain.mine_fast(6);
    let mut yard = submitting(&chain, &ledger, &between.url(), "errors = [\"Closed(uint256)\"]");
    yard.start();
    wait_for("all is committed", || (yard.status()?["frontier"] == 7).then_some(()));
    wait_for_trouble(&yard, "127.0.0.1");
    ledger.tell("close(uint256)", 7);
    between.now(Does::Well);
    assert!(yard.command(&["sink", "l1", "--resume", "--data", "yard"]).0);
    wait_for_trouble(&yard, "would revert: Closed(7)");
    chain.mine_fast(1);
    wait_for("the chain goes on", || (yard.status()?["frontier"] == 8).then_some(()));
    // One is given up by an operator; the others are taken once the contract takes them.
    assert!(yard.command(&["sink", "l1", "--skip", "0", "--data", "yard"]).0);
    ledger.tell("close(uint256)", 0);
    assert!(yard.command(&["sink", "l1", "--resume", "--data", "yard"]).0);
    wait_for("all others are submitted", || (ledger.calls() == 6).then_some(()));
    assert_eq!((ledger.times(1), ledger.times(7)), (0, 1));
}

#[test]
fn a_block_that_leaves_the_chain_after_it_was_submitted_stops_the_sink_and_nothing_else() {
    let (chain, ledger) = (Anvil::start(), Ledger::start());
    chain.mine_fast(4);
    let mut yard = submitting(&chain, &ledger, &ledger.anvil.url(), "");
    yard.start();
    wait_for("all are submitted", || (ledger.calls() == 4).then_some(()));
    chain.reorg(2);
    chain.mine_fast(1);
    wait_for_trouble(&yard, "blocks 3 to 4 left the chain after their proofs went to");
    wait_for("the new branch is committed", || (yard.status()?["frontier"] == 6).then_some(()));
    assert_eq!(ledger.calls(), 4);
    // Somebody has looked at what the contract holds.
    assert!(yard.command(&["sink", "l1", "--skip", "4", "--data", "yard"]).0);
    wait_for("the new branch is submitted", || (ledger.calls() == 7).then_some(()));
    assert_eq!((ledger.times(3), ledger.times(5)), (2, 1));
}

#[test]
fn a_sink_that_cannot_be_served_is_refused_before_anything_starts() {
    let (chain, ledger) = (Anvil::start(), Ledger::start());
    let mut yard = submitting(&chain, &ledger, &ledger.anvil.url(), "errors = [\"Closed(uint257)\"]");
    yard.start();
    wait_for("it ends", || (!yard.is_running()).then_some(()));
    let log = yard.log();
    assert!(log.contains("PY0019") && log.contains("sink l1") && log.contains("uint257"), "{log}");
}

/// How soon after the acceptance of its proof a block's call is in a block of L1, which makes one as soon as it has a transaction.
/// `PROOFYARD_TOLD_BLOCKS=64` says of how many blocks, and `--nocapture` shows what came out.
#[test]
fn a_block_is_submitted_once_its_proof_is_accepted() {
    let blocks = std::env::var("PROOFYARD_TOLD_BLOCKS").map_or(3, |blocks| blocks.parse().unwrap());
    let (chain, ledger) = (Anvil::start(), Ledger::start());
    let mut yard = submitting(&chain, &ledger, &ledger.anvil.url(), "");
    yard.start();
    let mut mined_ms = Vec::new();
    for height in 1..=blocks {
        chain.mine(1);
        let until = Instant::now() + Duration::from_secs(60);
        while ledger.calls() < height {
            assert!(Instant::now() < until, "block {height} is submitted");
            thread::sleep(Duration::from_millis(2));
        }
        mined_ms.push(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    }
    let (has_said, report) = yard.command(&["report", "--json", "--data", "yard"]);
    assert!(has_said, "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let accepted =
        report["blocks"].as_array().unwrap().iter().map(|block| block["proved_ms"].as_u64().unwrap());
    let mut took_ms: Vec<u64> = mined_ms
        .iter()
        .zip(accepted)
        .map(|(mined_ms, accepted_ms)| mined_ms.checked_sub(accepted_ms).expect("a proof before its call"))
        .collect();
    assert_eq!(took_ms.len() as u64, blocks);
    took_ms.sort_unstable();
    let at = |percent: usize| took_ms[(took_ms.len() * percent).div_ceil(100) - 1];
    println!(
        "from a proof's acceptance until its call is in a block: P50 {} ms, P99 {} ms, maximum {} ms ({blocks} blocks)",
        at(50),
        at(99),
        at(100)
    );
}
