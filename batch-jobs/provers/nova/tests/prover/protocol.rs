//! The program as it is used: requests on stdin, answers on stdout, proving and verifying in different processes.

use std::fs;
use std::path::Path;

use proofyard_programs::{ask, run};
use serde_json::{Value, json};

use crate::{GENESIS, KEY, block, chain, line, proved_block, proved_range, random};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proofyard-nova");

/// The answers of one new process, without the progress.
fn answers<const N: usize>(verb: &str, requests: [Value; N]) -> [Value; N] {
    proofyard_programs::answers(PROGRAM, verb, &requests).try_into().unwrap()
}

fn setup() -> Value {
    json!({"id": "0", "verb": "setup", "gpus": [], "arguments": {}})
}

fn prove(inputs: Value, output_dir: &Path) -> Value {
    json!({"id": "1", "verb": "prove", "task": "t", "attempt": 1, "inputs": inputs, "output_dir": output_dir,
        "deadline_ms": 600_000})
}

fn verify(proof: &Path, key: Option<&str>, inputs: Value, output_dir: &Path) -> Value {
    json!({"id": "1", "verb": "verify", "proof": proof, "verification_key": key, "inputs": inputs,
        "output_dir": output_dir})
}

/// Writes a block; returns it as an input.
fn input(folder: &Path, name: &str, block: &proofyard_statement::Block) -> Value {
    let path = folder.join(name);
    fs::write(&path, line(block).to_string()).unwrap();
    json!({"kind": "block", "path": path})
}

#[test]
fn a_block_goes_through_two_processes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let one = block(5, 1, GENESIS);
    let this = json!([input(folder, "this", &one)]);
    let lines = ask(PROGRAM, "block", &[setup(), prove(this.clone(), folder)]);
    let [first, progress @ .., proved] = &lines[..] else { panic!("{lines:?}") };
    let made = &first["ok"];
    assert_eq!(made["verification_key"], KEY);
    assert_eq!((&made["proof_system"], &made["security_bits"]), (&json!("nova-pallas-vesta"), &json!(125)));
    assert_eq!(progress.len(), 3, "{progress:?}");
    assert_eq!(
        (&progress[1]["message"], &progress[2]["message"]),
        (&json!("block 1 of 1"), &json!("compressing"))
    );
    let expected = hex::encode(one.values().to_bytes());
    assert_eq!(proved["ok"]["public_values"], expected, "{proved}");
    assert_eq!(proved["ok"]["verification_key"], KEY);
    let proof = Path::new(proved["ok"]["proof"].as_str().unwrap());

    let other = json!([input(folder, "other", &block(5, 2, GENESIS))]);
    let tampered = folder.join("tampered");
    let mut bytes = fs::read(proof).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&tampered, bytes).unwrap();
    let large = folder.join("large");
    fs::write(&large, vec![b' '; 1 << 20]).unwrap();
    let range = folder.join("range");
    fs::write(&range, proved_range().1.to_bytes().unwrap()).unwrap();
    let [right, unpinned, other_key, other_block, tampered, large, range, absent] = answers(
        "block",
        [
            verify(proof, Some(KEY), this.clone(), folder),
            verify(proof, None, this.clone(), folder),
            verify(proof, Some(&"00".repeat(32)), this.clone(), folder),
            verify(proof, Some(KEY), other, folder),
            verify(&tampered, Some(KEY), this.clone(), folder),
            verify(&large, Some(KEY), this.clone(), folder),
            verify(&range, Some(KEY), this.clone(), folder),
            verify(&folder.join("absent"), Some(KEY), this, folder),
        ],
    );
    assert_eq!(right["ok"]["public_values"], expected, "{right}");
    assert_eq!(unpinned["ok"]["public_values"], expected, "{unpinned}");
    for (answer, reason) in [
        (other_key, "verification key is"),
        (other_block, "another statement: post-state is"),
        (tampered, "the proof"),
        (large, "larger than"),
        (range, "its format is"),
    ] {
        assert_eq!(answer["error"]["kind"], "permanent", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(reason), "{answer}");
    }
    assert_eq!(absent["error"]["kind"], "transient", "{absent}");
}

#[test]
fn a_range_is_checked_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (blocks, proof, _) = proved_range();
    let path = folder.join("range.proof");
    fs::write(&path, proof.to_bytes().unwrap()).unwrap();
    let of_block = folder.join("block.proof");
    fs::write(&of_block, proved_block().1.to_bytes().unwrap()).unwrap();
    let input = |(index, block): (usize, &_)| input(folder, &index.to_string(), block);
    let inputs: Vec<Value> = blocks.iter().enumerate().map(input).collect();
    let [right, shorter, swapped, block, single] = answers(
        "range",
        [
            verify(&path, Some(KEY), json!(inputs), folder),
            verify(&path, Some(KEY), json!(inputs[..2]), folder),
            verify(&path, Some(KEY), json!([inputs[1], inputs[0], inputs[2]]), folder),
            verify(&of_block, Some(KEY), json!(inputs), folder),
            verify(&path, Some(KEY), json!([]), folder),
        ],
    );
    assert_eq!(right["ok"]["public_values"], hex::encode(&proof.public_values), "{right}");
    for (answer, reason) in [
        (shorter, "last height is 256, expected 255"),
        (swapped, "do not join"),
        (block, "its format is"),
        (single, "expected"),
    ] {
        assert_eq!(answer["error"]["kind"], "permanent", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(reason), "{answer}");
    }
}

/// Neither keys are made nor steps folded for what cannot be proved.
#[test]
fn unusable_requests_are_answered_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut wrong = chain(5, &[1, 2]);
    wrong[1].post = random(3);
    let inputs: Vec<Value> =
        [input(folder, "0", &wrong[0]), input(folder, "1", &wrong[1])].into_iter().collect();
    let absent = json!({"kind": "block", "path": folder.join("absent")});
    let segment = json!({"kind": "block", "path": folder.join("0"), "index": 0});
    let lines = ask(
        PROGRAM,
        "range",
        &[
            prove(json!(inputs), folder),
            prove(json!([]), folder),
            prove(json!([segment]), folder),
            prove(json!([absent]), folder),
        ],
    );
    assert_eq!(lines.len(), 4, "no progress: {lines:?}");
    let kinds: Vec<&Value> = lines.iter().map(|line| &line["error"]["kind"]).collect();
    assert_eq!(kinds, ["permanent", "permanent", "permanent", "transient"], "{lines:?}");
    assert!(lines[0].to_string().contains("number 2 of 2, height 6"), "{lines:?}");
    let lines = ask(PROGRAM, "block", &[prove(json!([inputs[1]]), folder), prove(json!(inputs), folder)]);
    assert!(lines[0].to_string().contains("post-state"), "{lines:?}");
    assert!(lines[1].to_string().contains("expected one whole block"), "{lines:?}");
}

#[test]
fn usage_mistakes_exit_with_2() {
    for arguments in [&[][..], &["prove"], &["block", "more"]] {
        let output = run(PROGRAM, arguments, "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert_eq!(run(PROGRAM, &["--help"], "").status.code(), Some(0));
}
