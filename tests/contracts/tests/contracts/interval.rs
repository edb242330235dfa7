//! A whole yard that proposes the newest output once in a while, by `examples/interval-oracle.toml`.

use std::fs;
use std::thread;
use std::time::Duration;

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;
use serde_json::json;

use crate::evm::{deployed, number, view, word};
use crate::examples::{l1, proposing};

const EXAMPLE: &str = "interval-oracle.toml";

struct Proposing {
    chain: Anvil,
    l1: Anvil,
    oracle: String,
    yard: FollowingYard,
}

impl Proposing {
    fn of(every_blocks: u64, every_ms: u64) -> Self {
        let (chain, l1) = (Anvil::start(), l1());
        let oracle = deployed(&l1, "IntervalOracle", &[word(0), word(every_blocks)].concat());
        let yard = proposing(EXAMPLE, &chain, &l1, &oracle);
        let pipeline = yard.folder().join("pipeline.toml");
        let text = fs::read_to_string(&pipeline).unwrap();
        assert!(text.contains("every_ms = 600000"));
        fs::write(&pipeline, text.replace("every_ms = 600000", &format!("every_ms = {every_ms}"))).unwrap();
        Self { chain, l1, oracle, yard }
    }

    fn says(&self, function: &str, arguments: &str) -> u64 {
        view(&self.l1, &self.oracle, function, arguments)
    }

    fn waits_until(&self, latest: u64) {
        wait_for(&format!("block {latest} is proposed; the yard says {:?}", self.yard.status()), || {
            (self.says("latestBlockNumber()", "") >= latest).then_some(())
        });
    }
}

#[test]
fn the_newest_block_is_proposed_for_all_between_however_often_the_yard_is_killed() {
    let mut proposing = Proposing::of(2, 3_000);
    proposing.chain.mine_fast(2);
    proposing.yard.start();
    proposing.waits_until(2);
    for after_ms in [200, 900, 1_700, 2_600, 400, 1_300] {
        proposing.chain.mine_fast(4);
        thread::sleep(Duration::from_millis(after_ms));
        proposing.yard.kill();
        proposing.yard.start();
    }
    proposing.waits_until(26);
    let block = proposing.chain.ask("eth_getBlockByNumber", &json!(["0x1a", false]));
    assert_eq!(proposing.says("timestampOf(uint256)", &word(26)), number(&block["timestamp"]));
    assert!((1..=26).all(|height| proposing.says("times(uint256)", &word(height)) <= 1));
    let proposals = proposing.says("proposals()", "");
    assert!((2..=10).contains(&proposals), "{proposals} proposals of 26 blocks");
}

#[test]
fn a_block_that_comes_too_early_makes_room_for_a_later_one() {
    let mut proposing = Proposing::of(10, 1_000);
    proposing.chain.mine_fast(4);
    proposing.yard.start();
    wait_for("it says what it waits for", || {
        let status = proposing.yard.status()?.to_string();
        status.contains("{next} is 10, and <= 4 is waited for").then_some(())
    });
    proposing.chain.mine_fast(9);
    proposing.waits_until(13);
    assert_eq!((proposing.says("proposals()", ""), proposing.says("times(uint256)", &word(13))), (1, 1));
}

#[test]
fn status_says_when_the_next_call_is_due() {
    let mut proposing = Proposing::of(1, 600_000);
    proposing.chain.mine_fast(1);
    proposing.yard.start();
    proposing.waits_until(1);
    proposing.chain.mine_fast(3);
    wait_for("the status says so", || {
        let (_, said) = proposing.yard.command(&["status", "--data", "yard"]);
        (said.contains("its next call, in 9 min") && said.contains("propose")).then_some(())
    });
    assert_eq!(proposing.says("proposals()", ""), 1);
}
