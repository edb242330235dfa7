//! The program by itself: what it sends, and what it makes of each answer.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::ethproofs_server::{CLUSTER, Ethproofs, TOKEN};
use crate::server::{Answer, Server, status};

pub fn notify(target: Value, message: Value) -> Output {
    notify_with(&[], target, message)
}

pub fn notify_with(variables: &[(&str, &str)], target: Value, message: Value) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_proofyard-notify"))
        .env("TOKEN", TOKEN)
        .env("SECRET", "s3cret")
        .env("PASSWORD", "correct horse")
        .env("EIP_PASSWORD", "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑")
        .env("HOOK_URL", "http://127.0.0.1:9/k3y-in-the-path?key=k3y")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = json!({ "target": target, "message": message }).to_string();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What it said, and how it ended: 0 done, 75 later, 65 refused.
pub fn ended(output: &Output) -> (i32, u64, String) {
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let reason = said["reason"].as_str().unwrap_or_default().to_owned();
    (output.status.code().unwrap(), said["wait_ms"].as_u64().unwrap_or(0), reason)
}

fn hook(url: &str) -> Value {
    json!({ "webhook": {
        "url": { "is": url }, "secret_from": null, "body": null, "time_limit_ms": 2_000,
    } })
}

fn retract() -> Value {
    json!({
        "message": "entry", "key": "c/commits/4", "chain": "c", "log": "commits", "sequence": 4, "at_ms": 1,
        "kind": "retract", "from": 2, "to": 3,
    })
}

#[test]
fn a_webhook_gets_the_message_under_its_key_and_signed() {
    let server = Server::start(|_| status(204));
    let mut target = hook(&format!("{}/in?x=1", server.url));
    target["webhook"]["secret_from"] = json!("SECRET");
    assert_eq!(ended(&notify(target, retract())).0, 0);
    let request = &server.requests()[0];
    assert_eq!((request.path.as_str(), request.json()), ("/in?x=1", retract()));
    assert_eq!(request.header("x-proofyard-key"), Some("c/commits/4"));
    let timestamp = request.header("x-proofyard-timestamp").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(format!("{timestamp}.c.").as_bytes());
    mac.update(&request.body);
    let signature = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(request.header("x-proofyard-signature"), Some(signature.as_str()));
}

#[test]
fn a_body_of_the_pipelines_is_filled_in() {
    let server = Server::start(|_| status(200));
    let mut target = hook(&server.url);
    target["webhook"]["body"] = json!({
        "routing_key": "{env.TOKEN}", "payload": { "summary": "{chain}: {kind} {from} to {to} {", "tags": ["{key}", 1] },
    });
    assert_eq!(ended(&notify(target, retract())).0, 0);
    let sent = json!({
        "routing_key": TOKEN, "payload": { "summary": "c: retract 2 to 3 {", "tags": ["c/commits/4", 1] },
    });
    assert_eq!(server.requests()[0].json(), sent);
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
    let retry =
        |seconds: &str| Answer::Status(429, vec![("retry-after", seconds.into())], "slow\n  down".into());
    // A date counts from the answer's own, whatever the clocks are here.
    let until = |date: &str, answered: &[&str]| {
        let dates = answered.iter().map(|date| ("date", (*date).to_owned()));
        let headers = [("retry-after", date.to_owned())].into_iter().chain(dates).collect();
        Answer::Status(503, headers, String::new())
    };
    let answered = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (answer, code, wait_ms, says) in [
        (status(200), 0, 0, ""),
        (retry("30"), 75, 30_000, "429: slow down"),
        (retry("soon"), 75, 0, "429"),
        (until("Sun, 06 Nov 1994 08:51:07 GMT", &[answered]), 75, 90_000, "503"),
        (until("Sun, 06 Nov 1994 08:00:00 GMT", &[answered]), 75, 0, "503"),
        (until("Sun, 06 Nov 1994 08:51:07 GMT", &[]), 75, 0, "503"),
        (status(500), 75, 0, "500"),
        (status(401), 75, 0, "401"),
        (status(404), 75, 0, "404"),
        (Answer::Status(302, vec![("location", "http://127.0.0.1:1/".into())], String::new()), 75, 0, "302"),
        (status(400), 65, 0, "400"),
        (status(422), 65, 0, "422"),
        (Answer::HangUp, 75, 0, "127.0.0.1"),
        (Answer::CutOff(200), 75, 0, "cut off"),
        (Answer::Silence(Duration::from_secs(10)), 75, 0, "timeout"),
    ] {
        let server = Server::start({
            let answer = answer.clone();
            move |_| answer.clone()
        });
        let mut target = hook(&server.url);
        target["webhook"]["time_limit_ms"] = json!(1_000);
        let (ended_with, waits, reason) = ended(&notify(target, retract()));
        assert_eq!((ended_with, waits), (code, wait_ms), "{answer:?}: {reason}");
        assert!(reason.contains(says), "{answer:?}: {reason}");
        assert_eq!(server.requests().len(), 1, "each run makes one call");
    }
}

#[test]
fn nothing_that_may_be_a_key_is_shown() {
    let mut target = hook("");
    target["webhook"]["url"] = json!({ "from": "HOOK_URL" });
    let output = notify(target, retract());
    let (code, _, reason) = ended(&output);
    assert!(code == 75 && reason.starts_with("127.0.0.1:9"), "{reason}");
    let all = format!("{output:?}");
    assert!(!all.contains("k3y"), "{all}");
    let server = Server::start(|request| {
        let said = format!("Cannot POST {} as {:?}", request.path, request.header("x-proofyard-signature"));
        Answer::Status(404, Vec::new(), said)
    });
    let mut target = hook(&format!("{}/hooks/T0P5ECRET/K3YK3YK3Y", server.url));
    target["webhook"]["secret_from"] = json!("SECRET");
    let (_, _, reason) = ended(&notify(target, retract()));
    assert!(
        reason.contains("Cannot POST") && !reason.contains("SECRET") && !reason.contains("K3Y"),
        "{reason}"
    );
    assert!(!reason.contains("v1="), "{reason}");
    let mut target = hook("");
    target["webhook"]["url"] = json!({ "from": "NOT_SET" });
    assert_eq!(ended(&notify(target, retract())), (75, 0, "the environment here has no NOT_SET".into()));
}

fn ethproofs(server: &Server) -> Value {
    json!({ "ethproofs": {
        "url": { "is": server.url }, "cluster_id": CLUSTER, "token_from": "TOKEN", "time_limit_ms": 2_000,
    } })
}

fn block(word: &str, proof: Option<Value>) -> Value {
    let mut block = json!({
        "message": "block", "key": format!("c:b:5:0xab:0/{word}"), "chain": "c", "height": 5, "hash": "0xab", "word": word,
    });
    if let Some(proof) = proof {
        block["proof"] = proof;
    }
    block
}

#[test]
fn a_block_is_reported_as_the_api_asks() {
    let (ethproofs_kept, server) = Ethproofs::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proof");
    std::fs::write(&file, b"the proof").unwrap();
    let proof = json!({
        "file": file, "sha256": "x", "bytes": 9, "public_values": "00", "verification_key": "0xkey", "proof_system": "s",
        "cycles": 1_000, "proving_ms": 2_500,
    });
    for (word, proof) in
        [("arrived", None), ("started", None), ("accepted", Some(proof.clone())), ("accepted", Some(proof))]
    {
        assert_eq!(ended(&notify(ethproofs(&server), block(word, proof))), (0, 0, String::new()), "{word}");
    }
    let kept = &ethproofs_kept.blocks()[&5];
    assert_eq!(kept.said, ["queued", "proving", "proved"], "a repeat is answered by 409, and done");
    let sent = json!({
        "block_number": 5, "cluster_id": CLUSTER, "proving_time": 2_500, "proving_cycles": 1_000, "verifier_id": "0xkey",
        "proof": base64::engine::general_purpose::STANDARD.encode("the proof"),
    });
    assert_eq!(kept.proof, Some(sent));
}

#[test]
fn a_proof_that_cannot_be_read_is_tried_again() {
    let (_, server) = Ethproofs::start();
    let proof = json!({
        "file": "/nowhere", "sha256": "x", "bytes": 9, "public_values": null, "verification_key": null,
        "proof_system": null, "cycles": null, "proving_ms": 1,
    });
    let (code, _, reason) = ended(&notify(ethproofs(&server), block("accepted", Some(proof))));
    assert!(code == 75 && reason.contains("/nowhere cannot be read"), "{reason}");
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn input_of_another_version_is_said_to_be_so() {
    let output = notify(json!({ "pigeon": {} }), retract());
    let (code, _, reason) = ended(&output);
    assert!(
        code == 75 && reason.contains("its input is not what `proofyard` of this version says"),
        "{reason}"
    );
}
