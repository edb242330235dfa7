//! The forms that a line may have, and the fields that are kept of it.

use proofyard_blocks::{Rules, Wanted};
use serde_json::{Value, json};

use crate::common::{chain, changed, check, read, says};

/// The node's JSON of the first recorded blocks.
fn nodes_blocks() -> Vec<Value> {
    chain().iter().take(4).map(|line| serde_json::from_str::<Value>(line).unwrap()["block"].take()).collect()
}

fn keeping(field: &str, is_number: bool) -> Rules {
    let wanted = vec![Wanted { field: field.into(), stage: "range".into(), is_number }];
    Rules { wanted, ..Rules::default() }
}

#[test]
fn a_nodes_answers_and_bare_blocks_are_lines_too() {
    let blocks = nodes_blocks();
    let answers: Vec<String> = blocks
        .iter()
        .map(|block| json!({ "jsonrpc": "2.0", "id": 7, "result": block }).to_string())
        .collect();
    let bare: Vec<String> = blocks.iter().map(Value::to_string).collect();
    let only: Vec<String> = blocks.iter().map(|block| json!({ "block": block }).to_string()).collect();
    let mixed = vec![answers[0].clone(), bare[1].clone(), only[2].clone(), chain()[3].clone()];
    for lines in [answers, bare, only, mixed] {
        let summary = check(&lines).unwrap();
        assert_eq!((summary.blocks, summary.first_height, summary.tip_height), (4, 1, 4));
        for (line, block) in lines.iter().zip(&blocks) {
            let read = read(line, &Rules::default()).unwrap();
            let payload: Value = serde_json::from_slice(&read.payload).unwrap();
            assert_eq!(&payload["block"], block, "provers find every block under `block`");
        }
    }
}

#[test]
fn a_bare_block_keeps_its_bytes_for_provers() {
    let line =
        format!("  {}  ", serde_json::to_string_pretty(&nodes_blocks()[0]).unwrap().replace('\n', " "));
    let payload = String::from_utf8(read(&line, &Rules::default()).unwrap().payload).unwrap();
    assert_eq!(payload, format!("{{\"block\":{}}}", line.trim()));
}

#[test]
fn a_nodes_refusals_are_told() {
    let refused = |line: Value| read(&line.to_string(), &Rules::default()).unwrap_err();
    let error = json!({ "code": -32000, "message": "header not found" });
    says(&refused(json!({ "jsonrpc": "2.0", "id": 1, "error": error })), &["error", "header not found"]);
    says(&refused(json!({ "jsonrpc": "2.0", "id": 1, "result": null })), &["has no such block"]);
    says(&refused(json!({ "jsonrpc": "2.0", "id": 1 })), &["has no such block"]);
    says(
        &refused(json!({ "jsonrpc": "2.0", "id": 1, "result": nodes_blocks()[0], "chain_id": 1 })),
        &["`chain_id`"],
    );
}

#[test]
fn pending_blocks_are_named_so() {
    for field in ["hash", "number"] {
        let mut block = nodes_blocks().remove(0);
        block[field] = Value::Null;
        says(&read(&block.to_string(), &Rules::default()).unwrap_err(), &["the block is pending", field]);
    }
}

#[test]
fn segments_are_asked_for_only_where_blocks_are_split() {
    let line = changed(&chain()[0], |line| drop(line.as_object_mut().unwrap().remove("segments")));
    assert_eq!(read(&line, &Rules::default()).unwrap().segments, 0);
    let splits = Rules { splits: Some("segment".into()), ..Rules::default() };
    says(&read(&line, &splits).unwrap_err(), &["block 1 names no segments", "stage segment"]);
    read(&chain()[0], &splits).unwrap();
}

/// The node's names and values, whatever they are; lists by how many they have.
#[test]
fn fields_are_kept_under_the_nodes_names() {
    let node = nodes_blocks().remove(1);
    let kept = |change: &dyn Fn(&mut Value), field: &str| {
        let mut block = node.clone();
        change(&mut block);
        read(&block.to_string(), &keeping(field, false)).unwrap().fields.remove(field)
    };
    let as_it_is = |field| kept(&|_| {}, field);
    assert_eq!(as_it_is("gasUsed").as_deref(), node["gasUsed"].as_str());
    let transactions = node["transactions"].as_array().unwrap().len();
    assert_eq!(as_it_is("transactions"), Some(transactions.to_string()));
    assert_eq!((as_it_is("gas_used"), as_it_is("l1BlockNumber")), (None, None));
    let other = |value: Value| kept(&move |block| block["l1BlockNumber"] = value.clone(), "l1BlockNumber");
    assert_eq!(other(json!("0xAB")).as_deref(), Some("0xab"));
    assert_eq!(other(json!(7)).as_deref(), Some("7"));
    assert_eq!(other(json!(true)).as_deref(), Some("true"));
    assert_eq!(other(json!("Sealed")).as_deref(), Some("Sealed"));
    assert_eq!((other(Value::Null), other(json!({ "a": 1 }))), (None, None));
    let wide = format!("0x{}", "f".repeat(64));
    assert_eq!(other(json!(wide)), Some(wide));
    let long = other(json!("a".repeat(10_000))).unwrap();
    assert!(long.starts_with("keccak256:0x") && long.len() < 100, "{long}");
}

#[test]
fn a_file_whose_blocks_lack_what_cuts_need_is_refused() {
    let check = |rules: Rules| {
        let text = chain()[..4].join("\n");
        let reader = proofyard_blocks::Reader::new("blocks.jsonl", text.as_bytes(), rules);
        proofyard_blocks::check_file(reader).map_err(|error| error.to_string())
    };
    check(keeping("gasUsed", true)).unwrap();
    check(keeping("extraData", false)).unwrap();
    let told = check(keeping("gas_used", true)).unwrap_err();
    says(&told, &["blocks.jsonl:1: block 1 has no `gas_used`, by which stage range closes its cuts"]);
    says(&check(keeping("extraData", true)).unwrap_err(), &["its `extraData` is \"0x\", which is no number"]);
}
