//! A proof that was uploaded and never recorded is taken up by the next attempt, if it stands.

use proofyard_aws_tests::relay::Relay;
use proofyard_aws_tests::toy::{ToyYard, artifact, key_of};
use proofyard_aws_tests::wait_for;
use proofyard_core::state::{ArtifactRef, TaskId, TaskResult};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A task with its result, as a request to DynamoDB has it.
const A_RESULT: &str = r#"\"status\":\"accepted\""#;

/// A worker proves, verifies and uploads, and dies before the table hears of it.
fn die_before_recording(yard: &ToyYard, task: &TaskId) {
    let table = Relay::silent_from(yard.aws.endpoint(), A_RESULT);
    let worker = yard.worker("dies", |command| {
        command.env("AWS_ENDPOINT_URL_DYNAMODB", &table.endpoint);
    });
    wait_for("a result", || table.is_silent().then_some(()));
    drop(worker);
    wait_for("the end of its lease", || {
        yard.sweep();
        yard.task(task).is_listed().then_some(())
    });
    assert_eq!(yard.asked_to_prove(task), 1);
}

/// The next attempt, to its end; answers what was recorded, and what the worker logged.
fn take_up(yard: &ToyYard, task: &TaskId) -> (TaskResult, String) {
    let mut worker = yard.worker("next", |command| {
        command.args(["--max-tasks", "1"]);
    });
    assert!(worker.ended().success(), "{}", worker.log());
    let task = yard.task(task);
    assert_eq!((task.is_accepted(), task.started(), task.failures()), (true, 2, 0), "{}", worker.log());
    (task.into_accepted().unwrap(), worker.log())
}

fn made_key(task: &TaskId) -> String {
    format!("made/{}.json", hex::encode(Sha256::digest(task.to_string())))
}

#[test]
fn a_proof_that_its_dead_worker_never_recorded_is_not_made_again() {
    let yard = ToyYard::new(&[], "", "lease_ms = 1500");
    let task = yard.block(1);
    die_before_recording(&yard, &task);
    let (result, log) = take_up(&yard, &task);
    assert_eq!(yard.asked_to_prove(&task), 1, "{log}");
    assert_eq!((result.attempt, yard.task(&task).losses()), (2, 1));
    let proof: Value = serde_json::from_slice(&yard.object(&key_of(&result.artifact))).unwrap();
    assert_eq!(json!(result.public_values), proof["public_values"]);
    assert_eq!((result.proof_system.as_deref(), result.verification_key.is_some()), (Some("toy"), true));
    assert_eq!(yard.committed(), [1]);
    let (said, code) = yard.command(&["verify"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_proof_outlasts_a_table_that_is_silent_when_it_is_done() {
    let yard = ToyYard::new(&[], "", "");
    let task = yard.block(1);
    let table = Relay::silent_from(yard.aws.endpoint(), A_RESULT);
    let mut worker = yard.worker("worker", |command| {
        command.args(["--max-tasks", "1"]).env("AWS_ENDPOINT_URL_DYNAMODB", &table.endpoint);
    });
    wait_for("trouble", || worker.log().contains("trouble that the worker goes on after").then_some(()));
    table.mend();
    assert!(worker.ended().success(), "{}", worker.log());
    assert_eq!(yard.asked_to_prove(&task), 1, "{}", worker.log());
    let task = yard.task(&task);
    assert_eq!((task.is_accepted(), task.failures(), task.losses()), (true, 0, 0));
    assert_eq!(yard.committed(), [1]);
}

/// Whatever is wrong with it costs no more than proving again.
#[test]
fn what_is_wrong_with_an_unrecorded_proof_has_it_made_again() {
    let yard = ToyYard::new(&[], "", "lease_ms = 1500");
    let first = yard.block(1);
    die_before_recording(&yard, &first);
    let (firsts, _) = take_up(&yard, &first);
    let made = |task: &TaskId| -> Value { serde_json::from_slice(&yard.object(&made_key(task))).unwrap() };
    let proof_of = |task: &TaskId| -> String {
        let artifact: ArtifactRef = serde_json::from_value(made(task)["artifact"].clone()).unwrap();
        key_of(&artifact)
    };
    let change = |task: &TaskId, field: &str, value: Value| {
        let mut made = made(task);
        made[field] = value;
        yard.overwrite(&made_key(task), made.to_string());
    };
    type Damage<'a> = (&'a str, &'a dyn Fn(&TaskId));
    let damages: [Damage<'_>; 8] = [
        ("it cannot be read", &|task| yard.overwrite(&made_key(task), "rubbish")),
        ("it is of task", &|task| yard.overwrite(&made_key(task), yard.object(&made_key(&first)))),
        ("it is by prover", &|task| change(task, "prover", json!("another"))),
        ("is missing", &|task| yard.remove(&proof_of(task))),
        ("is damaged", &|task| yard.overwrite(&proof_of(task), "{")),
        ("not about these inputs", &|task| change(task, "artifact", json!(firsts.artifact))),
        ("not the toy's verification key", &|task| change(task, "verification_key", json!("00"))),
        ("bytes; ", &|task| {
            change(task, "artifact", json!({ "sha256": firsts.artifact.sha256, "bytes": u64::MAX }))
        }),
    ];
    for (height, (complaint, damage)) in (2..).zip(damages) {
        let task = yard.block(height);
        die_before_recording(&yard, &task);
        damage(&task);
        let (result, log) = take_up(&yard, &task);
        assert_eq!(yard.asked_to_prove(&task), 2, "{complaint}: {log}");
        assert!(log.contains("is proved again") && log.contains(complaint), "{complaint}: {log}");
        // What was damaged in the bucket is whole again.
        assert_eq!(artifact(&yard.object(&key_of(&result.artifact))), result.artifact, "{complaint}");
    }
    assert_eq!(yard.committed(), (1..=9).collect::<Vec<_>>());
}
