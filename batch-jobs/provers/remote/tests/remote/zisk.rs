//! ZisK's coordinator: gRPC; the job's id is the service's, and it may forget guests as well as jobs.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::server::{Fault, Reply, Server};
use crate::services::zisk::{INTERNAL, KEY, RESOURCE_EXHAUSTED, UNAVAILABLE, Zisk, failed as failed_with};
use crate::services::{content, field};
use crate::yard::{Attempt, Prover, TOKEN, failed, proof};

const FOREVER: u32 = u32::MAX;
const CALL: &str = "POST /zisk.coordinator.v1.ZiskCoordinatorApi/";

/// A coordinator, and the arguments for it.
struct Place {
    server: Server<Zisk>,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("guest.elf"), "an ELF").unwrap();
        Place { server: Server::start_grpc(Zisk::new()), folder }
    }

    fn prover(&self, more: &Value) -> Prover {
        let mut prover = Prover::start_with(&["--files", self.folder.path().to_str().unwrap()]);
        let mut arguments = json!({"protocol": "zisk", "endpoint": self.server.endpoint, "elf": "guest.elf",
            "poll_ms": 10, "token_from": TOKEN.0});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let about = prover.setup(&arguments);
        assert_eq!(about["ok"]["verification_key"], hex::encode(KEY), "{about}");
        prover
    }

    fn fault(&self, method: &str, fault: Fault) {
        self.server.fault(&format!("{CALL}{method}"), fault);
    }

    fn jobs(&self) -> usize {
        self.server.service().proves.len()
    }
}

fn start() -> (Place, Prover) {
    let place = Place::new();
    let prover = place.prover(&json!({}));
    (place, prover)
}

#[test]
fn a_task_is_proved() {
    let (place, mut prover) = start();
    let answer = prover.prove(&Attempt::default());
    assert_eq!(proof(&answer), b"a proof of a block");
    assert_eq!(
        (&answer["ok"]["cycles"], &answer["ok"]["public_values"]),
        (&json!(1000), &json!(hex::encode("public")))
    );
    assert!(prover.has_said("proves"), "{:?}", prover.said);
    assert!(prover.checkpoint.is_some());
    let prove = place.server.service().proves[0].clone();
    let until = content(&content(&prove, 3).unwrap(), 1).unwrap();
    let until = Duration::from_secs(u64::from_be_bytes(until.try_into().unwrap()));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(until > now && until < now + Duration::from_secs(31), "the deadline is passed on");
    assert_eq!(content(&prove, 4).unwrap(), 2u64.to_be_bytes(), "a minimal STARK");
    let token = format!("Bearer {}", TOKEN.1);
    assert!(place.server.asked("").iter().all(|asked| asked.headers["authorization"] == token));
    // A large input and proof: more than one frame, and more than a window.
    place.server.service().proof = |input| input.repeat(3);
    let input = vec![7; 3 << 20];
    assert_eq!(
        proof(&prover.prove(&Attempt { input: input.clone(), ..Attempt::default() })),
        input.repeat(3)
    );
}

#[test]
fn what_keeps_a_job_from_starting_is_unavailable() {
    let (place, mut prover) = start();
    for (status, words) in [
        (UNAVAILABLE, "Cluster unavailable: no workers"),
        (RESOURCE_EXHAUSTED, "full"),
        (INTERNAL, "An internal error"),
    ] {
        place.fault("JobRequest", Fault::Instead(Reply::new(status, words)));
        failed(&prover.prove(&Attempt::default()), "unavailable", words);
    }
    place.fault("JobRequest", Fault::Instead(Reply::new(3, "job_kind must be set")));
    failed(&prover.prove(&Attempt::default()), "permanent", "job_kind must be set");
    assert_eq!(place.jobs(), 0);
    let elf = place.folder.path().join("guest.elf");
    let nobody = json!({"protocol": "zisk", "endpoint": "http://127.0.0.1:1", "elf": elf});
    failed(&Prover::start().setup(&nobody), "unavailable", "127.0.0.1:1");
}

#[test]
fn a_lost_answer_costs_one_more_job_and_an_attempt() {
    let (place, mut prover) = start();
    for fault in [Fault::Lost, Fault::CutOff] {
        place.fault("JobRequest", fault);
        failed(&prover.prove(&Attempt::default()), "transient", "whose id is not known");
    }
    proof(&prover.prove(&Attempt::default()));
    assert_eq!(place.jobs(), 3);
}

#[test]
fn a_prover_that_is_killed_takes_up_the_job_that_it_noted() {
    let (place, mut prover) = start();
    place.server.service().polls = FOREVER;
    let attempt = Attempt::default();
    prover.begin(&attempt);
    prover.says("proves");
    let checkpoint = prover.checkpoint.clone();
    prover.kill();
    let mut second = place.prover(&json!({}));
    second.begin(&attempt.again(checkpoint));
    second.says("takes up job");
    place.server.service().finish();
    assert_eq!(proof(&second.answer()), b"a proof of a block");
    assert_eq!(place.jobs(), 1);
}

#[test]
fn a_prover_that_is_killed_before_its_job_is_noted_costs_one_more() {
    let (place, mut prover) = start();
    prover.begin(&Attempt::default());
    prover.wants_checkpoint();
    prover.kill();
    proof(&place.prover(&json!({})).prove(&Attempt::default().again(None)));
    assert_eq!(place.jobs(), 2);
}

/// A coordinator that has restarted knows neither the job nor the guest.
#[test]
fn what_the_service_has_forgotten_is_brought_again() {
    let (place, mut prover) = start();
    place.server.service().polls = FOREVER;
    prover.begin(&Attempt::default());
    prover.says("proves");
    place.server.service().restart();
    prover.says("submits the task again");
    prover.says("proves");
    place.server.service().finish();
    proof(&prover.answer());
    assert_eq!((place.jobs(), place.server.service().setups), (2, 2));
}

#[test]
fn trouble_while_a_job_is_in_work_is_waited_out() {
    let (place, mut prover) = start();
    place.fault("WaitJobResult", Fault::Instead(Reply::new(UNAVAILABLE, "restarts")));
    place.fault("WaitJobResult", Fault::Dropped);
    place.fault("WaitJobResult", Fault::CutOff);
    assert_eq!(proof(&prover.prove(&Attempt::default())), b"a proof of a block");
    assert!(prover.has_said("restarts"), "{:?}", prover.said);
    assert_eq!(place.jobs(), 1);
}

#[test]
fn what_the_service_says_of_a_failed_job_is_told() {
    let (place, mut prover) = start();
    for (status, kind, words) in [
        (failed_with(1, ""), "transient", "longer than the service allows"),
        (failed_with(2, "too short"), "permanent", "refuses the input: too short"),
        (failed_with(3, "panicked"), "permanent", "the guest failed: panicked"),
        (failed_with(4, "trace-7"), "transient", "trace-7"),
        (field(6, b""), "transient", "cancelled the job at the service"),
    ] {
        place.server.service().ends_as = Some(status);
        failed(&prover.prove(&Attempt::default()), kind, words);
    }
}

#[test]
fn a_proof_that_cannot_be_one_is_refused() {
    let (place, mut prover) = start();
    place.server.service().proof = |_| Vec::new();
    failed(&prover.prove(&Attempt::default()), "transient", "empty proof");
    place.server.service().proof = |_| vec![7; 100];
    let mut small = place.prover(&json!({"max_proof_bytes": 99}));
    failed(&small.prove(&Attempt::default()), "permanent", "100 bytes, and 99 are allowed");
    place.server.service().says_key = Some(vec![5; 32]);
    failed(&prover.prove(&Attempt::default()), "permanent", "its verification key is 0505");
    place.server.service().says_hash_id = Some("hash of another".into());
    failed(&prover.prove(&Attempt::default()), "permanent", "another program: hash of another");
}

#[test]
fn only_work_that_nobody_wants_is_cancelled_at_the_service() {
    let (place, mut prover) = start();
    place.server.service().polls = FOREVER;
    for (reason, cancelled) in [("lost", 0), ("stopping", 0), ("unwanted", 1)] {
        prover.begin(&Attempt::default());
        prover.says("proves");
        prover.cancel(reason);
        failed(&prover.answer(), "transient", "cancelled");
        assert_eq!(place.server.service().cancelled.len(), cancelled, "{reason}");
    }
}

#[test]
fn it_verifies_nothing_and_says_who_may() {
    let (_place, mut prover) = start();
    failed(&prover.verify(b"a proof", b"a block", None), "permanent", "verify = [...]");
}
