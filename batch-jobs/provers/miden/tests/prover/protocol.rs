//! The program as it is used: requests on stdin, answers on stdout, proving and verifying in different processes.

use std::fs;
use std::path::Path;
use std::slice::from_ref;

use proofyard_programs::{answers, run};
use proofyard_statement::Block;
use proofyard_statement::complete::{Cut, complete};
use serde_json::{Value, json};

use crate::{bare_line, genesis};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proofyard-miden");

/// Sends one request to a new process; returns its answer.
fn ask(verb: &str, request: Value) -> Value {
    answers(PROGRAM, verb, &[request]).pop().unwrap()
}

fn prove(verb: &str, inputs: &[Value], output_dir: &Path) -> Value {
    ask(
        verb,
        json!({"id": "1", "verb": "prove", "task": "t", "attempt": 1, "inputs": inputs, "output_dir": output_dir,
            "deadline_ms": 60_000}),
    )
}

fn verify(verb: &str, proof: &Value, key: Option<&str>, inputs: &[Value], output_dir: &Path) -> Value {
    ask(
        verb,
        json!({"id": "1", "verb": "verify", "proof": proof, "verification_key": key, "inputs": inputs,
            "output_dir": output_dir}),
    )
}

#[test]
fn a_block_goes_through_both_provers() {
    let folder = tempfile::tempdir().unwrap();
    let block_path = folder.path().join("block.json");
    let mut line = Vec::new();
    complete(bare_line(5, 3).to_string().as_bytes(), &mut line, Cut::Every(2), genesis()).unwrap();
    fs::write(&block_path, &line).unwrap();
    let parsed = Block::read(&block_path).unwrap();
    let whole = json!({"kind": "block", "path": block_path});
    let segment = |index: u32| json!({"kind": "block", "path": block_path, "index": index});

    let setup = ask("segment", json!({"id": "0", "verb": "setup"}));
    let key = setup["ok"]["verification_key"].as_str().unwrap().to_string();
    assert_eq!(key.len(), 64);
    assert_eq!(setup["ok"]["security_bits"], 96);
    assert_eq!(setup["ok"]["trusted_setup"], false);

    let mut inputs = vec![whole.clone()];
    for index in 0..2 {
        let output_dir = folder.path().join(index.to_string());
        fs::create_dir(&output_dir).unwrap();
        let proved = prove("segment", &[segment(index)], &output_dir);
        let proof = &proved["ok"]["proof"];
        let verified = verify("segment", proof, Some(&key), &[segment(index)], &output_dir);
        let expected = hex::encode(parsed.segment_values(index as usize).unwrap().to_bytes());
        assert_eq!(verified["ok"]["public_values"], expected, "{verified}");
        assert_eq!(proved["ok"]["public_values"], expected);
        inputs.push(json!({"kind": "proof", "path": proof, "stage": "prove", "task_index": index}));

        let other = verify("segment", proof, Some(&key), &[segment(1 - index)], &output_dir);
        assert_eq!(other["error"]["kind"], "permanent", "{other}");
        let other = verify("segment", proof, Some(&"00".repeat(32)), &[segment(index)], &output_dir);
        assert_eq!(other["error"]["kind"], "permanent", "{other}");
    }

    let joined = prove("join", &inputs, folder.path());
    let proof = &joined["ok"]["proof"];
    let expected = hex::encode(parsed.values().to_bytes());
    for inputs in [&inputs[..1], &inputs[..]] {
        let verified = verify("join", proof, Some(&key), inputs, folder.path());
        assert_eq!(verified["ok"]["public_values"], expected, "{verified}");
    }
    inputs.swap(1, 2);
    let swapped = prove("join", &inputs, folder.path());
    assert_eq!(swapped["error"]["kind"], "permanent", "{swapped}");
}

#[test]
fn unusable_requests_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let block_path = folder.path().join("block.json");
    fs::write(&block_path, "{}").unwrap();
    let unusable = json!({"kind": "block", "path": block_path, "index": 0});
    let absent = json!({"kind": "block", "path": folder.path().join("absent"), "index": 0});
    assert_eq!(prove("segment", &[], folder.path())["error"]["kind"], "permanent");
    assert_eq!(prove("segment", from_ref(&unusable), folder.path())["error"]["kind"], "permanent");
    assert_eq!(prove("segment", &[absent], folder.path())["error"]["kind"], "transient");
    assert_eq!(prove("join", &[unusable], folder.path())["error"]["kind"], "permanent");
}

#[test]
fn usage_mistakes_exit_with_2() {
    let threads = ["segment", "--threads", "0"];
    for arguments in [&[][..], &["prove"], &["segment", "--outer"], &["merge", "--inner"], &threads] {
        let output = run(PROGRAM, arguments, "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
