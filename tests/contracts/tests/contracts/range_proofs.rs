//! `examples/onchain.toml` from recorded blocks to a contract: each block is proved and committed, ranges of them become
//! one proof each, and the contract that `proofyard-groth16 solidity` writes verifies these, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use proofyard_contracts_tests::compiled;
use proofyard_programs::programs;
use serde_json::Value;

use crate::evm::{Answer, Argument, Evm, KEY, address, selector};

/// The modulus of BN254's coordinates, as EIP-196 has it.
const FIELD: &str = "30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47";

/// A point of B's curve that is not in its group.
const STRAY: [&str; 4] = [
    "0000000000000000000000000000000000000000000000000000000000000001",
    "0000000000000000000000000000000000000000000000000000000000000002",
    "2b76c179599bb92a963dac85546a005a777f7c13f6a7b75d5918b6b5808f5fde",
    "101f7278419308b95099eca02dcee0c5381f4d26d1d62313f057167f064101ce",
];

/// What a sink was handed.
struct Entry {
    from: u64,
    to: u64,
    proof: Vec<u8>,
    values: Vec<u8>,
}

struct Proved {
    /// With the pipeline, its blocks and the yard; the next run of the tests begins it anew.
    folder: PathBuf,
    entries: Vec<Entry>,
    contracts: Value,
}

/// Three blocks: a range of two, and the last one alone.
fn proved() -> &'static Proved {
    static PROVED: OnceLock<Proved> = OnceLock::new();
    PROVED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("range-proofs");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let examples = here.join("../../examples");
        let blocks = fs::read_to_string(examples.join("blocks/quiet.jsonl")).unwrap();
        let blocks: String = blocks.split_inclusive('\n').take(3).collect();
        fs::write(folder.join("blocks.jsonl"), blocks).unwrap();
        fs::copy(examples.join("onchain.toml"), folder.join("pipeline.toml")).unwrap();
        let run = |program: &str, arguments: &[&str]| run_in(&folder, program, arguments);
        run("proofyard", &RUN);
        run("proofyard", &["verify", "--data", "yard"]);
        let contract = run("proofyard-groth16", &["solidity", "--key", "development"]);
        let sources = folder.join("sources");
        fs::create_dir(&sources).unwrap();
        fs::write(sources.join("RangeVerifier.sol"), contract).unwrap();
        let handed = fs::read_to_string(folder.join("onchain.out.jsonl")).unwrap();
        let entry = |line: &str| {
            let entry: Value = serde_json::from_str(line).unwrap();
            let artifact = entry["proofs"][0]["artifact"]["sha256"].as_str().unwrap();
            let artifacts = folder.join("yard/artifacts");
            Entry {
                from: entry["from"].as_u64().unwrap(),
                to: entry["to"].as_u64().unwrap(),
                proof: fs::read(artifacts.join(&artifact[..2]).join(artifact)).unwrap(),
                values: hex::decode(entry["proofs"][0]["public_values"].as_str().unwrap()).unwrap(),
            }
        };
        let entries = handed.lines().map(entry).collect();
        Proved { entries, contracts: compiled(&[&sources, here]), folder }
    })
}

const RUN: [&str; 6] = ["run", "pipeline.toml", "--blocks", "blocks.jsonl", "--data", "yard"];

/// What a program prints that ends well.
fn run_in(folder: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    // What a contract does not take is tried again for ever.
    let mut command = Command::new("timeout");
    command.args(["--kill-after", "10", "300"]).arg(programs().join(program));
    // Development keys are kept from one run of the tests to the next, and made once for all.
    command.env("PROOFYARD_KEYS", programs().join("../tmp/keys")).env("PROOFYARD_ISOLATION", "none");
    command.env("PROPOSER_KEY", KEY).args(arguments).current_dir(folder).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    output.stdout
}

/// The contract that follows the ranges, before the first one; its address.
fn ranges_contract(verifier: &Verifier) -> String {
    let first = &proved().entries[0];
    let start = [
        Argument::Word(&address(&verifier.at)),
        Argument::Word(&first.values[..8]),
        Argument::Word(&first.values[8..16]),
        Argument::Word(&first.values[24..56]),
    ];
    verifier.evm.deploy(&proved().contracts["Ranges"], &start)
}

fn state_of(evm: &Evm, ranges: &str, function: &str) -> Vec<u8> {
    match evm.call(ranges, function, &[]) {
        Answer::Returned(state) => state,
        reverted => panic!("{reverted:?}"),
    }
}

/// A contract that verifies, on a chain of its own.
struct Verifier {
    evm: Evm,
    at: String,
}

impl Verifier {
    fn deployed() -> Self {
        let evm = Evm::start();
        let at = evm.deploy(&proved().contracts["RangeVerifier"], &[]);
        Self { evm, at }
    }

    /// What it says of this proof; both of its functions say the same.
    fn verifies(&self, proof: &[u8], values: &[u8]) -> Result<(), Vec<u8>> {
        let arguments = [Argument::Bytes(proof), Argument::Bytes(values)];
        let answer = self.evm.call(&self.at, "verify(bytes,bytes)", &arguments);
        let Answer::Returned(verifies) = &answer else { panic!("verify reverts: {answer:?}") };
        let why = match self.evm.call(&self.at, "requireValid(bytes,bytes)", &arguments) {
            Answer::Returned(nothing) => {
                assert!(nothing.is_empty());
                Ok(())
            }
            Answer::Reverted(why) => Err(why),
        };
        assert_eq!(verifies.len(), 32);
        assert_eq!(verifies[31], u8::from(why.is_ok()), "{why:?}");
        assert!(verifies[..31].iter().all(|byte| *byte == 0));
        why
    }

    #[track_caller]
    fn rejects(&self, proof: &[u8], values: &[u8], what: &str) {
        assert_eq!(self.verifies(proof, values), Err(selector("ProofRejected()")), "{what}");
    }
}

/// Each range's proof goes onto the chain where the one before it ended; what this costs.
#[test]
fn ranges_are_proved_and_a_contract_follows_them() {
    let Proved { entries, .. } = proved();
    let ranges: Vec<(u64, u64)> = entries.iter().map(|entry| (entry.from, entry.to)).collect();
    assert_eq!(ranges, [(1, 2), (3, 3)]);
    let [first, second] = entries.as_slice() else { panic!() };
    let verifier = Verifier::deployed();
    let evm = &verifier.evm;
    let ranges = ranges_contract(&verifier);
    let submit = |entry: &Entry| {
        evm.send(
            &ranges,
            "submit(bytes,bytes)",
            &[Argument::Bytes(&entry.proof), Argument::Bytes(&entry.values)],
        )
    };
    let state = |function: &str| state_of(evm, &ranges, function);
    assert!(!submit(second).succeeded, "not before the first");
    assert_eq!(state("state()"), first.values[24..56]);
    let (one, two) = (submit(first), submit(second));
    assert!(one.succeeded && two.succeeded, "{one:?} {two:?}");
    assert_eq!(state("state()"), second.values[56..], "the state after the last block");
    assert_eq!(state("next()")[24..], 4_u64.to_be_bytes());
    assert!(!submit(second).succeeded, "not twice");

    let arguments = [Argument::Bytes(&first.proof), Argument::Bytes(&first.values)];
    let verified = evm.send(&verifier.at, "requireValid(bytes,bytes)", &arguments);
    assert!(verified.succeeded);
    println!(
        "gas: {} to verify a proof in a transaction, {} to follow a range",
        verified.gas_used, two.gas_used
    );
    assert!(verified.gas_used < 250_000, "{verified:?}");
}

/// From blocks to a contract that checks their proofs, by a pipeline alone.
#[test]
fn a_yard_takes_its_proofs_to_the_contract_by_itself() {
    let Proved { folder, entries, .. } = proved();
    let verifier = Verifier::deployed();
    let ranges = ranges_contract(&verifier);
    let sink = format!(
        r#"
[sink.submit]
stage = "range"
contract = "{ranges}"
rpc = ["{}"]
chain_id = 31337
key_from = "PROPOSER_KEY"
function = "submit(bytes proof, bytes publicValues)"
arguments = ["{{proof}}", "{{public_values}}"]
errors = ["NotNext(uint64 chainId, uint64 from, bytes32 pre)", "ProofRejected()"]
done_if = ["{{next}}", ">", "{{to}}"]
send_if = ["{{next}}", "==", "{{from}}"]
confirmations = 1

[sink.submit.read.next]
function = "next() returns (uint64)"
"#,
        verifier.evm.url_of_automatic()
    );
    let pipeline = fs::read_to_string(folder.join("pipeline.toml")).unwrap();
    fs::write(folder.join("pipeline.toml"), pipeline + &sink).unwrap();
    run_in(folder, "proofyard", &RUN);
    let last = entries.last().unwrap();
    assert_eq!(
        state_of(&verifier.evm, &ranges, "state()"),
        last.values[56..],
        "the state after the last block"
    );
    assert_eq!(state_of(&verifier.evm, &ranges, "next()")[24..], (last.to + 1).to_be_bytes());
}

#[test]
fn only_the_public_values_that_were_proved_hold() {
    let verifier = Verifier::deployed();
    for entry in &proved().entries {
        assert_eq!(verifier.verifies(&entry.proof, &entry.values), Ok(()));
        for index in 0..entry.values.len() {
            let mut changed = entry.values.clone();
            changed[index] ^= 1 << (index % 8);
            verifier.rejects(&entry.proof, &changed, &format!("byte {index} of the public values"));
        }
    }
    let [first, second] = proved().entries.as_slice() else { panic!() };
    verifier.rejects(&second.proof, &first.values, "the values of another proof");
}

#[test]
fn changed_proofs_do_not_hold() {
    let verifier = Verifier::deployed();
    let Entry { proof, values, .. } = &proved().entries[0];
    let rejects = |changed: &[u8], what: &str| verifier.rejects(changed, values, what);
    for index in 0..proof.len() {
        let mut changed = proof.clone();
        changed[index] ^= 1 << (index % 8);
        assert!(verifier.verifies(&changed, values).is_err(), "byte {index} of the proof");
    }
    let swapped = |one: usize, other: usize, bytes: usize| {
        let mut changed = proof.clone();
        for index in 0..bytes {
            changed.swap(one + index, other + index);
        }
        changed
    };
    rejects(&swapped(0, 192, 64), "A and C swapped");
    rejects(&swapped(64, 96, 32), "the parts of B's x swapped");
    let placed = |at: usize, bytes: &[u8]| [&proof[..at], bytes, &proof[at + bytes.len()..]].concat();
    rejects(&vec![0; 256], "three points at infinity");
    for (at, bytes) in [(0, 64), (64, 128), (192, 64)] {
        rejects(&placed(at, &vec![0; bytes]), "a point at infinity");
    }
    // The opposite of A: on its curve, and of another proof, if of any.
    let field = hex::decode(FIELD).unwrap();
    rejects(&placed(32, &minus(&field, &proof[32..64])), "minus A");
    let stray: Vec<u8> = STRAY.iter().flat_map(|coordinate| hex::decode(coordinate).unwrap()).collect();
    rejects(&placed(64, &stray), "B outside of its group");
}

/// Both points turned: other bytes that prove the same, as anyone can make them. So a proof's bytes are no name for it.
#[test]
fn other_bytes_may_prove_the_same() {
    let Entry { proof, values, .. } = &proved().entries[0];
    let field = hex::decode(FIELD).unwrap();
    let mut turned = proof.clone();
    for at in [32, 128, 160] {
        let negative = minus(&field, &proof[at..at + 32]);
        turned[at..at + 32].copy_from_slice(&negative);
    }
    assert_eq!(Verifier::deployed().verifies(&turned, values), Ok(()));
}

#[test]
fn coordinates_have_one_form() {
    let verifier = Verifier::deployed();
    let Entry { proof, values, .. } = &proved().entries[0];
    let field = hex::decode(FIELD).unwrap();
    for index in 0..8_u8 {
        let place = usize::from(index) * 32;
        for larger in [plus(&proof[place..place + 32], &field), field.clone(), vec![0xff; 32]] {
            let mut changed = proof.clone();
            changed[place..place + 32].copy_from_slice(&larger);
            let mut why = selector("CoordinateTooLarge(uint256)");
            why.extend([&[0; 31][..], &[index]].concat());
            assert_eq!(verifier.verifies(&changed, values), Err(why), "coordinate {index}");
        }
    }
}

#[test]
fn lengths_are_exact() {
    let verifier = Verifier::deployed();
    let Entry { proof, values, .. } = &proved().entries[0];
    let longer = |bytes: &[u8], more: usize| [bytes, &vec![0; more]].concat();
    for (proof, values) in [
        (&proof[..255], &values[..]),
        (&proof[..0], values),
        (&longer(proof, 1), values),
        (&longer(proof, 32), values),
        (proof, &values[..87]),
        (proof, &values[..0]),
        (proof, &longer(values, 1)),
        (proof, &longer(values, 8)),
        (&[], &[]),
    ] {
        let mut why = selector("WrongLength(uint256,uint256)");
        for length in [proof.len(), values.len()] {
            why.extend([&[0; 24][..], &(length as u64).to_be_bytes()].concat());
        }
        assert_eq!(verifier.verifies(proof, values), Err(why));
    }
}

/// The sum of two numbers of 32 bytes, big-endian, that fits into 32 bytes.
fn plus(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut sum: Vec<u8> = (one.iter().zip(other).rev())
        .map(|(one, other)| {
            let sum = u16::from(*one) + u16::from(*other) + carry;
            carry = sum >> 8;
            sum as u8
        })
        .collect();
    assert_eq!(carry, 0);
    sum.reverse();
    sum
}

/// The difference of two such numbers, the larger one first.
fn minus(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference: Vec<u8> = (one.iter().zip(other).rev())
        .map(|(one, other)| {
            let difference = i16::from(*one) - i16::from(*other) - borrow;
            borrow = i16::from(difference < 0);
            difference as u8
        })
        .collect();
    assert_eq!(borrow, 0);
    difference.reverse();
    difference
}
