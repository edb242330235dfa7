//! The recorded files are sound, and what is read of them is what the node said.

use crate::common::{chain, changed, check, read, reorg, says};
use proofyard_blocks::Rules;
use serde_json::{Value, json};

#[test]
fn the_recorded_chain_is_sound() {
    let summary = check(&chain()).unwrap();
    assert!(summary.blocks >= 64);
    assert_eq!(summary.blocks, summary.tip_height - summary.first_height + 1);
    assert_eq!((summary.reorgs, summary.orphaned), (0, 0));
    assert!(summary.segments > summary.blocks, "blocks of several segments");
}

#[test]
fn the_recorded_reorg_is_sound_and_leaves_three_orphans() {
    let summary = check(&reorg()).unwrap();
    assert_eq!((summary.reorgs, summary.orphaned), (1, 3));
    assert_eq!(summary.tip_height, 16);
}

#[test]
fn a_block_is_read_as_the_node_said_it() {
    let lines = chain();
    let node: Value = serde_json::from_str(&lines[0]).unwrap();
    let block = read(&lines[0], &Rules::default()).unwrap();
    let hex = |bytes: &[u8]| Value::String(format!("0x{}", hex::encode(bytes)));
    let number = |number: u64| Value::String(format!("{number:#x}"));
    let segments = node["segments"].as_array().unwrap();
    assert_eq!(block.chain_id, Some(31337));
    assert_eq!(number(block.height), node["block"]["number"]);
    assert_eq!(hex(&block.hash), node["block"]["hash"]);
    assert_eq!(hex(&block.parent), node["block"]["parentHash"]);
    assert_eq!(number(block.timestamp_s), node["block"]["timestamp"]);
    assert_eq!(block.transactions as usize, node["block"]["transactions"].as_array().unwrap().len());
    assert_eq!(block.segments as usize, segments.len());
    assert_eq!(hex(&block.state_pre.unwrap()), node["pre"]);
    assert_eq!(hex(&block.state_post.unwrap()), node["post"]);
    assert!(block.fields.is_empty() && block.not_understood.is_empty());
    assert_eq!(block.payload, lines[0].as_bytes());
}

/// The node hashes a header by other code than ours, under each fork that added fields.
#[test]
fn each_forks_header_hashes_as_the_node_says() {
    for line in include_str!("forks.jsonl").lines() {
        read(&with_one_segment(line), &Rules::default()).unwrap();
    }
}

/// A field that the header lost makes another hash; one that stands without its forerunners makes no header.
#[test]
fn no_header_field_can_go_unnoticed() {
    let prague = include_str!("forks.jsonl").lines().last().unwrap();
    for field in ["requestsHash", "withdrawalsRoot", "baseFeePerGas", "excessBlobGas", "miner", "logsBloom"] {
        let line = changed(&with_one_segment(prague), |line| {
            line["block"].as_object_mut().unwrap().remove(field);
        });
        let message = read(&line, &Rules::default()).unwrap_err();
        assert!(message.contains("header's hash is") || message.contains(field), "{field}: {message}");
    }
}

/// Ethereum's first block: the one header here that was mined with a difficulty.
#[test]
fn the_first_block_of_ethereum_hashes_as_all_know() {
    let zeros = |bytes: usize| format!("0x{}", "00".repeat(bytes));
    let empty_trie = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";
    let hash = "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3";
    let line = json!({
        "chain_id": 1,
        "block": {
            "hash": hash,
            "parentHash": zeros(32),
            "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
            "miner": zeros(20),
            "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
            "transactionsRoot": empty_trie,
            "receiptsRoot": empty_trie,
            "logsBloom": zeros(256),
            "difficulty": "0x400000000",
            "number": "0x0",
            "gasLimit": "0x1388",
            "gasUsed": "0x0",
            "timestamp": "0x0",
            "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
            "mixHash": zeros(32),
            "nonce": "0x0000000000000042",
            "transactions": [],
        },
    });
    let line = with_one_segment(&line.to_string());
    assert_eq!(read(&line, &Rules::default()).unwrap().height, 0);
    let other = changed(&line, |line| line["block"]["difficulty"] = json!("0x400000001"));
    says(&read(&other, &Rules::default()).unwrap_err(), &[hash, "record the block again"]);
}

#[test]
fn a_node_that_gives_hashes_alone_is_read_too() {
    let line = changed(&chain()[0], |line| {
        for transaction in line["block"]["transactions"].as_array_mut().unwrap() {
            *transaction = transaction["hash"].clone();
        }
    });
    read(&line, &Rules::default()).unwrap();
}

fn with_one_segment(line: &str) -> String {
    changed(line, |line| {
        let state = format!("0x{}", "00".repeat(32));
        let to = line["block"]["transactions"].as_array().unwrap().len();
        (line["pre"], line["post"]) = (json!(state), json!(state));
        line["segments"] = json!([{ "from": 0, "to": to }]);
    })
}
