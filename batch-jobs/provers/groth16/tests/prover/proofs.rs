//! Proof files: only the bytes that were made, and only for what they say.

use std::fs;

use proofyard_groth16::keys::Key;
use proofyard_groth16::packing::{LEAF_PIECE_BYTES, public_inputs};
use proofyard_groth16::system::{LeafSystem, System, WithHeader};
use proofyard_statement::{BlockValues, Error, ProofFile};
use serde_json::Value;

use crate::program::{ask, keyed, proved, refusal, verify};
use crate::{aggregate_key, folder, leaf_key};

#[test]
fn each_public_value_is_proved() {
    let proved = proved();
    let key = Key::<LeafSystem>::load(folder(), leaf_key()).unwrap();
    let file = ProofFile::read(&proved.leaf_proofs[0], LeafSystem::PROOF_FORMAT, 192).unwrap();
    let proof = LeafSystem::proof_from_bytes(&file.proof).unwrap();
    let check = |values: &BlockValues| {
        LeafSystem::check(&key.verifying, &public_inputs(&values.to_bytes(), LEAF_PIECE_BYTES), &proof)
    };
    let values = proved.blocks[0].values();
    check(&values).unwrap();
    let changes: [fn(&mut BlockValues); 5] = [
        |values| values.chain_id ^= 1,
        |values| values.height ^= 1 << 63,
        |values| values.pre[0] ^= 1,
        |values| values.post[31] ^= 0x80,
        |values| values.transactions[7] ^= 1,
    ];
    for change in changes {
        let mut changed = values.clone();
        change(&mut changed);
        assert!(matches!(check(&changed), Err(Error::Rejected(_))), "{changed:?}");
    }
    // Inputs that are left out, or too many, would not be looked at by the library.
    let inputs = public_inputs(&values.to_bytes(), LEAF_PIECE_BYTES);
    for inputs in [&inputs[..3], &[&inputs[..], &inputs[..1]].concat()] {
        assert!(LeafSystem::check(&key.verifying, inputs, &proof).is_err());
    }
}

/// Every byte of the headers' last parts and of the proofs, and lengths: whatever is changed, the file is refused.
#[test]
fn tampered_files_are_refused() {
    let proved = proved();
    let folder = tempfile::tempdir().unwrap();
    for (verb, key, path, inputs) in [
        ("block", leaf_key(), &proved.leaf_proofs[0], &proved.block_inputs[..1]),
        ("aggregate", aggregate_key(), &proved.aggregate_proof, &proved.proof_inputs[..]),
    ] {
        let bytes = fs::read(path).unwrap();
        let mut files = vec![bytes.clone()];
        for offset in (0..bytes.len()).step_by(7) {
            let mut tampered = bytes.clone();
            tampered[offset] ^= 1 << (offset % 8);
            files.push(tampered);
        }
        let proof_start = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        // The flags of the first point: its other half, and infinity.
        for flags in [0x80, 0x40, 0xc0] {
            let mut tampered = bytes.clone();
            tampered[proof_start + (bytes.len() - proof_start) / 4 - 1] ^= flags;
            files.push(tampered);
        }
        let mut infinite = bytes.clone();
        infinite[proof_start..].fill(0);
        files.push(infinite);
        files.push(bytes[..bytes.len() - 1].to_vec());
        files.push(bytes[..proof_start].to_vec());
        files.push([&bytes[..], b"\n"].concat());
        files.push(Vec::new());
        let requests: Vec<Value> = files
            .iter()
            .enumerate()
            .map(|(index, file)| {
                let path = folder.path().join(format!("{verb}-{index}"));
                fs::write(&path, file).unwrap();
                verify(&path, None, inputs)
            })
            .collect();
        let answers = ask(verb, keyed(key), &requests);
        assert!(answers[1]["ok"].is_object(), "untouched: {}", answers[1]);
        for answer in &answers[2..] {
            let why = refusal(answer);
            assert!(!why.contains("panicked"), "{why}");
        }
    }
}
