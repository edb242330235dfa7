//! How soon after the acceptance of its proof the outside is told of a block. A few blocks by default, which shows that it is
//! measured rightly; `PROOFYARD_TOLD_BLOCKS=64` says how many, and `--nocapture` shows what came out.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::beacon_node::BeaconNode;
use crate::beacon_yards::{beacon_blocks, yard_with};
use crate::ethproofs_server::Ethproofs;
use crate::server::{Server, status};
use crate::yard::Yard;
use crate::yards::{hook, reports};

/// Blocks are proved slower than any sink takes them.
const WORK_MS: u64 = 300;

#[test]
fn each_sink_is_told_of_a_block_once_its_proof_is_accepted() {
    let blocks = std::env::var("PROOFYARD_TOLD_BLOCKS").map_or(4, |blocks| blocks.parse().unwrap());
    let hooked = Server::start(|_| status(200));
    let (_ethproofs, reported) = Ethproofs::start();
    let (node, beacon) = BeaconNode::start();
    let sinks = hook(&hooked) + &reports(&reported);
    let yard = yard_with(&sinks, 20_000, blocks, WORK_MS, &node, &beacon);
    yard.run();
    let accepted_ms = accepted_ms(&yard);
    assert_eq!(accepted_ms.len(), blocks);

    let hooked = hooked.requests();
    let hooked = hooked.iter().map(|request| (request.json()["to"].as_u64().unwrap(), request.at_ms));
    say("a webhook", &accepted_ms, hooked.collect());

    let proved = reported.requests();
    let proved = proved.iter().filter(|request| request.path == "/proofs/proved");
    let proved = proved.map(|request| (request.json()["block_number"].as_u64().unwrap(), request.at_ms));
    say("Ethproofs, of `proved`", &accepted_ms, proved.collect());

    let roots: Vec<_> = beacon_blocks(&yard).into_iter().map(|(root, ..)| root).collect();
    let handed_in = beacon.requests();
    let handed_in = handed_in.iter().filter(|request| request.method == "POST").map(|request| {
        let is_of = |root: &[u8; 32]| request.body.windows(32).any(|bytes| bytes == root);
        (1 + roots.iter().position(is_of).unwrap() as u64, request.at_ms)
    });
    say("a beacon node", &accepted_ms, handed_in.collect());
}

/// When the proof that commits each block was accepted.
fn accepted_ms(yard: &Yard) -> BTreeMap<u64, u64> {
    let report: Value = serde_json::from_str(&yard.ask(&["report", "--json"]).unwrap()).unwrap();
    let blocks = report["blocks"].as_array().unwrap().iter();
    blocks.map(|block| (block["height"].as_u64().unwrap(), block["proved_ms"].as_u64().unwrap())).collect()
}

fn say(who: &str, accepted_ms: &BTreeMap<u64, u64>, told_ms: BTreeMap<u64, u64>) {
    assert_eq!(told_ms.keys().collect::<Vec<_>>(), accepted_ms.keys().collect::<Vec<_>>(), "{who}");
    let early = told_ms.iter().find(|(height, told_ms)| accepted_ms[*height] > **told_ms);
    assert_eq!(early, None, "{who} was told before the proof was accepted");
    let mut took_ms: Vec<u64> =
        told_ms.iter().map(|(height, told_ms)| told_ms - accepted_ms[height]).collect();
    took_ms.sort_unstable();
    let at = |percent: usize| took_ms[(took_ms.len() * percent).div_ceil(100) - 1];
    println!(
        "from a proof's acceptance until {who} was told: P50 {} ms, P99 {} ms, maximum {} ms ({} blocks)",
        at(50),
        at(99),
        at(100),
        took_ms.len()
    );
}
