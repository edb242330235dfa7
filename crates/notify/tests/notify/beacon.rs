//! The program by itself, against beacon nodes: what it signs, and what it makes of each answer.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::beacon_node::{BeaconNode, FORK, GENESIS_S, Root, VALIDATOR, envelope_root, hexed};
use crate::program::{ended, notify, notify_with};
use crate::server::{Answer, Server, status};

const SLOT: u64 = 100;
const BLOCK: Root = [0x11; 32];
const HASH: &str = "0xABababababababababababababababababababababababababababababababab";
/// Where nobody listens.
const DOWN: &str = "http://127.0.0.1:9";
const POST: &str = "/eth/v1/beacon/execution_proofs";

/// Proofs that wait to be handed in.
struct Proofs {
    folder: TempDir,
    target: Value,
    message: Value,
}

impl Proofs {
    /// Of provers `p1`, `p2` and so on, with the type of their number, for these nodes.
    fn of(servers: &[&Server], proofs: &[&[u8]]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
        let types: serde_json::Map<String, Value> =
            (1..=proofs.len()).map(|number| (format!("p{number}"), json!(number))).collect();
        let told: Vec<Value> = (1..).zip(proofs).map(|(number, bytes)| {
            let file = folder.path().join(format!("p{number}"));
            fs::write(&file, bytes).unwrap();
            json!({
                "prover": format!("p{number}"), "stage": format!("s{number}"), "file": file, "sha256": "x",
                "bytes": bytes.len(), "public_values": "00", "verification_key": null, "proof_system": null,
            })
        }).collect();
        let target = json!({ "beacon": {
            "nodes": { "are": urls }, "proof_types": types, "keystore": keystore("quick"), "password_from": "PASSWORD",
            "validator_index": null, "time_limit_ms": 20_000,
        } });
        let message = json!({
            "message": "block", "key": "c:b:5:0xab:0/accepted", "chain": "c", "height": 5, "hash": HASH, "word": "accepted",
            "timestamp_s": GENESIS_S + 12 * SLOT, "proofs": told,
        });
        Self { folder, target, message }
    }

    /// How the program ends: its code, how long to wait, and why.
    fn tell(&self) -> (i32, u64, String) {
        ended(&notify(self.target.clone(), self.message.clone()))
    }

    fn set(&mut self, key: &str, value: Value) {
        self.target["beacon"][key] = value;
    }
}

fn keystore(name: &str) -> String {
    format!("{}/tests/notify/keystores/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

fn node() -> (BeaconNode, Server) {
    let (node, server) = BeaconNode::start();
    node.add(SLOT, BLOCK, &HASH.to_lowercase());
    (node, server)
}

fn done() -> (i32, u64, String) {
    (0, 0, String::new())
}

fn posts(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.path == POST).count()
}

/// Roots and signatures that another implementation made of the same (hashlib and py_ecc); the keystores are those of EIP-2335, and
/// one of our own that opens quickly.
#[test]
fn what_is_signed_is_what_others_sign() {
    let long: Vec<u8> = (0..100_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let known: [(&[u8], &str, &str); 2] = [
        (
            b"the proof",
            "23850b0cc3dec12058c86beaa6c7798b33a62f23bd9836d046008e4be7f2a1ce",
            "87c45d7bf3554dd8bc72b1fe9298dbbe0da0fda657035bd718500f0dc47e8af8bdf585a9c283a96016ad710d023b5163083d8f3544842fc3\
             65044599f7b9083895a5e309cc6c4cd8f9e22db6243bb035d313ccc0b4cf045f470b1b8e8c8db334",
        ),
        (
            &long,
            "987463067ad34a59f3d846a7185abbb3d33ce5ebe5311f21c5c8bda20e99826c",
            "a342ae0ea6e22c435df9bf2708163b644c459d30560f8cc899f4a00ced42a759f7a5f643bbb1a3e9061749cd4a8862c400c5e82214bf760d\
             2310a611cde6b414e9bfcc7f0f64ed3744d27f9188fb492b5a3bc25d7d00367d25da86ee3de73c18",
        ),
    ];
    for (proof, root, signature) in known {
        assert_eq!(hex::encode(envelope_root(proof, 1, BLOCK)), root);
        for (keys, password) in
            [("quick", "PASSWORD"), ("scrypt", "EIP_PASSWORD"), ("pbkdf2", "EIP_PASSWORD")]
        {
            let (node, server) = node();
            let mut proofs = Proofs::of(&[&server], &[proof]);
            proofs.set("keystore", json!(keystore(keys)));
            proofs.set("password_from", json!(password));
            assert_eq!(proofs.tell(), done(), "{keys}: {:?}", node.state().faults);
            assert_eq!(node.state().signatures, [signature], "{keys}");
        }
    }
}

#[test]
fn a_blocks_proofs_go_four_in_a_call_and_a_repeat_does_no_harm() {
    let (node, server) = node();
    let proofs = Proofs::of(&[&server], &[b"a", b"b", b"c", b"d", b"e"]);
    for _ in 0..2 {
        assert_eq!(proofs.tell(), done());
    }
    assert_eq!(node.types(BLOCK), [1, 2, 3, 4, 5]);
    assert_eq!(node.state().calls, [4, 1, 4, 1]);
    assert_eq!(node.state().faults, [""; 0]);
    let signatures = node.state().signatures.clone();
    assert_eq!(signatures[..5], signatures[5..], "a repeat has the same bytes");
}

#[test]
fn a_node_that_reads_only_json_gets_json() {
    for bad_media in [415, 400] {
        let (node, server) = node();
        node.state().reads_ssz = false;
        server.answer({
            let node = node.clone();
            move |request| match node.answer(request) {
                Answer::Status(415, ..) => Answer::Status(bad_media, Vec::new(), "not JSON".into()),
                answer => answer,
            }
        });
        assert_eq!(Proofs::of(&[&server], &[b"a", b"b"]).tell(), done());
        assert_eq!(node.types(BLOCK), [1, 2]);
    }
}

#[test]
fn proofs_of_a_block_are_signed_under_the_fork_of_its_slot_whatever_carries_it() {
    for (slot, is_gloas) in [(63, false), (64, true)] {
        let (node, server) = BeaconNode::start();
        node.add(slot, BLOCK, HASH);
        node.state().is_gloas = is_gloas;
        node.state().head_slot = 1_000;
        let mut proofs = Proofs::of(&[&server], &[b"a"]);
        proofs.message["timestamp_s"] = json!(GENESIS_S + 12 * slot);
        assert_eq!(proofs.tell(), done(), "{:?}", node.state().faults);
        assert_eq!(node.types(BLOCK), [1]);
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_a_node_cannot_do_is_said() {
    for (answer, wait_ms, says) in [
        (
            Answer::Status(429, vec![("retry-after", "30".into())], "slow down".into()),
            30_000,
            "429: slow down",
        ),
        (status(500), 0, "500"),
        (Answer::Status(503, vec![("retry-after", "7".into())], "syncing".into()), 7_000, "503"),
        (status(501), 0, "it takes no execution proofs (EIP-8025): 501"),
        (status(404), 0, "it takes no execution proofs (EIP-8025): 404"),
        (Answer::HangUp, 0, "127.0.0.1"),
        (Answer::CutOff(200), 0, "cut off"),
        (Answer::Silence(Duration::from_secs(10)), 0, "timeout"),
    ] {
        let (node, server) = node();
        let mut proofs = Proofs::of(&[&server], &[b"a"]);
        if let Answer::Silence(_) = answer {
            proofs.set("time_limit_ms", json!(4_000));
        }
        server.answer({
            let (node, answer) = (node.clone(), answer.clone());
            move |request| if request.path == POST { answer.clone() } else { node.answer(request) }
        });
        let (code, waits, reason) = proofs.tell();
        assert_eq!((code, waits), (75, wait_ms), "{answer:?}: {reason}");
        assert!(reason.contains(says), "{answer:?}: {reason}");
        // The same for what is only asked.
        server.answer(move |_| answer.clone());
        let (code, waits, reason) = proofs.tell();
        assert!((code, waits) == (75, wait_ms) && posts(&server) == 1, "{reason}");
        server.answer(node.answers());
        proofs.set("time_limit_ms", json!(20_000));
        assert_eq!(proofs.tell(), done(), "afterwards it is taken");
    }
}

#[test]
fn of_what_a_node_refuses_only_that_is_left() {
    let (node, server) = node();
    node.state().refuses.insert(2, "payload is unavailable".into());
    let proofs = Proofs::of(&[&server], &[b"a", b"b", b"c"]);
    let (code, _, reason) = proofs.tell();
    assert!(code == 75 && reason.contains("p2: 127.0.0.1"), "{reason}");
    assert!(reason.ends_with("payload is unavailable") && !reason.contains("p1"), "{reason}");
    assert_eq!(node.types(BLOCK), [1, 3], "the others are published");
    node.state().refuses.clear();
    assert_eq!(proofs.tell(), done());
    assert_eq!(node.types(BLOCK), [1, 2, 3]);
    // What is said no to an epoch later is no for good.
    node.state().refuses.insert(3, "proof is invalid".into());
    node.state().head_slot = SLOT + 32;
    let (code, _, reason) = proofs.tell();
    assert!(code == 65 && reason.contains("p3: ") && reason.ends_with("proof is invalid"), "{reason}");
}

#[test]
fn a_node_that_is_down_or_takes_no_proofs_keeps_no_block_open_for_ever() {
    let (first, one) = node();
    let (second, two) = node();
    let mut proofs = Proofs::of(&[&one], &[b"a", b"b"]);
    // The second is far ahead, and what it cannot do says nothing of the proof.
    second.state().head_slot = 1_000;
    two.answer(move |request| if request.path == POST { status(501) } else { second.answer(request) });
    for other in [DOWN, two.url.as_str()] {
        proofs.set("nodes", json!({ "are": [other, one.url] }));
        first.state().refuses.insert(2, "proof is invalid".into());
        for (head_slot, code) in [(SLOT + 32, 75), (SLOT + 63, 75), (SLOT + 64, 65)] {
            first.state().head_slot = head_slot;
            let (ended_with, _, reason) = proofs.tell();
            assert!(ended_with == code && reason.contains("proof is invalid"), "{head_slot}: {reason}");
            assert!(reason.starts_with("p2: 127.0.0.1"), "{reason}");
        }
        first.state().refuses.clear();
        assert_eq!(proofs.tell(), done());
    }
    // The same for a block that no beacon block carries.
    first.state().blocks.clear();
    proofs.set("nodes", json!({ "are": [DOWN, one.url] }));
    for (head_slot, code) in [(SLOT + 32, 75), (SLOT + 63, 75), (SLOT + 64, 65)] {
        first.state().head_slot = head_slot;
        let (ended_with, _, reason) = proofs.tell();
        assert!(ended_with == code && reason.starts_with("no beacon block at slot 100"), "{reason}");
    }
}

#[test]
fn a_refusal_that_names_no_proof_is_one_of_all() {
    for (failures, posted, says) in [
        (json!([]), 2, r#"400: {"failures":[]}"#),
        (json!([{ "index": 2, "message": "no" }]), 2, "400: "),
        (json!([{ "index": "0", "message": "no" }, { "index": 2 }]), 1, "it refuses proof 2 of 2 too"),
    ] {
        let (node, server) = node();
        server.answer({
            let (node, body) = (node.clone(), json!({ "failures": failures }).to_string());
            move |request| match request.path == POST {
                true => Answer::Status(400, Vec::new(), body.clone()),
                false => node.answer(request),
            }
        });
        let proofs = Proofs::of(&[&server], &[b"a", b"b"]);
        let (code, _, reason) = proofs.tell();
        assert_eq!(code, 75, "{reason}");
        assert!(reason.contains("p1: ") && reason.contains("p2: ") && reason.contains(says), "{reason}");
        assert_eq!(posts(&server), posted, "as JSON too, unless it has read the proofs: {failures}");
        server.answer(node.answers());
        assert_eq!(proofs.tell(), done(), "afterwards it is taken");
    }
}

#[test]
fn one_node_that_hangs_or_knows_less_does_not_keep_the_validator_from_being_found() {
    let (first, one) = node();
    let (second, two) = node();
    for answer in [status(404), status(503), Answer::Silence(Duration::from_secs(60))] {
        one.answer({
            let (first, answer) = (first.clone(), answer.clone());
            move |request| match request.path.contains("/validators/") {
                true => answer.clone(),
                false => first.answer(request),
            }
        });
        let proofs = Proofs::of(&[&one, &two], &[b"a"]);
        assert_eq!(proofs.tell(), done(), "{answer:?}");
    }
    one.answer(first.answers());
    first.state().status = "pending_queued";
    let (code, _, reason) = Proofs::of(&[&one, &two], &[b"a"]).tell();
    assert_eq!(code, 0, "the second knows that it is active: {reason}");
    assert_eq!((second.types(BLOCK), &second.state().faults), (vec![1], &Vec::new()));
}

#[test]
fn a_node_that_cannot_say_now_whether_there_is_a_second_block_is_asked_again() {
    for (answer, code) in [(429, 75), (503, 75), (400, 0), (405, 0), (501, 0)] {
        let (node, server) = node();
        server.answer({
            let node = node.clone();
            move |request| match request.path.contains("parent_root=") {
                true => status(answer),
                false => node.answer(request),
            }
        });
        let (ended_with, _, reason) = Proofs::of(&[&server], &[b"a"]).tell();
        assert_eq!(ended_with, code, "{answer}: {reason}");
        assert_eq!(node.types(BLOCK).len(), usize::from(code == 0), "{answer}");
    }
}

#[test]
fn of_forks_that_begin_at_once_the_last_one_counts() {
    let fork = |previous: [u8; 4], current: [u8; 4], epoch: u64| json!({ "previous_version": hexed(&previous), "current_version": hexed(&current), "epoch": epoch.to_string() });
    let mut forks = vec![
        fork([5, 0, 0, 0], [5, 0, 0, 0], FORK.0),
        fork([5, 0, 0, 0], FORK.2, FORK.0),
        fork(FORK.2, FORK.1, FORK.0),
        fork(FORK.1, [8, 0, 0, 0], FORK.0 + 100),
    ];
    for _ in 0..forks.len() {
        forks.rotate_left(1);
        let (node, server) = node();
        server.answer({
            let (node, body) = (node.clone(), json!({ "data": forks }).to_string());
            move |request| match request.path == "/eth/v1/config/fork_schedule" {
                true => Answer::Status(200, Vec::new(), body.clone()),
                false => node.answer(request),
            }
        });
        assert_eq!(Proofs::of(&[&server], &[b"a"]).tell(), done(), "{:?}", node.state().faults);
    }
}

#[test]
fn whatever_nodes_say_the_last_line_is_whole_and_short() {
    let (node, server) = node();
    let long = "\"ü\\\u{1}\"".repeat(200);
    for proof_type in 1..=5 {
        node.state().refuses.insert(proof_type, long.clone());
    }
    let proofs = Proofs::of(&[&server], &[b"a", b"b", b"c", b"d", b"e"]);
    let output = notify(proofs.target.clone(), proofs.message.clone());
    let (code, _, reason) = ended(&output);
    assert!(code == 75 && reason.starts_with("p1: 127.0.0.1") && reason.ends_with("..."), "{reason}");
    assert!(output.stdout.len() < 512, "{} bytes", output.stdout.len());
}

#[test]
fn a_proof_is_handed_in_once_one_node_has_it() {
    let (first, one) = node();
    let (second, two) = node();
    let silent = Server::start(|_| Answer::Silence(Duration::from_secs(60)));
    first.state().refuses.insert(1, "no".into());
    second.state().refuses.insert(2, "no".into());
    let mut proofs = Proofs::of(&[&silent, &one, &two], &[b"a", b"b"]);
    proofs.set("time_limit_ms", json!(4_000));
    assert_eq!(proofs.tell(), done(), "each proof is on one");
    assert_eq!((first.types(BLOCK), second.types(BLOCK)), (vec![2], vec![1]));
    first.state().refuses.insert(2, "no".into());
    let (code, _, reason) = proofs.tell();
    assert!(code == 75 && reason.contains("p2: ") && !reason.contains("p1: "), "{reason}");
    second.state().genesis_validators_root = [3; 32];
    let (code, _, reason) = proofs.tell();
    assert!(code == 75 && reason.contains("the nodes are of different chains"), "{reason}");
}

#[test]
fn nothing_is_handed_in_where_two_blocks_are_at_one_slot() {
    let (node, server) = node();
    node.add(SLOT, [0x33; 32], "0xcd");
    let (other_node, other) = BeaconNode::start();
    other_node.add(SLOT, [0x33; 32], HASH);
    let (clean_node, clean) = self::node();
    for servers in [vec![&server], vec![&clean, &server], vec![&clean, &other]] {
        let (code, _, reason) = Proofs::of(&servers, &[b"a"]).tell();
        assert_eq!(code, 65, "{reason}");
        let both = format!("{}, {}", hexed(&BLOCK), hexed(&[0x33; 32]));
        assert_eq!(reason, format!("slot 100 has several beacon blocks, so nothing is handed in: {both}"));
    }
    node.state().hides_branches = true;
    assert_eq!(Proofs::of(&[&server], &[b"a"]).tell().0, 65, "told of by their parent");
    assert_eq!(posts(&server) + posts(&other) + posts(&clean), 0);
    assert_eq!(clean_node.types(BLOCK), [0; 0]);
}

#[test]
fn a_beacon_block_that_is_not_there_yet_is_waited_for_and_for_no_longer_than_an_epoch() {
    let (node, server) = BeaconNode::start();
    let mut proofs = Proofs::of(&[&server], &[b"a"]);
    node.state().head_slot = SLOT + 31;
    let missing = "no beacon block at slot 100 carries the block";
    assert_eq!(proofs.tell(), (75, 0, missing.to_owned()));
    node.add(SLOT, [0x44; 32], "0xcd");
    assert_eq!(proofs.tell(), (75, 0, missing.to_owned()), "it carries another");
    node.state().head_slot = SLOT + 32;
    assert_eq!(proofs.tell(), (65, 0, format!("{missing}, and the nodes are an epoch past it")));
    node.state().blocks.clear();
    node.add(SLOT, BLOCK, HASH);
    assert_eq!(proofs.tell(), done(), "however late, as when the yard was behind");
    proofs.message["timestamp_s"] = json!(GENESIS_S + 12 * SLOT + 5);
    let (code, _, reason) = proofs.tell();
    assert!(code == 65 && reason.contains("no slot of its chain has the block's time"), "{reason}");
}

#[test]
fn a_key_that_does_not_open_or_belong_signs_nothing() {
    let (node, server) = node();
    let mut proofs = Proofs::of(&[&server], &[b"a"]);
    let path = proofs.folder.path().join("keystore.json");
    let quick = fs::read_to_string(keystore("quick")).unwrap();
    let scrypt = fs::read_to_string(keystore("scrypt")).unwrap();
    for (text, says) in [
        (quick.replace("\"c\": 16", "\"c\": 17"), "the password does not open it"),
        (quick.replace("\"9612", "\"8612"), "it says that its key is 8612"),
        (quick.replace("aes-128-ctr", "aes-256-gcm"), "its cipher is aes-256-gcm"),
        (
            quick.replace("\"c\": 16", "\"c\": 4000000000"),
            "it asks for more work than is done for a keystore: PBKDF2",
        ),
        (scrypt.replace("262144", "1073741824"), "it asks for more work than is done for a keystore: scrypt"),
        (scrypt.replace("262144", "262145"), "n is 262145, which is no power of 2"),
        (quick.replace("\"version\": 4", "\"version\": 3"), "its version is 3"),
        ("{}".to_owned(), "it is no keystore as EIP-2335 has it"),
        (" ".repeat(70_000), "it is longer than a keystore is"),
    ] {
        fs::write(&path, text).unwrap();
        proofs.set("keystore", json!(path));
        let (code, _, reason) = proofs.tell();
        assert!(code == 75 && reason.contains(says), "{says}: {reason}");
        assert!(reason.contains("keystore.json") && !reason.contains("horse"), "{reason}");
    }
    proofs.set("keystore", json!(Path::new("/nowhere")));
    assert!(proofs.tell().2.starts_with("keystore /nowhere: it cannot be read"));
    proofs.set("keystore", json!(keystore("quick")));
    proofs.set("password_from", json!("NOT_SET"));
    assert_eq!(proofs.tell(), (75, 0, "the environment here has no NOT_SET".to_owned()));
    proofs.set("password_from", json!("PASSWORD"));
    let right_key = node.state().public_key.clone();
    for (key, state, index, says) in [
        (right_key.clone(), "pending_queued", None, "validator 256 is not active: pending_queued"),
        (
            right_key.clone(),
            "exited_unslashed",
            Some(VALIDATOR),
            "validator 256 is not active: exited_unslashed",
        ),
        (right_key.clone(), "active_ongoing", Some(7), "it knows no validator 7"),
        ("0x00".to_owned(), "active_ongoing", None, "it knows no validator 0x9612"),
        (
            "0x00".to_owned(),
            "active_ongoing",
            Some(VALIDATOR),
            "validator 256 has another key than the keystore, 0x9612",
        ),
    ] {
        node.state().public_key = key;
        node.state().status = state;
        proofs.set("validator_index", json!(index));
        let (code, _, reason) = proofs.tell();
        assert!(code == 75 && reason.contains(says), "{says}: {reason}");
    }
    assert_eq!(posts(&server), 0);
    node.state().public_key = right_key;
    node.state().status = "active_exiting";
    assert_eq!(proofs.tell(), done());
}

#[test]
fn a_variable_may_hold_the_nodes_and_what_may_be_a_key_in_their_urls_is_not_shown() {
    let (node, server) = node();
    let mut proofs = Proofs::of(&[&server], &[b"a"]);
    proofs.set("nodes", json!({ "from": "NODES" }));
    let tell = |nodes: &str| {
        let output = notify_with(&[("NODES", nodes)], proofs.target.clone(), proofs.message.clone());
        assert!(!format!("{output:?}").contains("k3y"), "{output:?}");
        ended(&output)
    };
    assert_eq!(tell(&format!("http://127.0.0.1:9/k3yk3yk3y {}/", server.url)), done());
    assert_eq!(node.types(BLOCK), [1]);
    let (code, _, reason) = tell("http://127.0.0.1:9/k3yk3yk3y");
    assert!(code == 75 && reason.starts_with("127.0.0.1:9: "), "{reason}");
    assert_eq!(tell(" , "), (75, 0, "NODES holds no URL".to_owned()));
    for (nodes, says) in [
        ("http://127.0.0.1:9/ http://k3y@127.0.0.1:9/?k=k3yk3yk3y".to_owned(), "NODES: URL 2 has a query"),
        ("http://127.0.0.1:9/#k3yk3yk3y".to_owned(), "NODES: URL 1 has a query"),
        ("k3yk3yk3y".to_owned(), "NODES: URL 1 does not start with http"),
        ("http://127.0.0.1:9/k3yk3yk3y ".repeat(9), "NODES holds 9 URLs, and 8 nodes are the most"),
    ] {
        let (code, _, reason) = tell(&nodes);
        assert!(code == 75 && reason.starts_with(says), "{reason}");
    }
}

#[test]
fn a_proof_that_no_node_takes_is_left_out_and_the_others_are_not() {
    let (node, server) = node();
    let most = vec![7; 4_194_304];
    let too_long = vec![7; 4_194_305];
    let proofs = Proofs::of(&[&server], &[&most, &too_long, b""]);
    let (code, _, reason) = proofs.tell();
    let empty = "the proof of p3 is empty";
    let long = "the proof of p2 has 4194305 bytes, and nodes take 4194304 at most";
    assert_eq!((code, reason), (65, format!("{long}; {empty}")));
    assert_eq!(node.types(BLOCK), [1]);
    assert_eq!(node.state().faults, [""; 0]);
    // A prover without a type is nobody's business, nor is a file that is gone for a while refused.
    let mut proofs = Proofs::of(&[&server], &[b"a"]);
    proofs.set("proof_types", json!({ "other": 1 }));
    assert_eq!(proofs.tell(), done());
    let mut proofs = Proofs::of(&[&server], &[b"a"]);
    proofs.message["proofs"][0]["file"] = json!("/nowhere");
    let (code, _, reason) = proofs.tell();
    assert!(code == 75 && reason.contains("/nowhere cannot be read"), "{reason}");
}
