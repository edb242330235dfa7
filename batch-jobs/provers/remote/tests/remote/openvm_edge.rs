//! OpenVM edge: the job's id is derived from the task, so no fault has it paid for twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Fault, Reply, Server};
use crate::services::openvm_edge::Edge;
use crate::yard::{Attempt, Prover, TOKEN, failed, proof, wait_until};

const FOREVER: u32 = u32::MAX;

fn arguments(server: &Server<Edge>) -> Value {
    json!({"protocol": "openvm-edge", "endpoint": server.endpoint, "program": "reth", "version": 2, "poll_ms": 10})
}

fn with(server: &Server<Edge>, name: &str, value: impl Into<Value>) -> Value {
    let mut arguments = arguments(server);
    arguments[name] = value.into();
    arguments
}

fn start() -> (Server<Edge>, Prover) {
    let server = Server::start(Edge::new());
    let prover = Prover::ready(&arguments(&server));
    (server, prover)
}

#[test]
fn a_task_is_proved() {
    let server = Server::start(Edge::new());
    let mut prover = Prover::start();
    let about = prover.setup(&with(&server, "token_from", TOKEN.0));
    let key = about["ok"]["verification_key"].as_str().unwrap().to_string();
    assert_eq!((key.len(), &about["ok"]["proof_system"]), (64, &json!("openvm-stark")), "{about}");
    let answer = prover.prove(&Attempt::default());
    assert_eq!(proof(&answer), b"a proof of a block");
    assert_eq!((&answer["ok"]["verification_key"], &answer["ok"]["cycles"]), (&json!(key), &json!(1000)));
    assert!(prover.has_said("1 of 4 segments"), "{:?}", prover.said);
    assert_eq!(prover.checkpoint, None, "its id can be derived again");

    let start = server.asked("POST /start_proof").remove(0);
    assert_eq!(start.headers["authorization"], format!("Bearer {}", TOKEN.1));
    let start = start.json();
    assert_eq!(
        (&start["program"], &start["proof_type"]),
        (&json!({"name": "reth", "version": 2}), &json!("stark"))
    );
    assert!(
        (20..=30).contains(&start["timeout_secs"].as_u64().unwrap()),
        "the deadline is passed on: {start}"
    );

    // Another task, or another input of the same one, is another job.
    proof(&prover.prove(&Attempt { task: "t2", ..Attempt::default() }));
    assert_eq!(proof(&prover.prove(&Attempt { input: b"b".into(), ..Attempt::default() })), b"a proof of b");
    let mut started = server.service().started.clone();
    started.dedup();
    assert_eq!(started.len(), 3);
}

#[test]
fn what_keeps_a_job_from_starting_is_unavailable() {
    let (server, mut prover) = start();
    server.service().polls = FOREVER;
    let mut other = Prover::ready(&arguments(&server));
    other.begin(&Attempt { task: "other", ..Attempt::default() });
    other.says("segments");
    failed(&prover.prove(&Attempt::default()), "unavailable", "Another proof is already running");
    other.kill();
    server.service().restart();
    for (route, reply, words) in [
        ("POST /upload_input", Reply::new(503, "full"), "503 full"),
        ("POST /start_proof", Reply::new(429, "slower").header("retry-after", 7), "left alone for 7 s"),
        ("POST /start_proof", Reply::json(503, &json!({"error": "workers not ready"})), "workers not ready"),
        (
            "POST /start_proof",
            Reply::json(500, &json!({"error": "1 of 2 workers failed to accept work"})),
            "500",
        ),
        ("POST /start_proof", Reply::new(401, "who is it?"), "401"),
        ("GET /proof_state", Reply::new(500, "broken"), "500 broken"),
    ] {
        server.fault(route, Fault::Instead(reply));
        failed(&prover.prove(&Attempt::default()), "unavailable", words);
    }
    for route in ["GET /proof_state", "POST /upload_input"] {
        server.fault(route, Fault::Dropped);
        failed(&prover.prove(&Attempt::default()), "unavailable", "http://");
    }
    assert_eq!(server.service().started.len(), 1, "only the other task's");
    failed(
        &Prover::start().setup(&json!({"protocol": "openvm-edge", "endpoint": unused(), "program": "reth"})),
        "unavailable",
        "127.0.0.1",
    );
}

/// An address at which nobody listens.
fn unused() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_request_that_is_refused_for_good_is_permanent() {
    let (server, mut prover) = start();
    server.service().programs.remove(0);
    failed(&prover.prove(&Attempt::default()), "permanent", "program_not_in_loadout");
    failed(
        &Prover::start().setup(&arguments(&server)),
        "permanent",
        "proves other at version 0, not reth at version 2",
    );
    server.fault("POST /start_proof", Fault::Instead(Reply::new(400, "Invalid proof_uuid")));
    failed(&prover.prove(&Attempt::default()), "permanent", "Invalid proof_uuid");
}

#[test]
fn a_lost_answer_costs_no_second_job() {
    let (server, mut prover) = start();
    server.fault("POST /start_proof", Fault::Lost);
    proof(&prover.prove(&Attempt::default()));
    assert_eq!(server.service().started.len(), 1);
    // Lost before it was heard: nothing was started, and the next attempt starts it.
    let attempt = Attempt { task: "t2", ..Attempt::default() };
    server.fault("POST /start_proof", Fault::Dropped);
    failed(&prover.prove(&attempt), "unavailable", "was not started");
    proof(&prover.prove(&attempt.again(None)));
    assert_eq!(server.service().started.len(), 2);
}

#[test]
fn a_prover_that_is_killed_finds_its_job_again() {
    let (server, mut prover) = start();
    server.service().polls = FOREVER;
    let attempt = Attempt::default();
    prover.begin(&attempt);
    prover.says("segments");
    prover.kill();
    // While it is in work.
    let mut second = Prover::ready(&arguments(&server));
    second.begin(&attempt.again(None));
    second.says("segments");
    second.kill();
    // Once it is over, and after a restart of the service, which has the proof on its disk.
    finish(&server);
    proof(&Prover::ready(&arguments(&server)).prove(&attempt.again(None)));
    server.service().restart();
    proof(&Prover::ready(&arguments(&server)).prove(&attempt.again(None)));
    assert_eq!(server.service().started.len(), 1);
}

/// At moments that nobody chooses, and the service restarts now and then once it has the proof.
#[test]
fn fifty_kills_cost_no_job() {
    let server = Server::start(Edge::new());
    server.service().polls = 4;
    let (mut attempt, mut kills, mut proofs) = (Attempt::default(), 0, 0);
    for round in 0.. {
        if kills == 50 {
            break;
        }
        let mut prover = Prover::ready(&arguments(&server));
        prover.begin(&attempt);
        let is_done = prover.is_done_within(Duration::from_millis(round * 7 % 60));
        prover.kill();
        if is_done {
            proofs += 1;
            attempt = Attempt { input: format!("block {proofs}").into_bytes(), ..Attempt::default() };
        } else {
            kills += 1;
            attempt = attempt.again(None);
        }
    }
    let mut started = server.service().started.clone();
    let jobs = started.len();
    println!("50 kills, {proofs} proofs, {jobs} jobs");
    started.sort();
    started.dedup();
    assert_eq!(jobs, started.len(), "a job was started twice");
    assert!((proofs..=proofs + 1).contains(&jobs), "{jobs} jobs for {proofs} proofs and one task in work");
}

/// Killed while the call that starts the job is under way.
#[test]
fn a_prover_that_is_killed_while_it_starts_its_job_finds_it_again() {
    let (server, mut prover) = start();
    let attempt = Attempt::default();
    let (heard, killed) = (Arc::new(std::sync::Barrier::new(2)), Arc::new(std::sync::Barrier::new(2)));
    let slow = {
        let (heard, killed) = (Arc::clone(&heard), Arc::clone(&killed));
        Box::new(move |_: &std::net::TcpStream| {
            heard.wait();
            killed.wait();
            false
        })
    };
    server.service().before_start = Some(slow);
    prover.begin(&attempt);
    heard.wait();
    prover.kill();
    killed.wait();
    proof(&Prover::ready(&arguments(&server)).prove(&attempt.again(None)));
    assert_eq!(server.service().started.len(), 1);
}

/// The jobs end at the next question.
fn finish(server: &Server<Edge>) {
    server.service().finish();
}

#[test]
fn two_provers_of_one_task_share_its_job() {
    let (server, mut first) = start();
    server.service().polls = FOREVER;
    let mut second = Prover::ready(&arguments(&server));
    first.begin(&Attempt::default());
    first.says("segments");
    second.begin(&Attempt::default().again(None));
    second.says("segments");
    finish(&server);
    assert_eq!(proof(&first.answer()), proof(&second.answer()));
    assert_eq!(server.service().started.len(), 1);
    // The manager's word for a job that it knows, though it was not there when it was asked for.
    server.fault("GET /proof_state", Fault::Instead(Reply::new(404, "")));
    server.fault("HEAD /proof", Fault::Instead(Reply::new(404, "")));
    proof(&first.prove(&Attempt::default()));
    assert_eq!(server.service().started.len(), 1);
}

#[test]
fn a_job_that_the_service_has_forgotten_is_submitted_once_more() {
    let (server, mut prover) = start();
    server.service().polls = FOREVER;
    prover.begin(&Attempt::default());
    prover.says("segments");
    server.service().restart();
    prover.says("submits the task again");
    prover.says("segments");
    finish(&server);
    proof(&prover.answer());
    assert_eq!(server.service().started.len(), 2);
    // Not again and again.
    server.service().polls = FOREVER;
    prover.begin(&Attempt { task: "t2", ..Attempt::default() });
    for _ in 0..2 {
        prover.says("segments");
        server.service().restart();
    }
    failed(&prover.answer(), "transient", "lost the job twice");
}

#[test]
fn trouble_while_a_job_is_in_work_is_waited_out() {
    let (server, mut prover) = start();
    server.service().polls = FOREVER;
    prover.begin(&Attempt::default());
    prover.says("segments");
    server.fault("GET /proof_state", Fault::Instead(Reply::new(503, "restarts")));
    prover.says("restarts");
    server.fault("GET /proof_state", Fault::Dropped);
    prover.says("http://");
    server.fault("GET /proof_state", Fault::Instead(Reply::new(429, "slower").header("retry-after", 1)));
    prover.says("slower");
    finish(&server);
    proof(&prover.answer());
    assert_eq!(server.service().started.len(), 1);
}

#[test]
fn a_proof_that_is_not_whole_is_fetched_again_and_then_refused() {
    let (server, mut prover) = start();
    server.fault("GET /proof/", Fault::CutOff);
    assert_eq!(proof(&prover.prove(&Attempt::default())), b"a proof of a block");
    for _ in 0..3 {
        server.fault("GET /proof/", Fault::CutOff);
    }
    let attempt = Attempt { task: "t2", ..Attempt::default() };
    failed(&prover.prove(&attempt), "transient", "ends after 9 of 18 bytes");
    assert_eq!(server.service().started.len(), 2);
    proof(&prover.prove(&attempt.again(None)));
    assert_eq!(server.service().started.len(), 2, "the job is done: only its proof is fetched again");
}

#[test]
fn a_proof_that_cannot_be_one_is_refused() {
    let (server, mut prover) = start();
    server.service().proof = |_| Vec::new();
    failed(&prover.prove(&Attempt::default()), "transient", "empty proof");
    server.service().proof = |_| vec![7; 100];
    let mut small = Prover::ready(&with(&server, "max_proof_bytes", 99));
    failed(
        &small.prove(&Attempt { task: "t2", ..Attempt::default() }),
        "permanent",
        "100 bytes, and 99 are allowed",
    );
    server.service().says_program = Some(json!({"name": "other", "version": 0}));
    let attempt = Attempt { task: "t3", ..Attempt::default() };
    failed(&prover.prove(&attempt), "permanent", "another program: other at version 0");
}

#[test]
fn a_job_that_fails_is_followed_by_another_one() {
    let (server, mut prover) = start();
    server.service().ends_as = Some(json!({"failed": "worker died"}));
    let attempt = Attempt::default();
    failed(&prover.prove(&attempt), "transient", "worker died");
    server.service().ends_as = Some(json!("canceled"));
    failed(&prover.prove(&attempt.again(None)), "transient", "cancelled the job at the service");
    server.service().ends_as = None;
    proof(&prover.prove(&attempt.again(None)));
    let started = server.service().started.clone();
    assert!(started.len() == 3 && started[0] != started[1] && started[1] != started[2], "{started:?}");
}

#[test]
fn only_work_that_nobody_wants_is_cancelled_at_the_service() {
    let (server, mut prover) = start();
    server.service().polls = FOREVER;
    let attempt = Attempt::default();
    for reason in ["lost", "stopping"] {
        prover.begin(&attempt);
        prover.says("segments");
        prover.cancel(reason);
        failed(&prover.answer(), "transient", "goes on");
        assert!(server.service().cancelled.is_empty());
    }
    prover.begin(&attempt);
    prover.says("segments");
    prover.cancel("unwanted");
    failed(&prover.answer(), "transient", "at the service too");
    let service = server.service();
    assert_eq!((service.cancelled.len(), service.started.len()), (1, 1));
    assert_eq!(service.cancelled, service.started);
}

/// Also while a call is under way that would take long.
#[test]
fn work_that_nobody_wants_is_cancelled_while_it_starts() {
    let (server, mut prover) = start();
    server.service().before_start = Some(Box::new(|stream| {
        // Until the prover closes the connection.
        let _ = stream.peek(&mut [0]);
        false
    }));
    prover.begin(&Attempt::default());
    wait_until(|| !server.service().started.is_empty());
    prover.cancel("unwanted");
    failed(&prover.answer(), "transient", "at the service too");
    let service = server.service();
    assert_eq!(service.cancelled, service.started);
}

#[test]
fn at_the_deadline_the_job_is_left_to_the_next_attempt() {
    let (server, mut prover) = start();
    server.service().polls = FOREVER;
    let attempt = Attempt { deadline_ms: 800, ..Attempt::default() };
    failed(&prover.prove(&attempt), "transient", "not over at the deadline");
    assert!(server.service().cancelled.is_empty());
    finish(&server);
    proof(&prover.prove(&Attempt { deadline_ms: 30_000, ..attempt.again(None) }));
    assert_eq!(server.service().started.len(), 1);
}

#[test]
fn it_verifies_nothing_and_says_who_may() {
    let (_server, mut prover) = start();
    failed(&prover.verify(b"a proof", b"a block", None), "permanent", "verify = [...]");
}

#[test]
fn a_manager_without_a_baseline_has_no_key() {
    let server = Server::start(Edge::new());
    server.service().baseline = None;
    let about = Prover::start().setup(&with(&server, "proof_type", "evm"));
    assert_eq!(about["ok"]["verification_key"], Value::Null, "{about}");
    assert_eq!(about["ok"]["trusted_setup"], true);
}
