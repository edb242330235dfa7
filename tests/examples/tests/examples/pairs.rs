//! Keys of a trusted setup go through the yard's store to provers that have none of their own.

use std::process::{Command, Stdio};

use proofyard_programs::programs;
use serde_json::Value;

use crate::{Example, keys, said};

/// What `setup` says of each key that it made or found.
fn setup() -> Vec<Value> {
    let mut setup = Command::new(programs().join("proofyard-groth16"));
    setup.args(["setup", "--development", "--keys"]).arg(keys()).stdin(Stdio::null());
    let lines = said(&setup.output().unwrap());
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Both provers are told to take their keys from the yard, which has `keep` of their two files.
fn with_kept_keys(keep: usize) -> Example {
    let mut example = Example::new("pairs", 3..=4, &[]);
    for (verb, key) in ["block", "aggregate"].into_iter().zip(setup()) {
        let paths = key["files"].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
        let arguments: Vec<&str> = ["keep"].into_iter().chain(paths.take(keep)).collect();
        let files = said(&example.proofyard(&arguments));
        let command = |more: &str| format!("command = [\"proofyard-groth16\", \"{verb}\", {more}]");
        let kept = command(&format!("\"--keys\", \"{{files}}\", \"--key\", {}", key["key"]));
        example.replace(&command("\"--key\", \"development\""), &format!("{kept}\n{files}"));
    }
    // Nowhere else is a key.
    example.keys = example.path("no-keys");
    example
}

#[test]
fn two_blocks_proofs_become_one_under_keys_from_the_yard() {
    let handed = with_kept_keys(2).run();
    assert_eq!(handed.len(), 1);
    assert_eq!((&handed[0]["from"], &handed[0]["to"]), (&3.into(), &4.into()));
    assert_eq!(handed[0]["proofs"][0]["proof_system"], "groth16-bw6-761");
}

#[test]
fn a_proving_key_that_is_not_there_is_named() {
    let example = with_kept_keys(1);
    let mut run = ["run", "pipeline.toml", "--blocks", "blocks.jsonl"];
    assert_eq!(example.proofyard(&run).status.code(), Some(1));
    run = ["explain", "3", "--chain", "pairs"];
    let explained = said(&example.proofyard(&run));
    assert!(explained.contains(".leaf.proving-key"), "{explained}");
}
