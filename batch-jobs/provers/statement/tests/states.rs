//! The recorder's states: deterministic, chained by parent, and those that blocks are proved with.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use proofyard_statement::complete::{Cut, complete};
use proofyard_statement::digest::bytes_to_hex;
use proofyard_statement::{Block, Digest};
use serde_json::{Value, json};

const GENESIS: Digest = [7; 32];

fn bare_line(height: u64, transactions: u8) -> Value {
    let hash = |index: u8| bytes_to_hex(&[height as u8, index].repeat(16));
    let transactions: Vec<Value> =
        (0..transactions)
            .map(|index| {
                if index % 2 == 0 { json!({"hash": hash(index), "nonce": "0x1"}) } else { json!(hash(index)) }
            })
            .collect();
    json!({
        "chain_id": 5,
        "block": {
            "number": format!("{height:#x}"),
            "hash": format!("block {height}"),
            "parentHash": format!("block {}", height - 1),
            "transactions": transactions,
        },
    })
}

fn joined(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn completed(lines: &[Value], cut: Cut) -> Vec<Value> {
    let mut out = Vec::new();
    complete(joined(lines).as_bytes(), &mut out, cut, GENESIS).unwrap();
    let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn refused(lines: &[Value], cut: Cut) -> String {
    complete(joined(lines).as_bytes(), Vec::new(), cut, GENESIS).unwrap_err().to_string()
}

#[test]
fn states_go_from_block_to_block() {
    let lines = completed(&[bare_line(1, 3), bare_line(2, 0), bare_line(3, 2)], Cut::Every(2));
    assert_eq!(lines[0]["pre"], bytes_to_hex(&GENESIS));
    assert_eq!(lines[0]["segments"], json!([{"from": 0, "to": 2}, {"from": 2, "to": 3}]));
    assert_eq!(lines[1]["segments"], json!([{"from": 0, "to": 0}]));
    for pair in lines.windows(2) {
        assert_eq!(pair[1]["pre"], pair[0]["post"]);
    }
    for line in &lines {
        let block = Block::parse(line.to_string().as_bytes()).unwrap();
        assert_eq!(block.checked_values().unwrap().post, block.post);
    }
    // Even a block without transactions changes the state: it is the state after that height.
    assert_ne!(lines[1]["pre"], lines[1]["post"]);
}

#[test]
fn completing_again_changes_nothing() {
    let once = completed(&[bare_line(1, 5), bare_line(2, 1)], Cut::Every(2));
    assert_eq!(completed(&once, Cut::AsGiven), once);
    assert_eq!(completed(&once, Cut::Every(2)), once);
    assert_eq!(once[0]["block"], bare_line(1, 5)["block"]);
    let otherwise = completed(&once, Cut::Every(4));
    assert_eq!((&otherwise[0]["post"], &otherwise[1]["post"]), (&once[0]["post"], &once[1]["post"]));
}

/// After a reorg a block starts from its parent's state, not from the last line's.
#[test]
fn branches_have_their_own_states() {
    let mut fork = bare_line(2, 3);
    fork["block"]["hash"] = json!("fork");
    let reorg = json!({"reorg": "fork"});
    let lines = completed(&[bare_line(1, 1), bare_line(2, 2), reorg.clone(), fork], Cut::Every(8));
    assert_eq!(lines[2], reorg);
    assert_eq!(lines[3]["pre"], lines[1]["pre"]);
    assert_ne!(lines[3]["post"], lines[1]["post"]);
}

#[test]
fn wrong_lines_are_named() {
    let error = refused(&[bare_line(1, 1), bare_line(3, 1)], Cut::Every(8));
    assert!(error.contains("line 2") && error.contains("parent"), "{error}");
    let error = refused(&[bare_line(1, 1)], Cut::AsGiven);
    assert!(error.contains("line 1") && error.contains("segments"), "{error}");
    let mut odd = bare_line(1, 4);
    odd["segments"] = json!([{"from": 0, "to": 1}, {"from": 1, "to": 4}]);
    assert!(refused(&[odd], Cut::AsGiven).contains("segment 1 begins at 1"));
    assert!(complete(&b"{\"block\":"[..], Vec::new(), Cut::Every(8), GENESIS).is_err());
    let error = complete(&b"rubbish\n"[..], Vec::new(), Cut::Every(8), GENESIS).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[test]
fn blocks_that_are_not_usable_are_refused() {
    let good = completed(&[bare_line(1, 4)], Cut::Every(2)).remove(0);
    let cases: [(&str, Value, &str); 8] = [
        ("/block/number", "1".into(), "number"),
        ("/block/transactions/1", "0x12".into(), "transaction 1"),
        ("/segments/1/from", 1.into(), "segment 1"),
        ("/segments/1/to", 3.into(), "3 of 4"),
        ("/segments/1/to", u32::MAX.into(), "of 4"),
        ("/pre", "0x00".into(), "pre: expected 0x and 64 hex digits"),
        ("/segments", json!([]), "0 of 4"),
        ("/chain_id", "1".into(), "invalid type"),
    ];
    for (pointer, value, why) in cases {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        let error = Block::parse(wrong.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(why), "{pointer}: {error}");
    }
    let mut other_state = good.clone();
    other_state["post"] = other_state["pre"].clone();
    let error = Block::parse(other_state.to_string().as_bytes()).unwrap().checked_values().unwrap_err();
    assert!(error.to_string().contains("post-state"), "{error}");
}

fn run(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_proofyard-states"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_program_completes_a_file() {
    let genesis = bytes_to_hex(&GENESIS);
    let (code, out) = run(
        &["--genesis", &genesis, "--segment-transactions", "2"],
        &joined(&[bare_line(1, 3), bare_line(2, 1)]),
    );
    let expected = joined(&completed(&[bare_line(1, 3), bare_line(2, 1)], Cut::Every(2)));
    assert_eq!((code, out), (Some(0), expected));
    assert_eq!(run(&[], "rubbish").0, Some(1));
    for wrong in [&["--genesis", "0x12"][..], &["--segment-transactions", "3"], &["states"]] {
        assert_eq!(run(wrong, "").0, Some(2), "{wrong:?}");
    }
}
