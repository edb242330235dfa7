//! SP1's cluster: gRPC, ids of ours, artifacts in Redis.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::redis::Redis;
use crate::server::{Fault, Reply, Server};
use crate::services::sp1_cluster::{CANCELLED, Ended, FAILED, INTERNAL, Sp1Cluster, UNAVAILABLE};
use crate::services::{content, number};
use crate::yard::{Attempt, Prover, TOKEN, failed, proof};

const FOREVER: u32 = u32::MAX;
const CALL: &str = "POST /cluster.ClusterService/";

/// A cluster, and the arguments for it.
struct Place {
    server: Server<Sp1Cluster>,
    redis: Arc<Redis>,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("guest.elf"), "an ELF").unwrap();
        let redis = Arc::new(Redis::start());
        Place { server: Server::start_grpc(Sp1Cluster::new(Arc::clone(&redis))), redis, folder }
    }

    fn arguments(&self, more: &Value) -> Value {
        let mut arguments = json!({"protocol": "sp1-cluster", "endpoint": self.server.endpoint, "elf": "guest.elf",
            "redis": self.redis.url, "poll_ms": 10, "token_from": TOKEN.0});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    }

    fn start(&self) -> Prover {
        Prover::start_with(&["--files", self.folder.path().to_str().unwrap()])
    }

    fn prover(&self, more: &Value) -> Prover {
        let mut prover = self.start();
        let about = prover.setup(&self.arguments(more));
        assert!(about["ok"].is_object(), "{about}");
        prover
    }

    fn fault(&self, method: &str, fault: Fault) {
        self.server.fault(&format!("{CALL}{method}"), fault);
    }

    fn jobs(&self) -> usize {
        self.server.service().creates.len()
    }

    fn ends_as(&self, status: u64, execution: Vec<u8>, extra_data: &'static str) {
        self.server.service().ends_as = Some(Ended { status, execution, extra_data });
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
    assert_eq!(proof(&prover.prove(&Attempt::default())), b"a proof of a block");
    assert!(prover.has_said("in work"), "{:?}", prover.said);
    assert!(prover.checkpoint.is_none(), "its id can be found again");
    let create = place.server.service().creates[0].clone();
    let text = |field| String::from_utf8(content(&create, field).unwrap()).unwrap();
    assert_eq!(text(4), "2", "compressed");
    let job = text(1);
    assert_eq!((text(3), text(5)), (format!("{job}-stdin"), format!("{job}-proof")));
    let until = Duration::from_secs(u64::from_be_bytes(content(&create, 7).unwrap().try_into().unwrap()));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(until > now && until < now + Duration::from_secs(4 * 3600 + 1));
    assert_eq!(content(&create, 8).unwrap(), u64::MAX.to_be_bytes());
    let redis = place.redis.state();
    let elf = redis.artifact(&text(2)).unwrap();
    assert_eq!(elf, [&6_u64.to_le_bytes()[..], b"an ELF"].concat(), "as bincode has bytes");
    assert_eq!(redis.expires.get(&text(3)), Some(&(6 * 3600)));
    assert_eq!(redis.expires.get(&text(2)), None, "programs stay");
    let token = format!("Bearer {}", TOKEN.1);
    assert!(place.server.asked("").iter().all(|asked| asked.headers["authorization"] == token));
}

#[test]
fn the_program_is_brought_once_and_again_where_it_is_not_kept() {
    let (place, mut prover) = start();
    let puts = || {
        place.redis.state().asked.iter().filter(|asked| asked.starts_with("SET proofyard-program-")).count()
    };
    for task in ["t1", "t2"] {
        proof(&prover.prove(&Attempt { task, ..Attempt::default() }));
    }
    assert_eq!(puts(), 1);
    let program = place.redis.state().ids().into_iter().find(|id| id.starts_with("proofyard-program-"));
    place.redis.state().forget(&program.unwrap());
    proof(&prover.prove(&Attempt { task: "t3", ..Attempt::default() }));
    assert_eq!(puts(), 2);
}

#[test]
fn large_inputs_and_proofs_come_through_whole() {
    let (place, mut prover) = start();
    place.server.service().proof = |input| input.repeat(3);
    let input: Vec<u8> = (0..3_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let attempt = Attempt { input: input.clone(), ..Attempt::default() };
    assert!(proof(&prover.prove(&attempt)) == input.repeat(3));
    // As the cluster keeps them where they are larger still.
    place.server.service().piece_bytes = Some(1 << 20);
    let second = Attempt { task: "t2", ..attempt };
    assert!(proof(&prover.prove(&second)) == input.repeat(3));
    // They are found again, also those of an older cluster.
    assert!(proof(&prover.prove(&second.again(None))) == input.repeat(3));
    place.redis.state().forget_numbers_of_pieces();
    assert!(proof(&prover.prove(&second.again(None))) == input.repeat(3));
    assert_eq!(place.jobs(), 2);
}

#[test]
fn deadlines_that_no_job_can_have_are_refused() {
    let (place, _) = start();
    for deadline_s in [0, 2_592_001, i64::MAX] {
        let arguments = place.arguments(&json!({ "deadline_s": deadline_s }));
        failed(&place.start().setup(&arguments), "permanent", "`deadline_s` must be 1 to 2592000");
    }
}

#[test]
fn what_keeps_a_job_from_starting_is_unavailable() {
    let (place, mut prover) = start();
    place.fault("ProofRequestCreate", Fault::Instead(Reply::new(UNAVAILABLE, "no database")));
    failed(&prover.prove(&Attempt::default()), "unavailable", "no database");
    place.fault("ProofRequestGet", Fault::Instead(Reply::new(INTERNAL, "Failed to get")));
    failed(&prover.prove(&Attempt::default()), "unavailable", "Failed to get");
    place.fault("ProofRequestCreate", Fault::Instead(Reply::new(3, "no such mode")));
    failed(&prover.prove(&Attempt::default()), "permanent", "no such mode");
    place.redis.state().says = Some("LOADING the dataset is read");
    failed(&prover.prove(&Attempt::default()), "unavailable", "the dataset is read");
    place.redis.state().says = Some("OOM command not allowed");
    failed(&prover.prove(&Attempt::default()), "unavailable", "command not allowed");
    place.redis.state().is_down = true;
    failed(&prover.prove(&Attempt::default()), "unavailable", "the cluster's Redis at 127.0.0.1");
    failed(&place.start().setup(&place.arguments(&json!({}))), "unavailable", "the cluster's Redis at");
    let nobody = place.arguments(&json!({"endpoint": "http://127.0.0.1:1"}));
    failed(&place.start().setup(&nobody), "unavailable", "127.0.0.1:1");
    assert_eq!(place.jobs(), 0);
}

#[test]
fn a_lost_answer_costs_nothing() {
    let (place, mut prover) = start();
    for (task, fault) in [("t1", Fault::Lost), ("t2", Fault::CutOff)] {
        place.fault("ProofRequestCreate", fault);
        proof(&prover.prove(&Attempt { task, ..Attempt::default() }));
    }
    assert_eq!(place.jobs(), 2);
    // The call itself was lost.
    place.fault("ProofRequestCreate", Fault::Dropped);
    let third = Attempt { task: "t3", ..Attempt::default() };
    failed(&prover.prove(&third), "unavailable", "the job was not created");
    proof(&prover.prove(&third.again(None)));
    assert_eq!(place.jobs(), 3);
}

#[test]
fn a_prover_that_is_killed_finds_its_job_again() {
    let (place, mut prover) = start();
    place.server.service().polls = FOREVER;
    prover.begin(&Attempt::default());
    prover.says("in work");
    prover.kill();
    let mut second = place.prover(&json!({}));
    second.begin(&Attempt::default().again(None));
    second.says("in work");
    place.server.service().finish();
    assert_eq!(proof(&second.answer()), b"a proof of a block");
    // A proof that was made while nobody waited for it is there as well.
    proof(&place.prover(&json!({})).prove(&Attempt::default().again(None)));
    assert_eq!(place.jobs(), 1);
}

#[test]
fn a_job_that_has_ended_is_followed_by_another_one() {
    let (place, mut prover) = start();
    place.ends_as(FAILED, Vec::new(), "");
    failed(&prover.prove(&Attempt::default()), "transient", "the service says: nothing");
    place.server.service().ends_as = None;
    proof(&prover.prove(&Attempt::default().again(None)));
    assert_eq!(place.jobs(), 2);
    // Redis keeps proofs for some hours.
    let proofs: Vec<String> =
        place.redis.state().ids().into_iter().filter(|id| id.ends_with("-proof")).collect();
    proofs.iter().for_each(|id| place.redis.state().forget(id));
    proof(&prover.prove(&Attempt::default().again(None)));
    assert_eq!(place.jobs(), 3);
    let ids: Vec<_> = place.server.service().creates.iter().map(|create| content(create, 1)).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

/// The cluster passes over such a job, and leaves it as it is.
#[test]
fn a_job_whose_deadline_is_over_is_not_waited_for() {
    let (place, mut prover) = start();
    place.server.service().polls = FOREVER;
    prover.begin(&Attempt::default());
    prover.says("in work");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // Clocks differ, so that it is not believed at once.
    place.server.service().deadline_was(now - 10);
    assert!(!prover.is_done_within(Duration::from_millis(200)));
    place.server.service().deadline_was(now - 100);
    failed(&prover.answer(), "transient", "has not proved it before its deadline");
    place.server.service().polls = 2;
    proof(&prover.prove(&Attempt::default().again(None)));
    assert_eq!(place.jobs(), 2);
}

#[test]
fn what_the_service_says_of_a_failed_job_is_told() {
    let (place, mut prover) = start();
    let executed = |cause| [number(1, 3), number(2, cause), number(3, 500)].concat();
    let situations: [(u64, Vec<u8>, &'static str, &str, &str); 7] = [
        (FAILED, executed(1), "", "permanent", "an exit code other than 0"),
        (FAILED, executed(5), "", "permanent", "more cycles than `cycle_limit`"),
        (
            FAILED,
            Vec::new(),
            r#"{"status":3,"failure_cause":2,"cycles":9}"#,
            "permanent",
            "memory that it must not",
        ),
        (
            FAILED,
            Vec::new(),
            r#"{"proving_failure":{"task_type":"ProveShard","reason":"a GPU is gone"}}"#,
            "transient",
            "the service says: a GPU is gone",
        ),
        (
            FAILED,
            Vec::new(),
            r#"{"proving_failure":{"task_type":"Controller","reason":"cycle limit exceeded: 900 > 500"}}"#,
            "permanent",
            "cycle limit exceeded: 900 > 500",
        ),
        (FAILED, Vec::new(), "no JSON", "transient", "the service says: no JSON"),
        (CANCELLED, Vec::new(), "", "transient", "cancelled the job at the service"),
    ];
    for (status, execution, extra_data, kind, words) in situations {
        place.ends_as(status, execution, extra_data);
        failed(&prover.prove(&Attempt::default()), kind, words);
    }
    assert_eq!(place.jobs(), 7);
}

#[test]
fn trouble_while_a_job_is_in_work_is_waited_out() {
    let (place, mut prover) = start();
    place.server.service().polls = FOREVER;
    prover.begin(&Attempt::default());
    prover.says("in work");
    place.fault("ProofRequestGet", Fault::Instead(Reply::new(UNAVAILABLE, "restarts")));
    place.fault("ProofRequestGet", Fault::Dropped);
    place.fault("ProofRequestGet", Fault::CutOff);
    prover.says("restarts");
    place.server.service().finish();
    // Its proof is there before Redis answers again.
    prover.says("fetches the proof");
    assert_eq!(proof(&prover.answer()), b"a proof of a block");
    assert_eq!(place.jobs(), 1);
}

#[test]
fn a_job_that_the_service_has_forgotten_is_submitted_once_more() {
    let (place, mut prover) = start();
    place.server.service().polls = FOREVER;
    prover.begin(&Attempt::default());
    prover.says("in work");
    place.server.service().restart();
    prover.says("submits the task again");
    prover.says("in work");
    place.server.service().finish();
    proof(&prover.answer());
    assert_eq!(place.jobs(), 2);
}

#[test]
fn a_proof_that_cannot_be_one_is_refused() {
    let (place, mut prover) = start();
    place.server.service().proof = |_| Vec::new();
    failed(&prover.prove(&Attempt::default()), "transient", "empty proof");
    place.server.service().proof = |_| vec![7; 100];
    let mut small = place.prover(&json!({"max_proof_bytes": 99}));
    failed(
        &small.prove(&Attempt { task: "t2", ..Attempt::default() }),
        "permanent",
        "more than the 99 bytes",
    );
    place.server.service().says_program = Some("another");
    failed(
        &prover.prove(&Attempt { task: "t3", ..Attempt::default() }),
        "permanent",
        "another program: another",
    );
    place.server.service().says_program = None;
    place.server.service().polls = 0;
    let fourth = Attempt { task: "t4", ..Attempt::default() };
    proof(&prover.prove(&fourth));
    let id = String::from_utf8(content(place.server.service().creates.last().unwrap(), 5).unwrap()).unwrap();
    place.redis.state().break_artifact(&id);
    failed(&prover.prove(&fourth.again(None)), "transient", "the proof is cut off each time");
}

#[test]
fn only_work_that_nobody_wants_is_cancelled_at_the_service() {
    let (place, mut prover) = start();
    place.server.service().polls = FOREVER;
    for (reason, cancelled) in [("lost", 0), ("stopping", 0), ("unwanted", 1)] {
        prover.begin(&Attempt::default());
        prover.says("in work");
        prover.cancel(reason);
        failed(&prover.answer(), "transient", "cancelled");
        assert_eq!(place.server.service().cancelled.len(), cancelled, "{reason}");
    }
    assert_eq!(place.jobs(), 1);
}

#[test]
fn where_artifacts_are_is_said_without_a_password() {
    let place = Place::new();
    let refused = |more: Value, words: &str| {
        failed(&place.start().setup(&place.arguments(&more)), "permanent", words);
    };
    refused(
        json!({"redis": "redis://:word@127.0.0.1:1"}),
        "name the variable that holds the addresses, `redis_from`",
    );
    refused(json!({"redis": "rediss://127.0.0.1:1"}), "addresses that begin with redis://");
    refused(json!({"redis": format!("{},", place.redis.url)}), "separated by commas");
    refused(json!({"redis_from": TOKEN.0}), "`redis` and `redis_from` say the same");
    refused(json!({"mode": "stark"}), "must be one of core, compressed, plonk, groth16");
    let mut arguments = place.arguments(&json!({}));
    arguments.as_object_mut().unwrap().remove("redis");
    failed(&place.start().setup(&arguments), "permanent", "`redis` is missing");
    arguments["redis_from"] = json!("NOT_SET_HERE");
    failed(
        &place.start().setup(&arguments),
        "permanent",
        "NOT_SET_HERE, which `redis_from` names, is not set",
    );
}

#[test]
fn it_verifies_nothing_and_says_who_may() {
    let (_place, mut prover) = start();
    failed(&prover.verify(b"a proof", b"a block", None), "permanent", "verify = [...]");
}
