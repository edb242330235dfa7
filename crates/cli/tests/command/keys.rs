//! Provers that change with the height, each under a verification key that the pipeline pins.

use std::collections::BTreeSet;
use std::fs;

use proofyard_programs::programs;

use super::support::Place;

const OLD_KEY: &str = "aa01";
const NEW_KEY: &str = "bb02";

/// Blocks are proved by `old` up to height 3 and by `new` from 4 on; committed ones are joined two by two.
/// `old` and `new` are what is said of these provers besides the toy's program and its log.
fn place(old: &str, new: &str) -> Place {
    let place = Place::new(6);
    place.let_provers_take_notes();
    let toy = programs().join("proofyard-toy-prover");
    let prover = |name: &str, more: &str| {
        let log = place.path(&format!("{name}.log"));
        let (arguments, rest) = more.split_once('|').unwrap_or((more, ""));
        format!("[prover.{name}]\ncommand = [{toy:?}, \"--log\", {log:?}{arguments}]\n{rest}\n")
    };
    let text = format!(
        r#"
        [chain]
        name = "demo"
        start_height = 1
        window = 6
        tick_ms = 100
        commit = "prove"

        [stage.prove]
        strategy = "match"
        from = "block"
        prover = [{{ prover = "old" }}, {{ prover = "new", from_height = 4 }}]
        pool = "cpu"
        backoff_ms = 10
        max_attempts = 2

        [stage.batch]
        strategy = "sequential"
        from = "prove"
        size = 4
        arity = 2
        prover = "join"
        pool = "cpu"

        {}{}{}
        [pool.cpu]
        slots = 2
        quarantine_after = 100

        [sink.file]
        file = "out.jsonl"

        [sink.batches]
        stage = "batch"
        file = "batches.jsonl"
        "#,
        prover("old", old),
        prover("new", new),
        prover("join", ""),
    );
    fs::write(place.path("pipeline.toml"), text).unwrap();
    place
}

/// Heights that a prover was asked to prove.
fn proved_by(place: &Place, prover: &str) -> BTreeSet<u64> {
    let log = fs::read_to_string(place.path(&format!("{prover}.log"))).unwrap_or_default();
    let height = |line: &str| line.split("demo:b:").nth(1)?.split(':').next()?.parse().ok();
    log.lines().filter_map(height).collect()
}

#[test]
fn each_side_of_a_fork_has_its_own_prover_and_pinned_key() {
    // One is told its key by its command, the other by its arguments.
    let old = format!(", \"--key\", \"{OLD_KEY}\"|verification_key = \"0x{}\"", OLD_KEY.to_uppercase());
    let new = format!("|verification_key = \"{NEW_KEY}\"\narguments = {{ key = \"{NEW_KEY}\" }}");
    let place = place(&old, &new);
    place.run().expect_code(0).expect_output("6 blocks committed, 0 missed");
    assert_eq!(proved_by(&place, "old"), BTreeSet::from([1, 2, 3]));
    assert_eq!(proved_by(&place, "new"), BTreeSet::from([4, 5, 6]));
    // Each verifier is told the key of its side, and accepts no other.
    place.verb(&["verify"]).expect_code(0).expect_output("6 of 6 committed proofs verified");
    let batches = fs::read_to_string(place.path("batches.jsonl")).unwrap();
    let ranges: Vec<_> = batches
        .lines()
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            (entry["from"].as_u64().unwrap(), entry["to"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(ranges, [(1, 3), (4, 6)], "no batch spans the fork");
    // Three blocks two by two: a pair, and the pair with the third.
    let joined = fs::read_to_string(place.path("join.log")).unwrap();
    assert_eq!(joined.lines().count(), 4, "{joined}");
}

#[test]
fn a_proof_under_another_key_on_the_far_side_parks_its_task() {
    let old = format!(", \"--key\", \"{OLD_KEY}\"|verification_key = \"{OLD_KEY}\"");
    let new =
        format!(", \"--key\", \"{NEW_KEY}\", \"--proof-key\", \"cc03\"|verification_key = \"{NEW_KEY}\"");
    let place = place(&old, &new);
    place.run().expect_code(1);
    let told =
        format!("the proof by prover new is of verification key cc03, and the pipeline pins {NEW_KEY}");
    let explained = place.verb(&["explain", "4"]).expect_code(0).expect_output(&told);
    explained.expect_output("parked").expect_output("proofyard retry 4");
    assert_eq!(place.status()["frontier"], 4, "the near side is committed");
}

#[test]
fn a_prover_that_is_set_up_with_another_key_proves_nothing() {
    let old = format!(", \"--key\", \"{OLD_KEY}\"|verification_key = \"{OLD_KEY}\"");
    let place = place(&old, &format!("|verification_key = \"{NEW_KEY}\""));
    place.run().expect_code(1);
    let told = "prover new was set up here with verification key";
    let explained = place.verb(&["explain", "4"]).expect_code(0).expect_output(told);
    explained.expect_output(&format!("and the pipeline pins {NEW_KEY}: this worker has another program"));
    assert_eq!(proved_by(&place, "new"), BTreeSet::new(), "it was never asked to prove");
}

#[test]
fn a_proof_that_is_called_one_of_another_proof_system_is_refused() {
    let place = place(", \"--claim-system\", \"stark\"|", "|");
    place.run().expect_code(1);
    let told = "prover old calls its proof one of stark, and the verifier that accepts it is of toy";
    place.verb(&["explain", "1"]).expect_code(0).expect_output(told).expect_output("parked");
    assert_eq!(place.status()["frontier"], 1);
}
