//! Blocks of other chains, as their nodes give them.

use proofyard_blocks::{Rules, Wanted};
use proofyard_core::pipeline::Header;
use serde_json::json;

use crate::common::{changed, read, says};

const BOR: &str = include_str!("chains/bor-state-sync-only.jsonl");
const GNOSIS: &str = include_str!("chains/gnosis-aura.jsonl");
const ZKSYNC: &str = include_str!("chains/zksync-era.jsonl");
const MOONBEAM: &str = include_str!("chains/moonbeam.jsonl");
const NO_STATES: &str = include_str!("chains/no-pre-post.jsonl");

fn trusted() -> Rules {
    Rules { header: Header::Trusted, ..Rules::default() }
}

/// The one transaction syncs state, and is not under the header's root.
#[test]
fn transactions_that_are_not_under_the_root_are_taken() {
    let block = read(BOR, &Rules::default()).unwrap();
    assert_eq!((block.height, block.transactions), (19_127_466, 1));
}

#[test]
fn blocks_without_states_are_taken() {
    let block = read(NO_STATES, &Rules::default()).unwrap();
    assert_eq!((block.state_pre, block.state_post, block.segments), (None, None, 2));
}

#[test]
fn headers_that_are_hashed_otherwise_are_told_with_the_way_out_and_can_be_trusted() {
    let told = [
        (GNOSIS, 26_803, ["missing field `mixHash`", "not understood: author, signature, step"]),
        (
            ZKSYNC,
            9_627_753,
            ["the header's hash is 0x", "not understood: l1BatchNumber, l1BatchTimestamp, sealFields"],
        ),
        (MOONBEAM, 3_625_681, ["missing field `mixHash`", "not understood: author"]),
    ];
    for (line, height, parts) in told {
        let said = read(line, &Rules::default()).unwrap_err();
        says(&said, &parts);
        says(&said, &["write header = \"trusted\" under [chain]"]);
        let block = read(line, &trusted()).unwrap();
        assert_eq!(block.height, height);
        assert!(!block.not_understood.is_empty());
    }
}

#[test]
fn trusted_headers_need_little_and_give_their_own_fields() {
    let line = json!({
        "number": "0x10",
        "hash": format!("0x{}", "11".repeat(32)),
        "parentHash": format!("0x{}", "22".repeat(32)),
        "timestamp": "0x5",
        "l1BlockNumber": 77,
    });
    let wanted = vec![Wanted { field: "l1BlockNumber".into(), stage: "range".into(), is_number: false }];
    let block = read(&line.to_string(), &Rules { wanted, ..trusted() }).unwrap();
    assert_eq!((block.height, block.timestamp_s, block.transactions), (16, 5, 0));
    assert_eq!(block.fields["l1BlockNumber"], "77");
    let short = changed(&line.to_string(), |line| drop(line.as_object_mut().unwrap().remove("timestamp")));
    says(&read(&short, &trusted()).unwrap_err(), &["missing field `timestamp`"]);
}

/// No fee of 256 bits is known; any value is hashed, whatever the hash then is.
#[test]
fn base_fees_have_256_bits() {
    let line =
        changed(NO_STATES, |line| line["block"]["baseFeePerGas"] = json!(format!("0x{}", "f".repeat(64))));
    says(&read(&line, &Rules::default()).unwrap_err(), &["the header's hash is 0x"]);
    read(&line, &trusted()).unwrap();
}
