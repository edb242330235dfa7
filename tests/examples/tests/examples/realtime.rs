//! Three proof systems that share nothing but the statement prove a block.

use crate::Example;

#[test]
fn two_of_three_commit_a_block() {
    let handed = Example::new("realtime", 2..=3, &[]).run();
    assert_eq!(handed.len(), 2);
    for (height, line) in (2..).zip(&handed) {
        assert_eq!(line["from"], height, "{line}");
        let proofs = line["proofs"].as_array().unwrap();
        assert!(proofs.len() >= 2, "{line}");
        assert!(proofs.iter().all(|proof| proof["public_values"] == proofs[0]["public_values"]), "{line}");
    }
}

/// That all three come to the same bytes, for a block of five transactions and for one of one.
#[test]
fn all_three_agree() {
    let handed = Example::new("realtime", 2..=3, &[("need = 2", "need = 3")]).run();
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
