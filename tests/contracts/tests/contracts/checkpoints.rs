//! Transactions before a stage: whole yards that put an L1 block on record, prove with what that came to, and propose, by
//! `examples/succinct-oracle.toml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::between::{Between, Does};
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cut::Way;
use crate::evm::{DEPLOYER, deployed, transact, view, word};
use crate::examples::{l1, proposing, say_costs};

const EXAMPLE: &str = "succinct-oracle.toml";
/// Three ranges, and one block over.
const BLOCKS: u64 = 13;

struct Oracle {
    l1: Anvil,
    address: String,
}

impl Oracle {
    fn start() -> Self {
        let l1 = l1();
        let address = deployed(&l1, "SuccinctOracle", &[word(0), word(4)].concat());
        Self { l1, address }
    }

    fn says(&self, function: &str, arguments: &str) -> u64 {
        view(&self.l1, &self.address, function, arguments)
    }

    fn latest(&self) -> u64 {
        self.says("latestBlockNumber()", "")
    }

    fn checkpoints(&self) -> u64 {
        self.says("checkpoints()", "")
    }

    fn close(&self, flag: u64) {
        transact(&self.l1, DEPLOYER, &self.address, "close(uint256)", &word(flag));
    }

    /// Each range was proposed once, by a checkpoint of its own.
    #[track_caller]
    fn has_each_range_once(&self) {
        assert_eq!((self.latest(), self.checkpoints()), (12, 3));
        for block in [4, 8, 12] {
            assert_eq!(self.says("times(uint256)", &word(block)), 1, "{block}");
        }
    }
}

fn explained(yard: &FollowingYard, height: &str) -> String {
    yard.command(&["explain", height, "--data", "yard"]).1
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// What the yard keeps that is JSON: proofs of the toy, and what calls came to.
fn artifacts(yard: &FollowingYard) -> Vec<(Vec<u8>, Value)> {
    let files = files_below(&yard.folder().join("yard"));
    let read = files.into_iter().filter_map(|path| fs::read(path).ok());
    read.filter_map(|bytes| Some((bytes.clone(), serde_json::from_slice(&bytes).ok()?))).collect()
}

/// As the toy says it of two inputs.
fn statement(inputs: [&[u8]; 2]) -> String {
    let mut digest = Sha256::new();
    for input in inputs {
        digest.update(Sha256::digest(input));
        digest.update(u64::MAX.to_le_bytes());
    }
    hex::encode(digest.finalize())
}

#[test]
fn what_a_checkpoint_came_to_is_proved_with_and_proposed() {
    let (chain, oracle) = (Anvil::start(), Oracle::start());
    chain.mine_fast(BLOCKS);
    let mut yard = proposing(EXAMPLE, &chain, &oracle.l1, &oracle.address);
    let way = Way::to(oracle.l1.at);
    yard.environment[0].1 = format!("http://{}", way.at);
    yard.start();
    wait_for("all ranges are proposed", || (oracle.latest() == 12).then_some(()));
    oracle.has_each_range_once();
    say_costs("an oracle with checkpoints of L1", &yard, &way);
    let artifacts = artifacts(&yard);
    let calls: Vec<_> = artifacts.iter().filter(|(_, value)| value["transaction"].is_string()).collect();
    assert_eq!(calls.len(), 3);
    for (bytes, call) in calls {
        let number: u64 = call["arguments"][0].as_str().unwrap().parse().unwrap();
        assert_eq!(call["after"]["l1_hash"], oracle.l1.hash(number), "the oracle has the block's hash");
        let mined: u64 = call["included"]["number"].as_u64().unwrap();
        assert!(mined > number);
        assert_eq!(call["included"]["hash"], oracle.l1.hash(mined));
        // An aggregation is about a range and this, and the oracle has it under this block's number.
        let toys = artifacts.iter().filter(|(_, value)| value["statement"].is_string());
        let of_this: Vec<_> = toys.clone().map(|(range, _)| statement([range, bytes])).collect();
        let proved =
            toys.filter(|(_, proof)| of_this.iter().any(|statement| proof["statement"] == **statement));
        assert_eq!(proved.count(), 1);
        let is_proposed = |block| oracle.says("l1BlockOf(uint256)", &word(block)) == number;
        assert!([4, 8, 12].into_iter().any(is_proposed), "{number}");
    }
}

#[test]
fn each_checkpoint_is_one_transaction_however_often_the_yard_is_killed() {
    let (chain, oracle) = (Anvil::start(), Oracle::start());
    chain.mine_fast(BLOCKS);
    let mut yard = proposing(EXAMPLE, &chain, &oracle.l1, &oracle.address);
    for after_ms in [700, 900, 1_100, 1_300, 1_500, 1_900, 2_300, 2_700] {
        yard.start();
        thread::sleep(Duration::from_millis(after_ms));
        yard.kill();
    }
    yard.start();
    wait_for("all ranges are proposed", || (oracle.latest() == 12).then_some(()));
    oracle.has_each_range_once();
}

#[test]
fn a_checkpoint_waits_while_l1_is_down_and_the_chain_goes_on() {
    let (chain, oracle) = (Anvil::start(), Oracle::start());
    let between = Between::start(oracle.l1.at);
    between.now(Does::HangsUp);
    chain.mine_fast(BLOCKS);
    let mut yard = proposing(EXAMPLE, &chain, &oracle.l1, &oracle.address);
    yard.environment[0].1 = between.url();
    yard.start();
    wait_for("all is committed", || (yard.status()?["frontier"] == BLOCKS + 1).then_some(()));
    let mut page = String::new();
    wait_for(&format!("it says what it waits for; now {page}"), || {
        page = explained(&yard, "2");
        (page.contains("checkpoint") && page.contains("eth_chainId")).then_some(())
    });
    between.now(Does::Well);
    wait_for("all ranges are proposed", || (oracle.latest() == 12).then_some(()));
    oracle.has_each_range_once();
}

#[test]
fn a_checkpoint_that_reverts_parks_and_goes_on_when_it_is_retried() {
    let (chain, oracle) = (Anvil::start(), Oracle::start());
    oracle.close(1);
    chain.mine_fast(BLOCKS);
    let mut yard = proposing(EXAMPLE, &chain, &oracle.l1, &oracle.address);
    yard.start();
    let mut page = String::new();
    wait_for("it is parked, with the contract's own words", || {
        page = explained(&yard, "2");
        (page.contains("parked") && page.contains("would revert: L1BlockHashNotAvailable(")).then_some(())
    });
    assert_eq!(oracle.checkpoints(), 0);
    wait_for("the chain goes on", || (yard.status()?["frontier"] == BLOCKS + 1).then_some(()));
    oracle.close(0);
    wait_for("all ranges are proposed", || {
        yard.command(&["retry", "--data", "yard"]);
        (oracle.latest() == 12).then_some(())
    });
    oracle.has_each_range_once();
}
