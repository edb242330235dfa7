//! A range's proof and its contract, as a chain is given them. What the contract does is tested on a real EVM, in
//! `tests/contracts`.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use ark_bn254::{Bn254, Fq, Fq2, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{BigInteger, PrimeField};
use ark_groth16::Proof;
use proofyard_groth16::evm::{proof_from_bytes, proof_to_bytes};
use proofyard_groth16::keys::Key;
use proofyard_groth16::system::{RangeSystem, System};
use proofyard_statement::{Block, RangeValues};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::aggregate::stray;
use crate::program::{ask, keyed, prove, proved, refusal, run, verify, write_block};
use crate::{block, folder, range_key};

/// Proofs of the first of two blocks, and of both.
struct Ranges {
    _folder: TempDir,
    inputs: [Value; 2],
    /// The verification key.
    id: String,
    one: PathBuf,
    both: PathBuf,
}

fn ranges() -> &'static Ranges {
    static RANGES: OnceLock<Ranges> = OnceLock::new();
    RANGES.get_or_init(|| {
        let temporary = tempfile::tempdir().unwrap();
        let inputs = proved().block_inputs.clone();
        let out = ["one", "both"].map(|name| temporary.path().join(name));
        for folder in &out {
            fs::create_dir(folder).unwrap();
        }
        let requests = [prove(&inputs[..1], &out[0]), prove(&inputs, &out[1])];
        let answers = ask("range", keyed(range_key()), &requests);
        let text = |answer: &Value, name: &str| {
            assert!(answer["ok"][name].is_string(), "{answer}");
            answer["ok"][name].as_str().unwrap().to_owned()
        };
        assert_eq!(answers[1]["ok"]["proof_system"], "groth16-bn254");
        Ranges {
            inputs,
            id: text(&answers[0], "verification_key"),
            one: text(&answers[1], "proof").into(),
            both: text(&answers[2], "proof").into(),
            _folder: temporary,
        }
    })
}

fn values(blocks: &[Block]) -> RangeValues {
    let parts: Vec<RangeValues> = blocks.iter().map(|block| block.values().into()).collect();
    RangeValues::join(&parts).unwrap()
}

#[test]
fn proofs_of_one_block_and_of_two_are_verified() {
    let ranges = ranges();
    let id = Some(ranges.id.as_str());
    let requests = [
        verify(&ranges.one, id, &ranges.inputs[..1]),
        verify(&ranges.both, id, &ranges.inputs),
        // The proofs of the blocks say as much of them as the blocks themselves.
        verify(&ranges.both, None, &proved().proof_inputs),
    ];
    let answers = ask("range", keyed(range_key()), &requests);
    let expected = |blocks: &[Block]| hex::encode(values(blocks).to_bytes());
    let blocks = &proved().blocks;
    assert_eq!(answers[1]["ok"]["public_values"], expected(&blocks[..1]), "{}", answers[1]);
    assert_eq!(answers[2]["ok"]["public_values"], expected(blocks), "{}", answers[2]);
    assert_eq!(answers[3]["ok"]["public_values"], expected(blocks), "{}", answers[3]);
    assert_eq!(fs::metadata(&ranges.both).unwrap().len(), 256, "the file is what a contract takes");
}

#[test]
fn a_proof_is_about_its_own_blocks_and_key() {
    let ranges = ranges();
    let temporary = tempfile::tempdir().unwrap();
    let other = block(8, 7, proved().blocks[0].post);
    let other = write_block(temporary.path(), "other", &other);
    let [one, two] = ranges.inputs.clone();
    let requests = [
        verify(&ranges.one, None, &ranges.inputs),
        verify(&ranges.both, None, std::slice::from_ref(&one)),
        verify(&ranges.both, None, &[one.clone(), other]),
        verify(&ranges.both, None, &[two, one]),
        verify(&ranges.both, None, &[]),
        verify(&ranges.both, Some(&"ab".repeat(32)), &ranges.inputs),
        verify(&proved().aggregate_proof, None, &ranges.inputs),
    ];
    let answers = ask("range", keyed(range_key()), &requests);
    for answer in &answers[1..=3] {
        let why = refusal(answer);
        assert!(why.contains("does not prove") && why.contains(&ranges.id), "{why}");
    }
    assert!(refusal(&answers[1]).contains("blocks 7 to 8"), "{}", answers[1]);
    assert!(refusal(&answers[4]).contains("starts at height 7"), "{}", answers[4]);
    assert!(refusal(&answers[5]).contains("at least one"), "{}", answers[5]);
    assert!(refusal(&answers[6]).contains(&ranges.id), "{}", answers[6]);
    assert!(refusal(&answers[7]).contains("larger than 256 bytes"), "{}", answers[7]);
}

#[test]
fn what_cannot_be_proved_is_refused_for_good() {
    let temporary = tempfile::tempdir().unwrap();
    let [one, two] = proved().block_inputs.clone();
    let large = block(9, 9, proved().blocks[1].post);
    let large = write_block(temporary.path(), "large", &large);
    let requests = [
        prove(&[two.clone(), one.clone()], temporary.path()),
        prove(&[one.clone(), two.clone(), large.clone()], temporary.path()),
        prove(&[two, large], temporary.path()),
        prove(&proved().proof_inputs, temporary.path()),
    ];
    let answers = ask("range", keyed(range_key()), &requests);
    assert!(refusal(&answers[1]).contains("starts at height 7"), "{}", answers[1]);
    assert!(
        refusal(&answers[2]).contains("3 blocks, and this prover's circuit takes at most 2"),
        "{}",
        answers[2]
    );
    assert!(refusal(&answers[3]).contains("block 1: it has 9 transactions"), "{}", answers[3]);
    assert!(refusal(&answers[4]).contains("whole blocks only"), "{}", answers[4]);
}

#[test]
fn changed_bytes_are_refused() {
    let ranges = ranges();
    let bytes = fs::read(&ranges.both).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let mut files = vec![bytes.clone(), vec![0; 256], bytes[..255].to_vec(), Vec::new()];
    for offset in (0..bytes.len()).step_by(5) {
        let mut tampered = bytes.clone();
        tampered[offset] ^= 1 << (offset % 8);
        files.push(tampered);
    }
    let requests: Vec<Value> = files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let path = temporary.path().join(index.to_string());
            fs::write(&path, file).unwrap();
            verify(&path, None, &ranges.inputs)
        })
        .collect();
    let answers = ask("range", keyed(range_key()), &requests);
    assert!(answers[1]["ok"].is_object(), "untouched: {}", answers[1]);
    for answer in &answers[2..] {
        let why = refusal(answer);
        assert!(!why.contains("panicked"), "{why}");
    }
}

/// A proof's points have one form each, and are in their groups.
#[test]
fn points_are_read_as_the_precompiles_read_them() {
    let proof = Proof::<Bn254> {
        a: G1Affine::generator(),
        b: G2Affine::generator(),
        c: (-G1Affine::generator().into_group()).into(),
    };
    let bytes = proof_to_bytes(&proof);
    assert_eq!(proof_from_bytes(&bytes).unwrap(), proof);
    // The generators, as EIP-197 prints them: of the second, the imaginary part comes first.
    assert_eq!(hex::encode(&bytes[..64]), format!("{:064x}{:064x}", 1, 2));
    assert!(
        hex::encode(&bytes[64..])
            .starts_with("198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2")
    );
    let infinite = Proof::<Bn254>::default();
    assert_eq!(proof_to_bytes(&infinite), [0; 256]);
    assert_eq!(proof_from_bytes(&[0; 256]).unwrap(), infinite);

    let why = |bytes: &[u8]| proof_from_bytes(bytes).unwrap_err();
    for coordinate in 0..8 {
        // The same element, written otherwise.
        let mut larger = bytes.clone();
        let place = &mut larger[32 * coordinate..][..32];
        let mut number = ark_bn254::Fq::from_be_bytes_mod_order(place).into_bigint();
        assert!(!number.add_with_carry(&Fq::MODULUS));
        place.copy_from_slice(&number.to_bytes_be());
        assert!(why(&larger).contains("not below the field's modulus"), "{coordinate}");
        let mut off = bytes.clone();
        off[32 * coordinate + 31] ^= 4;
        assert!(why(&off).contains("not in its group"), "{coordinate}");
    }
    let outside: G2Affine = stray(|x| Fq2::new(Fq::from(x), Fq::from(1_u64)));
    let outside = proof_to_bytes(&Proof { b: outside, ..proof });
    assert!(why(&outside).contains("its point B is not in its group"));
    assert!(why(&bytes[1..]).contains("255 bytes"));
}

#[test]
fn each_public_value_is_proved() {
    let key = Key::<RangeSystem>::load(folder(), range_key()).unwrap();
    let proof = RangeSystem::proof_from_bytes(&fs::read(&ranges().both).unwrap()).unwrap();
    let values = values(&proved().blocks).to_bytes();
    let check =
        |values: &[u8]| RangeSystem::check(&key.verifying, &RangeSystem::public_inputs(values), &proof);
    check(&values).unwrap();
    for index in 0..values.len() {
        let mut changed = values.clone();
        changed[index] ^= 1 << (index % 8);
        assert!(check(&changed).is_err(), "byte {index}");
    }
}

#[test]
fn the_contract_holds_the_key() {
    let keys = folder().to_str().unwrap();
    let solidity = |more: &[&str]| {
        let output = run(&[&["solidity", "--keys", keys, "--key"], more].concat(), "");
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, contract, said) = solidity(&[range_key()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ANYONE CAN FORGE PROOFS"), "{said}");
    assert!(contract.contains("contract RangeVerifier {"));
    assert!(contract.contains(&format!("VERIFICATION_KEY = 0x{};", ranges().id)));
    assert!(contract.contains(range_key()) && contract.contains("ANYONE CAN FORGE PROOFS"), "{contract}");
    assert_eq!(solidity(&["development", "--name", "RangeVerifier"]).1, contract, "the same each time");
    assert!(solidity(&[range_key(), "--name", "Other_1"]).1.contains("contract Other_1 {"));
    for name in ["", "1st", "A { } contract B", "Straße"] {
        let (code, _, said) = solidity(&[range_key(), "--name", name]);
        assert!(code == Some(1) && said.contains("is no contract's name"), "{name:?}: {said}");
    }
    let (code, _, said) = solidity(&[crate::leaf_key()]);
    assert!(code == Some(1) && said.contains(".range.key"), "{said}");
}

#[test]
fn a_setup_request_names_the_development_key() {
    let answers = ask("range", json!({"keys": folder(), "key": "development"}), &[]);
    assert_eq!(answers[0]["ok"]["verification_key"], ranges().id, "{}", answers[0]);
    assert_eq!(answers[0]["ok"]["trusted_setup"], true);
    assert_eq!(answers[0]["ok"]["security_bits"], 100);
}
