//! Keys in AWS KMS: whatever signature of a hash it answers, the transaction is of the key's account.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::ecdsa::{Signature, SigningKey};
use proofyard_aws_tests::driver::PIPELINE;
use proofyard_aws_tests::http::Fate;
use proofyard_core::pipeline::parse;
use proofyard_programs::programs;
use serde_json::{Value, json};

use crate::evm::{ACCOUNT, KEY};
use crate::ledger::Ledger;
use crate::server::{Answer, Server};
use crate::yard::{ProposingYard, sent, submitting};

const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// KMS with anvil's key, which answers the signature with the higher `s` each second time.
struct FakeKms {
    key: SigningKey,
    calls: Vec<String>,
}

impl FakeKms {
    fn new() -> Arc<Mutex<Self>> {
        let digit = |at: usize| u8::from_str_radix(&KEY[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (2..66).step_by(2).map(digit).collect();
        Arc::new(Mutex::new(Self { key: SigningKey::from_slice(&bytes).unwrap(), calls: Vec::new() }))
    }

    fn answer(&mut self, operation: &str, body: &str) -> String {
        let asked: Value = serde_json::from_str(body).unwrap();
        assert_eq!(asked["KeyId"], ARN);
        self.calls.push(operation.to_owned());
        if operation == "GetPublicKey" {
            let prefix = [
                0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05,
                0x2b, 0x81, 0x04, 0x00, 0x0a, 0x03, 0x42, 0x00,
            ];
            let point = self.key.verifying_key().to_encoded_point(false);
            let spki = BASE64_STANDARD.encode([&prefix[..], point.as_bytes()].concat());
            return json!({ "KeyId": ARN, "PublicKey": spki, "KeySpec": "ECC_SECG_P256K1" }).to_string();
        }
        assert_eq!(
            (&asked["MessageType"], &asked["SigningAlgorithm"]),
            (&json!("DIGEST"), &json!("ECDSA_SHA_256"))
        );
        let hash = BASE64_STANDARD.decode(asked["Message"].as_str().unwrap()).unwrap();
        let signature: Signature = self.key.sign_prehash(&hash).unwrap();
        let low = signature.normalize_s().unwrap_or(signature);
        let high = Signature::from_scalars(*low.r(), -*low.s()).unwrap();
        let said = if self.calls.len().is_multiple_of(2) { high } else { low };
        json!({ "KeyId": ARN, "Signature": BASE64_STANDARD.encode(said.to_der().as_bytes()) }).to_string()
    }
}

#[tokio::test]
async fn a_key_that_signs_in_kms_is_an_account_as_any_other() {
    const BLOCKS: u64 = 3;
    let ledger = Ledger::start();
    let kms = FakeKms::new();
    let sink = submitting("l1", &ledger, &ledger.anvil.url(), &format!("key_kms = \"{ARN}\""));
    let yard = ProposingYard::with(&sink, BLOCKS).await;
    // Without the permission, as a role is whose environment does not name the key.
    yard.driver.http.breaks(|operation, _| match operation {
        "GetPublicKey" => Fate::error("AccessDeniedException", "not authorized to perform: kms:GetPublicKey"),
        _ => Fate::Made,
    });
    yard.tell().await;
    let reason = yard.cursor("l1").await.last_error.unwrap();
    assert!(reason.contains(ARN) && reason.contains("kms:GetPublicKey"), "{reason}");
    let answering = Arc::clone(&kms);
    yard.driver.http.breaks(move |operation, body| match operation {
        "GetPublicKey" | "Sign" => Fate::Answered(200, answering.lock().unwrap().answer(operation, body)),
        _ => Fate::Made,
    });
    yard.resume("l1").await;
    yard.until_told("l1", BLOCKS).await;
    assert!((1..=BLOCKS).all(|height| ledger.times(height) == 1));
    assert_eq!((ledger.calls(), sent(&ledger)), (BLOCKS, BLOCKS));
    let calls = kms.lock().unwrap().calls.clone();
    assert_eq!(calls, ["GetPublicKey", "Sign", "Sign", "Sign"], "what never changes is asked once");
}

/// The program of yards on one machine finds KMS as every tool of AWS does.
#[test]
fn a_program_on_one_machine_has_a_key_in_kms_sign() {
    let (ledger, kms) = (Ledger::start(), FakeKms::new());
    let answering = Arc::clone(&kms);
    let server = Server::start(move |request| {
        let operation = request.header("x-amz-target").unwrap().rsplit('.').next().unwrap().to_owned();
        let body = String::from_utf8(request.body.clone()).unwrap();
        Answer::Status(200, Vec::new(), answering.lock().unwrap().answer(&operation, &body))
    });
    let run = |arguments: &[&str], input: &Value| {
        let mut command = Command::new(programs().join("proofyard-contract"));
        command.args(arguments).env("AWS_ENDPOINT_URL_KMS", &server.url);
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    assert_eq!(run(&["--address", ARN], &Value::Null), (Some(0), ACCOUNT.to_owned()));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("proof"), b"a proof").unwrap();
    let sink = submitting("l1", &ledger, &ledger.anvil.url(), &format!("key_kms = \"{ARN}\""));
    let checked = parse(&format!("{PIPELINE}\n{sink}")).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let message = json!({
        "message": "entry", "key": "c/commits/0", "chain": "c", "log": "commits", "sequence": 0, "at_ms": 1,
        "kind": "proof", "from": 5, "to": 5, "hash": "0xab", "scope": "c:b:5:ab:0",
        "proofs": [{ "stage": "prove", "index": 0, "artifact": { "sha256": "00", "bytes": 7 },
            "public_values": null, "verification_key": null, "proof_system": "toy" }],
        "proof_files": [folder.path().join("proof")],
    });
    let told = json!({ "target": checked.pipeline.sinks["l1"].target, "message": message });
    let journal = folder.path().join("accounts").display().to_string();
    assert_eq!(run(&["--journal", &journal, "--sink", "l1"], &told), (Some(0), String::new()));
    assert_eq!((ledger.times(5), sent(&ledger)), (1, 1));
}
