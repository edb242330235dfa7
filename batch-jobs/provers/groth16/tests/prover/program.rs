//! The program as it is used: requests on stdin, answers on stdout, proving and verifying in different processes.
//!
//! Two blocks are proved and put together once; all tests look at these three proofs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use proofyard_programs::answers;
use proofyard_statement::digest::bytes_to_hex;
use proofyard_statement::{Block, RangeValues};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{aggregate_key, block, folder, leaf_key};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proofyard-groth16");

/// Runs the program once on these lines.
pub fn run(arguments: &[&str], input: &str) -> Output {
    proofyard_programs::run(PROGRAM, arguments, input)
}

/// Sends requests to one new process, the first of them a setup with these arguments; returns the answers.
pub fn ask(verb: &str, arguments: Value, requests: &[Value]) -> Vec<Value> {
    let setup = json!({"id": "setup", "verb": "setup", "arguments": arguments});
    let answers = answers(PROGRAM, verb, &[&[setup], requests].concat());
    assert_eq!(answers.len(), requests.len() + 1, "{answers:?}");
    answers
}

/// The arguments that name a development key; its name, rather than "development", so that it is not made here.
pub fn keyed(key: &str) -> Value {
    json!({"keys": folder(), "key": key})
}

pub fn prove(inputs: &[Value], output_dir: &Path) -> Value {
    json!({"id": "p", "verb": "prove", "task": "t", "attempt": 1, "inputs": inputs, "output_dir": output_dir,
        "deadline_ms": 600_000})
}

pub fn verify(proof: &Path, key: Option<&str>, inputs: &[Value]) -> Value {
    json!({"id": "v", "verb": "verify", "proof": proof, "verification_key": key, "inputs": inputs,
        "output_dir": std::env::temp_dir()})
}

/// The message of a permanent error.
#[track_caller]
pub fn refusal(answer: &Value) -> &str {
    assert_eq!(answer["error"]["kind"], "permanent", "{answer}");
    answer["error"]["message"].as_str().unwrap()
}

/// Writes a block as a line of a blocks file; returns the input that it is.
pub fn write_block(folder: &Path, name: &str, block: &Block) -> Value {
    let hashes: Vec<String> = block.transactions.iter().map(|hash| bytes_to_hex(hash)).collect();
    let line = json!({
        "chain_id": block.chain_id,
        "block": {
            "number": format!("{:#x}", block.height),
            "hash": format!("block {}", block.height),
            "parentHash": format!("block {}", block.height - 1),
            "transactions": hashes,
        },
        "pre": bytes_to_hex(&block.pre),
        "post": bytes_to_hex(&block.post),
        "segments": [{"from": 0, "to": hashes.len()}],
    });
    let path = folder.join(name);
    fs::write(&path, line.to_string()).unwrap();
    json!({"kind": "block", "path": path})
}

/// Two blocks that follow each other, the proof of each, and the proof of both.
pub struct Proved {
    pub folder: TempDir,
    pub blocks: [Block; 2],
    pub block_inputs: [Value; 2],
    pub leaf_id: String,
    pub aggregate_id: String,
    pub leaf_proofs: [PathBuf; 2],
    /// The leaf proofs as the aggregate's inputs.
    pub proof_inputs: [Value; 2],
    pub aggregate_proof: PathBuf,
}

pub fn proved() -> &'static Proved {
    static PROVED: OnceLock<Proved> = OnceLock::new();
    PROVED.get_or_init(|| {
        let temporary = tempfile::tempdir().unwrap();
        let first = block(7, 3, [0xa7; 32]);
        let second = block(8, 8, first.post);
        let block_inputs = [
            write_block(temporary.path(), "first", &first),
            write_block(temporary.path(), "second", &second),
        ];
        let out = ["a", "b", "c"].map(|name| temporary.path().join(name));
        for folder in &out {
            fs::create_dir(folder).unwrap();
        }
        let requests = [prove(&block_inputs[..1], &out[0]), prove(&block_inputs[1..], &out[1])];
        let answers = ask("block", keyed(leaf_key()), &requests);
        let leaf_id = answers[0]["ok"]["verification_key"].as_str().unwrap().to_string();
        let proof_path = |answer: &Value| {
            assert!(answer["ok"]["proof"].is_string(), "{answer}");
            PathBuf::from(answer["ok"]["proof"].as_str().unwrap())
        };
        let leaf_proofs = [proof_path(&answers[1]), proof_path(&answers[2])];
        let proof_input = |index: usize| {
            json!({"kind": "proof", "path": leaf_proofs[index], "stage": "block", "task_index": 0,
                "public_values": answers[index + 1]["ok"]["public_values"], "verification_key": leaf_id})
        };
        let proof_inputs = [proof_input(0), proof_input(1)];

        let answers = ask("aggregate", keyed(aggregate_key()), &[prove(&proof_inputs, &out[2])]);
        let aggregate_id = answers[0]["ok"]["verification_key"].as_str().unwrap().to_string();
        let aggregate_proof = proof_path(&answers[1]);
        Proved {
            folder: temporary,
            blocks: [first, second],
            block_inputs,
            leaf_id,
            aggregate_id,
            leaf_proofs,
            proof_inputs,
            aggregate_proof,
        }
    })
}

#[test]
fn setup_says_what_it_is() {
    let proved = proved();
    for (verb, key, system, id) in [
        ("block", leaf_key(), "groth16-bls12-377", &proved.leaf_id),
        ("aggregate", aggregate_key(), "groth16-bw6-761", &proved.aggregate_id),
    ] {
        // The arguments come before the options, and the key named "development" is found where it was made.
        let options = [verb, "--keys", "/nowhere", "--key", "sha256:00"];
        let setup =
            json!({"id": "1", "verb": "setup", "arguments": {"keys": folder(), "key": "development"}});
        let output = run(&options, &format!("{setup}\n"));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["ok"]["verification_key"], **id, "{answer} {}", key);
        assert_eq!(answer["ok"]["proof_system"], system);
        assert_eq!(answer["ok"]["security_bits"], 126);
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains("ANYONE CAN FORGE PROOFS"), "{log}");
    }
    assert_ne!(proved.leaf_id, proved.aggregate_id);
}

#[test]
fn proofs_of_blocks_and_of_both_together_are_verified() {
    let proved = proved();
    let requests: Vec<Value> = (0..2)
        .flat_map(|index| {
            let inputs = &proved.block_inputs[index..=index];
            [Some(proved.leaf_id.as_str()), None].map(|key| verify(&proved.leaf_proofs[index], key, inputs))
        })
        .collect();
    let answers = ask("block", keyed(leaf_key()), &requests);
    for (answer, block) in
        answers[1..].iter().zip([&proved.blocks[0], &proved.blocks[0], &proved.blocks[1], &proved.blocks[1]])
    {
        assert_eq!(answer["ok"]["public_values"], hex::encode(block.values().to_bytes()), "{answer}");
    }
    // An aggregate is about two blocks: their proofs say as much of them as the blocks themselves.
    let id = Some(proved.aggregate_id.as_str());
    let requests = [
        verify(&proved.aggregate_proof, id, &proved.proof_inputs),
        verify(&proved.aggregate_proof, id, &proved.block_inputs),
    ];
    let answers = ask("aggregate", keyed(aggregate_key()), &requests);
    let values = proved.blocks.each_ref().map(|block| RangeValues::from(block.values()));
    let expected = hex::encode(RangeValues::join(&values).unwrap().to_bytes());
    for answer in &answers[1..] {
        assert_eq!(answer["ok"]["public_values"], expected, "{answer}");
    }
}

#[test]
fn verifying_needs_the_small_file_only() {
    let proved = proved();
    let folder = tempfile::tempdir().unwrap();
    let file = format!("{}.leaf.key", leaf_key().strip_prefix("sha256:").unwrap());
    fs::copy(crate::folder().join(&file), folder.path().join(&file)).unwrap();
    assert!(fs::metadata(folder.path().join(&file)).unwrap().len() < 4096);
    let arguments = json!({"keys": folder.path(), "key": leaf_key()});
    let inputs = &proved.block_inputs[..1];
    let answers = ask(
        "block",
        arguments,
        &[verify(&proved.leaf_proofs[0], None, inputs), prove(inputs, folder.path())],
    );
    assert!(answers[1]["ok"].is_object(), "{}", answers[1]);
    let why = refusal(&answers[2]);
    assert!(why.contains("there is no file") && why.contains(".leaf.proving-key"), "{why}");
    assert!(why.contains("proofyard-groth16 setup"), "{why}");
}

#[test]
fn a_proof_is_about_its_own_inputs_and_key() {
    let proved = proved();
    let [first, second] = &proved.block_inputs;
    let other_pre = Block { pre: [1; 32], ..proved.blocks[0].clone() };
    let other_pre = Block { post: other_pre.values().post, ..other_pre };
    let other_pre = write_block(proved.folder.path(), "other-pre", &other_pre);
    let other_key = "ab".repeat(32);
    let path = &proved.leaf_proofs[0];
    let one = std::slice::from_ref(first);
    let requests = [
        verify(path, None, std::slice::from_ref(second)),
        verify(path, None, &[other_pre]),
        verify(path, Some(&other_key), one),
        verify(&proved.aggregate_proof, None, one),
        verify(path, None, &[]),
    ];
    let answers = ask("block", keyed(leaf_key()), &requests);
    assert!(refusal(&answers[1]).contains("height is 7, expected 8"), "{}", answers[1]);
    assert!(refusal(&answers[2]).contains("pre-state"), "{}", answers[2]);
    let why = refusal(&answers[3]);
    assert!(why.contains(&other_key) && why.contains(&proved.leaf_id), "{why}");
    assert!(refusal(&answers[4]).contains("proofyard-groth16-block-1"), "{}", answers[4]);
    assert!(refusal(&answers[5]).contains("one whole block"), "{}", answers[5]);

    let id = Some(proved.aggregate_id.as_str());
    let [one, two] = proved.proof_inputs.clone();
    let mut other_leaf_key = [one.clone(), two.clone()];
    other_leaf_key[1]["verification_key"] = json!(other_key);
    let requests = [
        verify(&proved.aggregate_proof, id, &[two, one.clone()]),
        verify(&proved.aggregate_proof, id, &[one]),
        verify(&proved.aggregate_proof, Some(&proved.leaf_id), &proved.proof_inputs),
        verify(&proved.aggregate_proof, id, &other_leaf_key),
        verify(path, id, &proved.proof_inputs),
    ];
    let answers = ask("aggregate", keyed(aggregate_key()), &requests);
    assert!(refusal(&answers[1]).contains("starts at height 7"), "{}", answers[1]);
    assert!(refusal(&answers[2]).contains("last height is 8, expected 7"), "{}", answers[2]);
    let why = refusal(&answers[3]);
    assert!(why.contains(&proved.leaf_id) && why.contains(&proved.aggregate_id), "{why}");
    let why = refusal(&answers[4]);
    assert!(why.contains("proof 1") && why.contains(&other_key) && why.contains(&proved.leaf_id), "{why}");
    assert!(refusal(&answers[5]).contains("proofyard-groth16-aggregate-1"), "{}", answers[5]);
}

#[test]
fn what_cannot_be_proved_is_refused_for_good() {
    let proved = proved();
    let folder = tempfile::tempdir().unwrap();
    let wrong = Block { post: [9; 32], ..proved.blocks[0].clone() };
    let requests = [
        prove(&[write_block(folder.path(), "large", &block(7, 9, [1; 32]))], folder.path()),
        prove(&[write_block(folder.path(), "wrong", &wrong)], folder.path()),
        prove(&[], folder.path()),
        prove(&proved.proof_inputs[..1], folder.path()),
        prove(&[json!({"kind": "block", "path": folder.path().join("absent")})], folder.path()),
    ];
    let answers = ask("block", keyed(leaf_key()), &requests);
    assert!(refusal(&answers[1]).contains("9 transactions"), "{}", answers[1]);
    assert!(refusal(&answers[2]).contains("post-state"), "{}", answers[2]);
    assert!(refusal(&answers[3]).contains("one whole block"), "{}", answers[3]);
    assert!(refusal(&answers[4]).contains("one whole block"), "{}", answers[4]);
    assert_eq!(answers[5]["error"]["kind"], "transient", "{}", answers[5]);

    let [one, two] = proved.proof_inputs.clone();
    let mut other_values = two.clone();
    other_values["public_values"] = one["public_values"].clone();
    let mut unnamed_key = two.clone();
    unnamed_key["verification_key"] = Value::Null;
    // The file of a leaf under another key: what it says is looked at before its proof.
    let other_key = "cd".repeat(32);
    let text = fs::read(&proved.leaf_proofs[1]).unwrap();
    let header_end = text.iter().position(|byte| *byte == b'\n').unwrap();
    let header = std::str::from_utf8(&text[..header_end]).unwrap().replace(&proved.leaf_id, &other_key);
    let other_path = folder.path().join("other-key");
    fs::write(&other_path, [header.as_bytes(), &text[header_end..]].concat()).unwrap();
    unnamed_key["path"] = json!(other_path);
    let mut of_aggregate = two.clone();
    of_aggregate["path"] = json!(proved.aggregate_proof);
    let requests = [
        prove(&[two.clone(), one.clone()], folder.path()),
        prove(&[one.clone(), two.clone(), two], folder.path()),
        prove(std::slice::from_ref(&one), folder.path()),
        prove(&[one.clone(), other_values], folder.path()),
        prove(&[one.clone(), unnamed_key], folder.path()),
        prove(&[one, of_aggregate], folder.path()),
        prove(&proved.block_inputs, folder.path()),
    ];
    let answers = ask("aggregate", keyed(aggregate_key()), &requests);
    assert!(refusal(&answers[1]).contains("proof 1 starts at height 7"), "{}", answers[1]);
    assert!(refusal(&answers[2]).contains("proofs of 2 blocks, found 3"), "{}", answers[2]);
    assert!(refusal(&answers[3]).contains("proofs of 2 blocks, found 1"), "{}", answers[3]);
    assert!(refusal(&answers[4]).contains("proof 1: first height is 8, expected 7"), "{}", answers[4]);
    let why = refusal(&answers[5]);
    assert!(why.contains("proof 1") && why.contains(&other_key) && why.contains(&proved.leaf_id), "{why}");
    assert!(refusal(&answers[6]).contains("proofyard-groth16-aggregate-1"), "{}", answers[6]);
    assert!(refusal(&answers[7]).contains("proofs with their public values"), "{}", answers[7]);
}

#[test]
fn without_a_key_nothing_is_done() {
    let inputs = [json!({"kind": "block", "path": "/absent"})];
    let nothing = Path::new("/absent");
    for verb in ["block", "aggregate", "range"] {
        let answers =
            ask(verb, json!({"keys": folder()}), &[prove(&inputs, nothing), verify(nothing, None, &inputs)]);
        assert!(refusal(&answers[0]).contains("none was named"), "{}", answers[0]);
        assert!(refusal(&answers[1]).contains("a setup request must come first"), "{}", answers[1]);
        assert!(refusal(&answers[2]).contains("a setup request must come first"), "{}", answers[2]);
        let answers = ask(verb, json!({"keys": folder(), "key": 5}), &[]);
        assert!(refusal(&answers[0]).contains("the argument \"key\" is 5"), "{}", answers[0]);
    }
}

#[test]
fn usage_mistakes_exit_with_2() {
    for arguments in [
        &[][..],
        &["prove"],
        &["block", "--key"],
        &["aggregate", "x"],
        &["setup", "--keys"],
        &["setup", "all"],
        &["setup", "--leaf-only", "--range"],
        &["solidity", "--name"],
        &["range", "x"],
    ] {
        let output = run(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    let help = run(&["--help"], "");
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("ANYONE CAN FORGE PROOFS"));
}
