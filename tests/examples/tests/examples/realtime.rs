//! Three proof systems that share nothing but the statement prove a block.

use crate::{Example, said};

/// However busy the machine is.
const PATIENT: (&str, &str) = ("deadline_ms = 60000 ", "deadline_ms = 900000 ");

#[test]
fn two_of_three_commit_a_block() {
    let handed = Example::new("realtime", 3..=3, &[PATIENT]).run();
    assert_eq!(handed.len(), 1);
    assert_eq!(handed[0]["from"], 3);
    let proofs = handed[0]["proofs"].as_array().unwrap();
    assert!(proofs.len() >= 2, "{proofs:?}");
    assert!(proofs.iter().all(|proof| proof["public_values"] == proofs[0]["public_values"]), "{proofs:?}");
}

/// That all three come to the same bytes, for a block of five transactions and for one of one.
#[test]
fn all_three_agree() {
    let handed = Example::new("realtime", 2..=3, &[PATIENT, ("need = 2", "need = 3")]).run();
    assert_eq!(handed.len(), 2);
    for line in &handed {
        let mut systems: Vec<_> = line["proofs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|proof| proof["proof_system"].to_string())
            .collect();
        systems.sort();
        assert_eq!(systems, [r#""groth16-bls12-377""#, r#""miden-stark""#, r#""nova-pallas-vesta""#]);
    }
}

#[test]
fn blocks_that_are_late_are_missed_and_the_report_says_why() {
    let hasty = ("deadline_ms = 60000 ", "deadline_ms = 100 ");
    let example = Example::new("realtime", 2..=3, &[hasty]);
    let ran =
        said(&example.proofyard(&["run", "pipeline.toml", "--blocks", "blocks.jsonl", "--slot-ms", "1"]));
    assert!(ran.contains("0 blocks committed, 2 missed"), "{ran}");
    let report = said(&example.proofyard(&["report", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let misses = report["misses"].as_array().unwrap();
    assert_eq!(misses.iter().map(|miss| &miss["height"]).collect::<Vec<_>>(), [3, 2], "newest first");
    let cause = |miss: &serde_json::Value| miss["cause"].as_str().unwrap().to_owned();
    assert!(misses.iter().all(|miss| cause(miss).starts_with("stage agree needs 2 of 3")), "{misses:?}");
}
