//! Whole yards whose quorums' proofs go to a beacon node, whatever happens to either side.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use proofyard_programs::programs;
use serde_json::Value;

use crate::beacon_node::{BeaconNode, GENESIS_S, Root, sha256};
use crate::server::{Answer, Server, status};
use crate::wait_for;
use crate::yard::Yard;

/// Two provers, both of which must agree.
const QUORUM: &str = r#"
[stage.one]
strategy = "match"
from = "block"
prover = "toy"
pool = "cpu"

[stage.two]
strategy = "match"
from = "block"
prover = "other"
pool = "cpu"

[stage.agree]
strategy = "match"
from = ["one", "two"]
need = 2

[prover.other]
command = [TOY]
"#;

/// A yard beside a node that has a beacon block for each of its blocks, with more sinks.
pub fn yard_with(
    sinks: &str,
    time_limit_ms: u64,
    blocks: usize,
    work_ms: u64,
    node: &BeaconNode,
    server: &Server,
) -> Yard {
    let sink = format!(
        "[sink.beacon]\nbeacon = \"{}\"\nproof_types = {{ toy = 1, other = 3 }}\nkeystore = \"validator.json\"\n\
         password_from = \"PASSWORD\"\ntime_limit_ms = {time_limit_ms}\n{sinks}",
        server.url
    );
    let toy = format!("\"{}\"", programs().join("proofyard-toy-prover").display());
    let yard = Yard::proving(blocks, work_ms, &QUORUM.replace("TOY", &toy), &sink);
    let keystore = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notify/keystores/quick.json");
    fs::copy(keystore, yard.path("validator.json")).unwrap();
    for (root, slot, hash) in beacon_blocks(&yard) {
        node.add(slot, root, &hash);
    }
    yard
}

/// A yard beside a node that has a beacon block for each of its blocks.
fn yard(blocks: usize, work_ms: u64, node: &BeaconNode, server: &Server) -> Yard {
    yard_that_waits(20_000, blocks, work_ms, node, server)
}

fn yard_that_waits(
    time_limit_ms: u64,
    blocks: usize,
    work_ms: u64,
    node: &BeaconNode,
    server: &Server,
) -> Yard {
    yard_with("", time_limit_ms, blocks, work_ms, node, server)
}

/// The beacon blocks that carry the yard's blocks: root, slot, block hash.
pub fn beacon_blocks(yard: &Yard) -> Vec<(Root, u64, String)> {
    let text = fs::read_to_string(yard.path("blocks.jsonl")).unwrap();
    let block = |line: &str| {
        let block: Value = serde_json::from_str(line).unwrap();
        let hash = block["block"]["hash"].as_str().unwrap().to_owned();
        let timestamp = block["block"]["timestamp"].as_str().unwrap();
        let timestamp_s = u64::from_str_radix(timestamp.trim_start_matches("0x"), 16).unwrap();
        (sha256(&[hash.as_bytes()]), (timestamp_s - GENESIS_S) / 12, hash)
    };
    text.lines().map(block).collect()
}

/// Of each block it has one proof of each type, and nothing wrong ever came.
fn check(node: &BeaconNode, yard: &Yard, when: &str) {
    for (root, ..) in beacon_blocks(yard) {
        assert_eq!(node.types(root), [1, 3], "{when}");
    }
    assert_eq!(node.state().faults, [""; 0], "{when}");
}

#[test]
fn both_proofs_of_a_quorum_reach_the_node() {
    let (node, server) = BeaconNode::start();
    let yard = yard(6, 20, &node, &server);
    yard.run();
    check(&node, &yard, "at the end");
    assert_eq!(node.state().calls, [2; 6], "nothing happened, so nothing came twice");
    let status = yard.ask(&["status"]).unwrap();
    assert!(status.contains("beacon"), "{status}");
}

#[test]
fn a_yard_that_is_killed_at_any_step_hands_all_in() {
    for side in ["before", "after"] {
        for (boundary, nth) in [
            ("block told", 1),
            ("block told", 2),
            ("block told", 3),
            ("block told", 5),
            ("blocks settled", 1),
        ] {
            let (node, server) = BeaconNode::start();
            let yard = yard(3, 5, &node, &server);
            let at = format!("{boundary}:{nth}:{side}");
            let died = yard.start(Some(&at)).wait().unwrap();
            assert_eq!(died.signal(), Some(9), "{at}");
            yard.run();
            check(&node, &yard, &at);
        }
    }
}

#[test]
fn a_yard_that_is_killed_again_and_again_hands_all_in() {
    let (node, server) = BeaconNode::start();
    let yard = yard(16, 30, &node, &server);
    for kill in 0..8_u64 {
        let mut run = yard.start(None);
        thread::sleep(Duration::from_millis(150 + 35 * (kill * 7 % 11)));
        run.kill().unwrap();
        run.wait().unwrap();
    }
    yard.run();
    check(&node, &yard, "at random");
}

#[test]
fn a_node_that_hangs_or_fails_holds_up_nothing_and_gets_all_afterwards() {
    let (node, server) = BeaconNode::start();
    let yard = yard_that_waits(4_000, 6, 20, &node, &server);
    server.answer(|_| Answer::Silence(Duration::from_secs(60)));
    let mut run = yard.start(None);
    yard.wait_until_committed(7);
    server.answer(|_| status(503));
    wait_for("it fails", || {
        yard.sink("beacon")
            .filter(|sink| sink["last_error"].as_str().is_some_and(|error| error.contains("503")))
    });
    server.answer(node.answers());
    yard.ask(&["sink", "beacon", "--resume"]).unwrap();
    assert!(run.wait().unwrap().success());
    check(&node, &yard, "afterwards");
}

#[test]
fn a_slot_with_two_blocks_is_left_out_and_counted() {
    let (node, server) = BeaconNode::start();
    let yard = yard(3, 5, &node, &server);
    let (_, slot, hash) = beacon_blocks(&yard).remove(1);
    node.add(slot, [0x55; 32], &hash);
    let log = yard.run();
    let blocks = beacon_blocks(&yard);
    let has = |block: &(Root, u64, String)| node.types(block.0).len();
    assert_eq!(blocks.iter().map(has).collect::<Vec<_>>(), [2, 0, 2]);
    assert!(log.contains("block 2 as accepted: slot 101 has several beacon blocks"), "{log}");
    let status = yard.sink("beacon").unwrap();
    assert!(status.to_string().contains("\"refused\":1"), "{status}");
}
