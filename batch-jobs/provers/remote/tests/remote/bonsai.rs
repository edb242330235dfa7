//! Bonsai and Bento: the job's id is the service's, so it is noted at once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{Fault, Reply, Server};
use crate::services::bonsai::{Bonsai, IMAGE};
use crate::yard::{Attempt, Prover, TOKEN, failed, proof};

const FOREVER: u32 = u32::MAX;

fn arguments(server: &Server<Bonsai>) -> Value {
    json!({"protocol": "bonsai", "endpoint": server.endpoint, "image_id": IMAGE, "poll_ms": 10, "unknown_after_s": 0})
}

fn with(server: &Server<Bonsai>, name: &str, value: impl Into<Value>) -> Value {
    let mut arguments = arguments(server);
    arguments[name] = value.into();
    arguments
}

fn start_with(service: Bonsai) -> (Server<Bonsai>, Prover) {
    let server = Server::start(service);
    let prover = Prover::ready(&arguments(&server));
    (server, prover)
}

fn start() -> (Server<Bonsai>, Prover) {
    start_with(Bonsai::new())
}

#[test]
fn a_task_is_proved() {
    let server = Server::start(Bonsai::new());
    let mut arguments = with(&server, "token_from", TOKEN.0);
    arguments["cycle_limit"] = json!(5000);
    let mut prover = Prover::start();
    let about = prover.setup(&arguments);
    assert_eq!(
        (&about["ok"]["verification_key"], &about["ok"]["trusted_setup"]),
        (&json!(IMAGE), &json!(false))
    );
    let answer = prover.prove(&Attempt::default());
    assert_eq!(proof(&answer), b"a receipt of a block");
    assert_eq!(answer["ok"]["cycles"], 1000);
    assert!(prover.has_said("ProveSegments: 1/4"), "{:?}", prover.said);
    assert!(prover.checkpoint.is_some());
    let session = &server.service().sessions[0];
    assert_eq!((&session["img"], &session["exec_cycle_limit"]), (&json!(IMAGE), &json!(5000)));
    assert_eq!((&session["assumptions"], &session["execute_only"]), (&json!([]), &json!(false)));
    assert!(server.asked("").iter().all(|asked| asked.headers["x-api-key"] == TOKEN.1));
}

#[test]
fn an_image_that_the_service_lacks_is_uploaded_or_asked_for() {
    let (server, mut prover) = start();
    server.service().images.clear();
    failed(&prover.prove(&Attempt::default()), "permanent", "does not have image");
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("guest.elf");
    std::fs::write(&image, "an ELF").unwrap();
    let mut prover = Prover::start_with(&["--files", folder.path().to_str().unwrap()]);
    prover.setup(&with(&server, "image", "guest.elf"));
    proof(&prover.prove(&Attempt::default()));
    proof(&prover.prove(&Attempt { task: "t2", ..Attempt::default() }));
    assert_eq!(server.asked("PUT /images").len(), 1);
    // The service computes the image's id itself.
    server.service().images.clear();
    let mismatch = json!({"type": "ImageIdMismatch", "msg": "The image id does not match the computed id"});
    server.fault("PUT /images", Fault::Instead(Reply::json(400, &mismatch)));
    failed(&prover.prove(&Attempt { task: "t3", ..Attempt::default() }), "permanent", "ImageIdMismatch");
}

/// A service may name another host for uploads, with its own secret in the address.
#[test]
fn the_token_goes_nowhere_else() {
    let (elsewhere, server) = (Server::start(Bonsai::new()), Server::start(Bonsai::new()));
    server.service().uploads = Some(elsewhere.endpoint.clone());
    server.service().upload("8f0c6a52-0000-4000-8000-000000000001", b"a block");
    let mut prover = Prover::ready(&with(&server, "token_from", TOKEN.0));
    proof(&prover.prove(&Attempt::default()));
    let [put] = &elsewhere.asked("PUT /inputs")[..] else { panic!("the input was not uploaded") };
    assert!(!put.headers.contains_key("x-api-key"));
    assert_eq!(put.body, b"a block");
}

#[test]
fn a_redirect_does_not_take_the_token_elsewhere() {
    let (elsewhere, server) = (Server::start(Bonsai::new()), Server::start(Bonsai::new()));
    let to = format!("{}/inputs/upload", elsewhere.endpoint);
    server.fault("GET /inputs/upload", Fault::Instead(Reply::new(307, "moved").header("location", to)));
    let mut prover = Prover::ready(&with(&server, "token_from", TOKEN.0));
    failed(&prover.prove(&Attempt::default()), "permanent", "answered 307");
    assert!(elsewhere.asked("").is_empty());
}

#[test]
fn what_keeps_a_job_from_starting_is_unavailable() {
    let (server, mut prover) = start();
    for (route, reply, words) in [
        ("GET /images", Reply::new(500, "broken"), "500 broken"),
        ("GET /inputs", Reply::new(503, "full"), "503 full"),
        ("PUT /inputs", Reply::new(502, "proxy"), "502"),
        ("POST /sessions", Reply::new(429, "slower").header("retry-after", 7), "left alone for 7 s"),
        ("POST /sessions", Reply::new(409, "busy"), "409 busy"),
        (
            "POST /sessions",
            Reply::json(500, &json!({"type": "DbError", "msg": "Database error"})),
            "Database error",
        ),
        ("POST /sessions", Reply::new(402, "pay first"), "pay first"),
    ] {
        server.fault(route, Fault::Instead(reply));
        failed(&prover.prove(&Attempt::default()), "unavailable", words);
    }
    for (route, fault) in [("GET /inputs", Fault::Dropped), ("PUT /inputs", Fault::Lost)] {
        server.fault(route, fault);
        failed(&prover.prove(&Attempt::default()), "unavailable", "http://");
    }
    assert!(server.service().sessions.is_empty());
}

/// A job whose id is not known cannot be found again. That counts as an attempt, so that it has an end.
#[test]
fn a_lost_answer_costs_one_more_job_and_an_attempt() {
    let (server, mut prover) = start();
    let attempt = Attempt::default();
    server.fault("POST /sessions/create", Fault::Lost);
    failed(&prover.prove(&attempt), "transient", "whose id is not known");
    server.fault("POST /sessions/create", Fault::Instead(Reply::new(504, "")));
    failed(&prover.prove(&attempt.again(None)), "transient", "whose id is not known");
    proof(&prover.prove(&attempt.again(None)));
    assert_eq!(server.service().sessions.len(), 2);
}

#[test]
fn a_prover_that_is_killed_takes_up_the_job_that_it_noted() {
    for service in [Bonsai::new(), Bonsai::bento()] {
        let (server, mut prover) = start_with(service);
        server.service().polls = FOREVER;
        let attempt = Attempt::default();
        prover.begin(&attempt);
        prover.says("ProveSegments");
        let checkpoint = prover.checkpoint.clone();
        prover.kill();
        let mut second = Prover::ready(&arguments(&server));
        second.begin(&attempt.again(checkpoint.clone()));
        second.says("takes up job stark/");
        second.says("ProveSegments");
        assert_eq!(second.checkpoint, None, "what is noted stays");
        second.kill();
        server.service().finish();
        assert_eq!(
            proof(&Prover::ready(&arguments(&server)).prove(&attempt.again(checkpoint))),
            b"a receipt of a block"
        );
        assert_eq!(server.service().sessions.len(), 1);
    }
}

/// At moments that nobody chooses: it is killed again and again, and sometimes the service is done in between.
#[test]
fn fifty_kills_cost_no_job_but_those_that_could_not_be_noted() {
    let server = Server::start(Bonsai::new());
    server.service().polls = 4;
    let (mut attempt, mut kills, mut proofs) = (Attempt::default(), 0, 0);
    let mut noted = BTreeSet::new();
    for round in 0.. {
        if kills == 50 {
            break;
        }
        let mut prover = Prover::ready(&arguments(&server));
        prover.begin(&attempt);
        let is_done = prover.is_done_within(Duration::from_millis(round * 7 % 60));
        prover.kill();
        noted.extend(prover.checkpoint.clone());
        if is_done {
            proofs += 1;
            attempt = Attempt { input: format!("block {proofs}").into_bytes(), ..Attempt::default() };
        } else {
            kills += 1;
            attempt = attempt.again(prover.checkpoint.clone().or(attempt.resume.clone()));
        }
    }
    let (jobs, in_work) = (server.service().sessions.len(), usize::from(attempt.resume.is_some()));
    println!("50 kills, {proofs} proofs, {jobs} jobs, {} of them not noted", jobs - noted.len());
    assert_eq!(noted.len(), proofs + in_work, "a task whose job was noted got another one");
}

/// The only moment at which a kill costs a second job.
#[test]
fn a_prover_that_is_killed_before_its_job_is_noted_costs_one_more() {
    let (server, mut prover) = start();
    let attempt = Attempt::default();
    prover.begin(&attempt);
    prover.wants_checkpoint();
    let asked = server.asked("GET /sessions/status").len();
    prover.kill();
    assert_eq!(asked, 0, "it is noted before anything else");
    proof(&Prover::ready(&arguments(&server)).prove(&attempt.again(None)));
    assert_eq!(server.service().sessions.len(), 2);
}

/// Neither another input's nor another program's nor another service's job is taken up.
#[test]
fn a_job_that_was_noted_of_something_else_is_not_taken_up() {
    let (server, mut prover) = start();
    let attempt = Attempt::default();
    proof(&prover.prove(&attempt));
    let checkpoint = prover.checkpoint.clone();
    let other = Attempt { input: b"another".into(), ..attempt.again(checkpoint.clone()) };
    assert_eq!(proof(&prover.prove(&other)), b"a receipt of another");
    assert!(prover.has_said("not taken up"));
    let mut groth16 = Prover::ready(&with(&server, "receipt", "groth16"));
    assert_eq!(proof(&groth16.prove(&attempt.again(checkpoint))), b"a receipt of snark: a block");
    assert_eq!(proof(&prover.prove(&attempt.again(Some("rubbish".into())))), b"a receipt of a block");
    assert_eq!(server.service().sessions.len(), 4);
}

#[test]
fn a_job_that_the_service_has_forgotten_is_submitted_once_more() {
    for service in [Bonsai::new(), Bonsai::bento()] {
        let (server, mut prover) = start_with(service);
        server.service().polls = FOREVER;
        let attempt = Attempt::default();
        prover.begin(&attempt);
        prover.says("ProveSegments");
        let checkpoint = prover.checkpoint.clone();
        prover.kill();
        server.service().restart();
        let mut second = Prover::ready(&arguments(&server));
        second.begin(&attempt.again(checkpoint.clone()));
        second.says("submits the task again");
        second.says("ProveSegments");
        assert_ne!(second.checkpoint, checkpoint, "the new job is noted");
        server.service().finish();
        proof(&second.answer());
        assert_eq!(server.service().sessions.len(), 2);
    }
}

#[test]
fn both_jobs_of_a_groth16_receipt_may_be_forgotten() {
    let server = Server::start(Bonsai::bento());
    let arguments = with(&server, "receipt", "groth16");
    let mut prover = Prover::ready(&arguments);
    prover.begin(&Attempt::default());
    prover.says("goes on as job snark/");
    let checkpoint = prover.checkpoint.clone();
    prover.kill();
    server.service().restart();
    let mut second = Prover::ready(&arguments);
    assert_eq!(proof(&second.prove(&Attempt::default().again(checkpoint))), b"a receipt of snark: a block");
    let service = server.service();
    assert_eq!((service.sessions.len(), service.snarks.len()), (2, 2));
}

/// Bento answers 500 where it does not know a job, and so it does while its database is away: it is not believed at once.
#[test]
fn a_bento_that_answers_500_for_a_while_keeps_its_job() {
    let server = Server::start(Bonsai::bento());
    let mut prover = Prover::ready(&with(&server, "unknown_after_s", 60));
    for _ in 0..3 {
        server.fault("GET /sessions/status", Fault::Instead(Reply::json(500, &json!({"type": "DbError"}))));
    }
    proof(&prover.prove(&Attempt::default()));
    assert!(prover.has_said("DbError"));
    assert_eq!(server.service().sessions.len(), 1);
}

#[test]
fn a_groth16_receipt_is_a_second_job() {
    let server = Server::start(Bonsai::new());
    let arguments = with(&server, "receipt", "groth16");
    let mut prover = Prover::start();
    let about = prover.setup(&arguments);
    assert_eq!(
        (&about["ok"]["proof_system"], &about["ok"]["trusted_setup"]),
        (&json!("risc0-groth16"), &json!(true))
    );
    let attempt = Attempt::default();
    prover.begin(&attempt);
    prover.says("goes on as job snark/");
    let checkpoint = prover.checkpoint.clone();
    prover.kill();
    let mut second = Prover::ready(&arguments);
    assert_eq!(proof(&second.prove(&attempt.again(checkpoint))), b"a receipt of snark: a block");
    let service = server.service();
    assert_eq!((service.sessions.len(), service.snarks.len()), (1, 1));
}

/// The first job of the two is not paid for again.
#[test]
fn a_groth16_job_that_fails_is_followed_by_another_one_of_the_same_session() {
    let server = Server::start(Bonsai::new());
    let mut prover = Prover::ready(&with(&server, "receipt", "groth16"));
    prover.begin(&Attempt::default());
    prover.says("goes on as job snark/");
    server.service().ends_as = Some(("FAILED", "a GPU fell off the bus"));
    failed(&prover.answer(), "transient", "a GPU");
    server.service().ends_as = None;
    let checkpoint = prover.checkpoint.clone();
    assert_eq!(proof(&prover.prove(&Attempt::default().again(checkpoint))), b"a receipt of snark: a block");
    let service = server.service();
    assert_eq!((service.sessions.len(), service.snarks.len()), (1, 2));
}

#[test]
fn trouble_while_a_job_is_in_work_is_waited_out() {
    let (server, mut prover) = start();
    server.fault("GET /sessions/status", Fault::Instead(Reply::new(503, "restarts")));
    server.fault("GET /sessions/status", Fault::Dropped);
    server.fault("GET /sessions/status", Fault::CutOff);
    server.fault("GET /receipts", Fault::Instead(Reply::new(502, "proxy")));
    server.fault("GET /receipts", Fault::CutOff);
    assert_eq!(proof(&prover.prove(&Attempt::default())), b"a receipt of a block");
    assert!(prover.has_said("restarts"), "{:?}", prover.said);
    assert_eq!(server.service().sessions.len(), 1);
}

#[test]
fn a_receipt_that_cannot_be_one_is_refused() {
    let (server, mut prover) = start();
    server.service().receipt = |_| Vec::new();
    failed(&prover.prove(&Attempt::default()), "transient", "empty proof");
    server.service().receipt = |_| vec![7; 100];
    let mut small = Prover::ready(&with(&server, "max_proof_bytes", 99));
    failed(&small.prove(&Attempt::default()), "permanent", "100 bytes, and 99 are allowed");
    for _ in 0..3 {
        server.fault("GET /receipts", Fault::CutOff);
    }
    failed(&prover.prove(&Attempt::default()), "transient", "ends after 50 of 100 bytes");
    let checkpoint = prover.checkpoint.clone();
    proof(&prover.prove(&Attempt::default().again(checkpoint)));
    assert_eq!(server.service().sessions.len(), 3, "the receipt is fetched again, not made again");
}

/// A receipt in bincode: which kind, what is before its claim, and the claim's first field.
fn receipt(kind: u32, seal: &[u8], pre: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), seal, &0u32.to_le_bytes(), pre, b"the rest"].concat()
}

fn succinct_seal() -> Vec<u8> {
    [&3u64.to_le_bytes()[..], &[9; 12], &[8; 32]].concat()
}

fn image() -> Vec<u8> {
    hex::decode(IMAGE).unwrap()
}

/// How the service makes receipts, and what is said of them where they are refused.
type Receipts = (fn(&[u8]) -> Vec<u8>, Option<&'static str>);

#[test]
fn a_receipt_of_another_program_is_refused() {
    let (server, mut prover) = start();
    let receipts: [Receipts; 5] = [
        (|_| receipt(1, &succinct_seal(), &[&1u32.to_le_bytes()[..], &image()].concat()), None),
        (|_| receipt(1, &succinct_seal(), &[&1u32.to_le_bytes()[..], &[7; 32]].concat()), Some("0707")),
        (
            |_| {
                receipt(
                    2,
                    &[&3u64.to_le_bytes()[..], &[9; 3]].concat(),
                    &[&1u32.to_le_bytes()[..], &[7; 32]].concat(),
                )
            },
            Some("0707"),
        ),
        // The state itself: the image id is its digest.
        (|_| receipt(1, &succinct_seal(), &[0; 40]), Some("another program")),
        (|_| receipt(3, b"", b""), Some("development mode")),
    ];
    for (make, refused) in receipts {
        server.service().receipt = make;
        let answer = prover.prove(&Attempt::default());
        match refused {
            None => assert_eq!(proof(&answer), make(b"")),
            Some(words) => failed(&answer, "permanent", words),
        }
    }
    // Of a state that is not pruned.
    let state = [&[0; 4][..], &[5; 32]].concat();
    let tag = Sha256::digest("risc0.SystemState");
    let id = hex::encode(Sha256::digest([&tag[..], &state[4..], &state[..4], &[1, 0]].concat()));
    server.service().images.insert(id.clone());
    server.service().receipt = |_| receipt(1, &succinct_seal(), &[&[0; 8][..], &[5; 32]].concat());
    proof(&Prover::ready(&with(&server, "image_id", id)).prove(&Attempt::default()));
}

#[test]
fn what_the_service_says_of_a_failed_job_is_told() {
    let (server, mut prover) = start();
    for (ended, why, kind) in [
        ("FAILED", "Guest panicked: no such block", "permanent"),
        ("FAILED", "Session limit exceeded: 5000 >= 4096", "permanent"),
        ("FAILED", "a GPU fell off the bus", "transient"),
        ("TIMED_OUT", "it took too long", "transient"),
        ("ABORTED", "somebody did", "transient"),
    ] {
        server.service().ends_as = Some((ended, why));
        let answer = prover.prove(&Attempt::default());
        failed(&answer, kind, why);
        failed(&answer, kind, ended);
    }
    // A job that has failed is not taken up again: the next attempt has one of its own.
    server.service().ends_as = None;
    let checkpoint = prover.checkpoint.clone();
    proof(&prover.prove(&Attempt::default().again(checkpoint)));
    assert!(prover.has_said("has failed"));
    assert_eq!(server.service().sessions.len(), 6);
}

#[test]
fn only_work_that_nobody_wants_is_cancelled_at_the_service() {
    let (server, mut prover) = start();
    server.service().polls = FOREVER;
    for (reason, stopped) in [("lost", 0), ("stopping", 0), ("unwanted", 1)] {
        prover.begin(&Attempt::default());
        prover.says("ProveSegments");
        prover.cancel(reason);
        failed(&prover.answer(), "transient", "cancelled");
        assert_eq!(server.service().stopped.len(), stopped, "{reason}");
    }
    // Bento has no such call.
    let (bento, mut prover) = start_with(Bonsai::bento());
    bento.service().polls = FOREVER;
    prover.begin(&Attempt::default());
    prover.says("ProveSegments");
    prover.cancel("unwanted");
    failed(&prover.answer(), "transient", "cancelled");
    assert_eq!(bento.asked("GET /sessions/stop").len(), 1);
}

/// A job that nobody can find again is of no use to anybody, whatever the reason.
#[test]
fn a_job_that_could_not_be_noted_is_cancelled() {
    let (server, mut prover) = start();
    prover.begin(&Attempt::default());
    prover.wants_checkpoint();
    prover.cancel("lost");
    failed(&prover.answer(), "transient", "before job stark/");
    assert_eq!(server.service().stopped.len(), 1);
}

#[test]
fn at_the_deadline_the_job_is_left_to_the_next_attempt() {
    let (server, mut prover) = start();
    server.service().polls = FOREVER;
    let attempt = Attempt { deadline_ms: 800, ..Attempt::default() };
    failed(&prover.prove(&attempt), "transient", "not over at the deadline");
    server.service().finish();
    let checkpoint = prover.checkpoint.clone();
    proof(&prover.prove(&Attempt { deadline_ms: 30_000, ..attempt.again(checkpoint) }));
    let service = server.service();
    assert_eq!((service.sessions.len(), service.stopped.len()), (1, 0));
}

#[test]
fn it_verifies_nothing_and_says_who_may() {
    let (_server, mut prover) = start();
    failed(&prover.verify(b"a receipt", b"a block", None), "permanent", "verify = [...]");
}
