//! The recorder's states: deterministic, chained by parent, and those that the virtual machine computes.

use proofyard_miden::states::{Cut, complete};
use proofyard_miden::word::word_to_hex;
use serde_json::{Value, json};

use crate::{bare_line, genesis, parse, prove_all};

fn completed(lines: &[Value], cut: Cut) -> Vec<Value> {
    let mut out = Vec::new();
    complete(joined(lines).as_bytes(), &mut out, cut, genesis()).unwrap();
    out.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn joined(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn refused(lines: &[Value], cut: Cut) -> String {
    complete(joined(lines).as_bytes(), Vec::new(), cut, genesis()).unwrap_err().to_string()
}

fn last_post(line: &Value) -> &Value {
    &line["segments"].as_array().unwrap().last().unwrap()["post"]
}

/// A proof exists only where the machine's outputs are the recorded states.
#[test]
fn the_machine_computes_the_same_states() {
    let lines = completed(&[bare_line(1, 3), bare_line(2, 0), bare_line(3, 2)], Cut::Every(2));
    assert_eq!(lines[0]["segments"][0]["pre"], word_to_hex(&genesis()));
    assert_eq!(lines[0]["segments"].as_array().unwrap().len(), 2);
    assert_eq!(lines[1]["segments"].as_array().unwrap().len(), 1);
    assert_eq!(lines[1]["segments"][0]["pre"], *last_post(&lines[0]));
    assert_eq!(lines[1]["segments"][0]["post"], lines[1]["segments"][0]["pre"]);
    assert_eq!(lines[2]["segments"][0]["pre"], *last_post(&lines[1]));
    for line in &lines {
        prove_all(&parse(line));
    }
}

#[test]
fn completing_again_changes_nothing() {
    let once = completed(&[bare_line(1, 5), bare_line(2, 1)], Cut::Every(2));
    assert_eq!(completed(&once, Cut::AsGiven), once);
    assert_eq!(completed(&once, Cut::Every(2)), once);
    assert_eq!(once[0]["block"], bare_line(1, 5)["block"]);
}

/// After a reorg a block starts from its parent's state, not from the last line's.
#[test]
fn branches_have_their_own_states() {
    let mut fork = bare_line(2, 3);
    fork["block"]["hash"] = json!("fork");
    let reorg = json!({"reorg": "fork"});
    let lines = completed(&[bare_line(1, 1), bare_line(2, 2), reorg.clone(), fork], Cut::Every(8));
    assert_eq!(lines[2], reorg);
    assert_eq!(lines[3]["segments"][0]["pre"], lines[1]["segments"][0]["pre"]);
    assert_ne!(last_post(&lines[3]), last_post(&lines[1]));
}

#[test]
fn wrong_lines_are_named() {
    let error = refused(&[bare_line(1, 1), bare_line(3, 1)], Cut::Every(8));
    assert!(error.contains("line 2") && error.contains("parent"), "{error}");
    let error = refused(&[bare_line(1, 1)], Cut::AsGiven);
    assert!(error.contains("line 1") && error.contains("segments"), "{error}");
    let mut gap = bare_line(1, 4);
    gap["segments"] = json!([{"from": 0, "to": 1}, {"from": 2, "to": 4}]);
    assert!(refused(&[gap], Cut::AsGiven).contains("segment 1"));
    assert!(complete(&b"{\"block\":"[..], Vec::new(), Cut::Every(8), genesis()).is_err());
    let error = complete(&b"rubbish\n"[..], Vec::new(), Cut::Every(8), genesis()).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
}
