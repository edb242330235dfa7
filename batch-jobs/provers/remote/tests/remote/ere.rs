//! ere-server: one call proves, so there is no job to find again; it verifies, too.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::server::{Fault, Reply, Server};
use crate::services::ere::{Ere, public_values};
use crate::yard::{Attempt, Prover, TOKEN, failed, proof, wait_until};

fn arguments(server: &Server<Ere>) -> Value {
    json!({"protocol": "ere", "endpoint": server.endpoint, "token_from": TOKEN.0})
}

fn start() -> (Server<Ere>, Prover) {
    let server = Server::start(Ere::new());
    let prover = Prover::ready(&arguments(&server));
    (server, prover)
}

/// A prover whose call waits at the server.
fn start_waiting() -> (Server<Ere>, Prover) {
    let (server, mut prover) = start();
    server.service().goes_on.store(false, Ordering::Release);
    prover.begin(&Attempt::default());
    wait_until(|| server.service().proves == 1);
    (server, prover)
}

#[test]
fn a_task_is_proved_and_another_process_has_it_verified() {
    let (server, mut prover) = start();
    let answer = prover.prove(&Attempt::default());
    let made = proof(&answer);
    assert_eq!(made, b"a program's key: a block");
    assert_eq!(answer["ok"]["verification_key"], hex::encode(b"a program's key"));
    let values = hex::encode(public_values(b"a block"));
    assert_eq!(answer["ok"]["public_values"], values);
    assert!(
        server.asked("").iter().all(|asked| asked.headers["authorization"] == format!("Bearer {}", TOKEN.1))
    );

    let mut verifier = Prover::ready(&arguments(&server));
    let key = hex::encode(b"a program's key");
    for key in [None, Some(&*key)] {
        assert_eq!(verifier.verify(&made, b"a block", key)["ok"]["public_values"], values);
    }
    failed(&verifier.verify(&made, b"a block", Some("00")), "permanent", "not of 00");
    failed(&verifier.verify(&made, b"another block", None), "permanent", "not about this input");
    failed(&verifier.verify(b"rubbish", b"a block", None), "permanent", "failed to decode proof");
    failed(&verifier.verify(b"another key: a block", b"a block", None), "permanent", "verification failed");
    server.fault("POST /twirp/api.ZkvmService/Verify", Fault::Instead(Reply::new(503, "restarts")));
    failed(&verifier.verify(&made, b"a block", None), "unavailable", "restarts");

    // Where executing costs too much, and at another server.
    let other = Server::start(Ere::new());
    let mut arguments = arguments(&server);
    arguments["verify_input"] = json!(false);
    arguments["verifier"] = json!(other.endpoint);
    let mut trusting = Prover::ready(&arguments);
    assert_eq!(trusting.verify(&made, b"another block", None)["ok"]["public_values"], values);
    assert_eq!((other.asked("POST").len(), other.asked("POST /twirp/api.ZkvmService/Execute").len()), (2, 0));
    assert!(other.asked("POST").iter().all(|asked| !asked.headers.contains_key("authorization")));
}

#[test]
fn what_keeps_it_from_proving_is_unavailable() {
    let (server, mut prover) = start();
    for (route, status, words) in [
        ("GET /health", 503, "503"),
        ("POST /twirp/api.ZkvmService/Prove", 429, "429"),
        ("POST /twirp/api.ZkvmService/Prove", 503, "503"),
    ] {
        let error = json!({"code": "unavailable", "msg": "not now"});
        server.fault(route, Fault::Instead(Reply::json(status, &error).header("retry-after", 9)));
        let answer = prover.prove(&Attempt::default());
        failed(&answer, "unavailable", words);
        failed(&answer, "unavailable", "left alone for 9 s");
    }
    server.fault("GET /health", Fault::Dropped);
    failed(&prover.prove(&Attempt::default()), "unavailable", "/health");
    assert_eq!(server.service().proves, 0);
}

/// What may have been proved counts as an attempt, so that it has an end.
#[test]
fn what_goes_wrong_while_it_proves_is_an_attempt() {
    let (server, mut prover) = start();
    for fault in [Fault::Lost, Fault::Dropped, Fault::CutOff] {
        server.fault("POST /twirp/api.ZkvmService/Prove", fault);
        failed(&prover.prove(&Attempt::default()), "transient", "is lost");
    }
    let error = json!({"code": "internal", "msg": "failed to encode proof"});
    server.fault("POST /twirp/api.ZkvmService/Prove", Fault::Instead(Reply::json(500, &error)));
    failed(&prover.prove(&Attempt::default()), "transient", "failed to encode proof");
    server.service().zkvm_error = Some("guest exited with 101");
    failed(&prover.prove(&Attempt::default()), "transient", "guest exited with 101");
    server.service().zkvm_error = None;
    server.fault("POST /twirp/api.ZkvmService/Prove", Fault::Instead(Reply::new(200, "<html>")));
    failed(&prover.prove(&Attempt::default()), "transient", "no message of this protocol");
    server.service().is_empty = true;
    failed(&prover.prove(&Attempt::default()), "transient", "empty proof");
    server.service().is_empty = false;
    proof(&prover.prove(&Attempt::default()));
}

#[test]
fn a_proof_of_another_program_is_refused() {
    let (server, mut prover) = start();
    server.service().key_afterwards = Some(b"another key".to_vec());
    failed(&prover.prove(&Attempt::default()), "transient", "another program while it proved");
    // From now on its proofs name the new program, which a pipeline that pins the other one refuses.
    let answer = prover.prove(&Attempt::default());
    assert_eq!(answer["ok"]["verification_key"], hex::encode(b"another key"), "{answer}");
}

/// There is no id by which it could be found again.
#[test]
fn a_prover_that_is_killed_leaves_the_queue_and_costs_one_more_proof() {
    let (server, mut prover) = start_waiting();
    prover.kill();
    let left = std::sync::Arc::clone(&server.service().left);
    wait_until(|| left.load(Ordering::Acquire) == 1);
    server.service().goes_on.store(true, Ordering::Release);
    proof(&Prover::ready(&arguments(&server)).prove(&Attempt::default().again(None)));
    assert_eq!(server.service().proves, 2);
}

#[test]
fn cancelled_work_leaves_the_queue() {
    for reason in ["unwanted", "lost", "stopping"] {
        let (server, mut prover) = start_waiting();
        prover.cancel(reason);
        failed(&prover.answer(), "transient", reason);
        let left = std::sync::Arc::clone(&server.service().left);
        wait_until(|| left.load(Ordering::Acquire) == 1);
    }
}

#[test]
fn a_call_that_takes_longer_than_the_deadline_is_left() {
    let (server, mut prover) = start();
    server.service().goes_on.store(false, Ordering::Release);
    failed(&prover.prove(&Attempt { deadline_ms: 800, ..Attempt::default() }), "transient", "is lost");
}
