//! A pool's workers as jobs: never more than it may have, whoever submits; none without end where none of them starts; and
//! no pipeline without its pools.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proofyard_aws::pools::jobs::Pools;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_aws_tests::wait_for;
use serde_json::{Value, json};

const MAX_WORKERS: usize = 3;

fn pools(aws: &LocalAws) -> Pools {
    let mut pools: Value = serde_json::from_str(&aws.environment["PROOFYARD_POOLS"]).unwrap();
    pools["cpu"]["max_workers"] = json!(MAX_WORKERS);
    serde_json::from_value(json!({ "cpu": pools["cpu"] })).unwrap()
}

/// What the pool's jobs do from now on.
fn jobs_run(aws: &LocalAws, command: &str) {
    let definition = json!({
        "jobDefinitionName": format!("proofyard-{}-cpu", aws.yard),
        "type": "container",
        "containerProperties": { "command": ["sh", "-c", command] },
    });
    aws.batch("/v1/registerjobdefinition", &definition);
}

fn jobs(aws: &LocalAws, status: &str) -> Vec<Value> {
    let queue = format!("proofyard-{}-cpu", aws.yard);
    let listed = aws.batch("/v1/listjobs", &json!({ "jobQueue": queue, "jobStatus": status }));
    listed["jobSummaryList"].as_array().unwrap().clone()
}

fn alive(aws: &LocalAws) -> usize {
    let states = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"];
    // One that moves meanwhile is in two answers.
    let jobs = states.into_iter().flat_map(|status| jobs(aws, status));
    jobs.map(|job| job["jobId"].to_string()).collect::<BTreeSet<_>>().len()
}

/// With more tasks than the pool may have workers.
async fn much_to_do(aws: &LocalAws) -> Driver {
    let driver = Driver::with_pools(aws, pools(aws)).await;
    driver.home.yard.record_pipeline(PIPELINE).await.unwrap();
    for height in 1..=8 {
        driver.home.yard.record_block(&named("c"), &block(height, "a", "a")).await.unwrap();
    }
    // Nobody but sweeps looks after workers.
    driver.http.breaks(|operation, _| match operation {
        "submitjob" => Fate::error("ClientException", "not now"),
        _ => Fate::Made,
    });
    driver.take_steps().await.unwrap();
    driver.http.works();
    driver
}

/// Each asks AWS Batch before any of them submits, and is told that there is nobody.
#[tokio::test]
async fn sandboxes_that_see_nobody_submit_no_more_than_the_pool_may_have() {
    let aws = LocalAws::without_functions();
    jobs_run(&aws, "sleep 600");
    let first = much_to_do(&aws).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Driver::with_pools(&aws, pools(&aws)).await);
    }
    let all: Vec<&Driver> = others.iter().chain([&first]).collect();
    for driver in &all {
        let nobody = json!({ "jobSummaryList": [] }).to_string();
        driver.http.breaks(move |operation, _| match operation {
            "listjobs" => Fate::Answered(200, nobody.clone()),
            _ => Fate::Made,
        });
    }
    let swept = futures_util::future::join_all(all.iter().map(|driver| driver.home.sweep())).await;
    swept.into_iter().for_each(|swept| swept.unwrap());
    assert_eq!(alive(&aws), MAX_WORKERS);
}

/// Also once AWS Batch lists what was submitted, and after one of them ended.
#[tokio::test]
async fn a_worker_that_ended_is_followed_by_another_one() {
    let aws = LocalAws::without_functions();
    jobs_run(&aws, "sleep 600");
    let driver = with_clock(much_to_do(&aws).await).0;
    driver.home.sweep().await.unwrap();
    assert_eq!(alive(&aws), MAX_WORKERS);
    wait_for("running jobs", || (jobs(&aws, "RUNNING").len() >= 2).then_some(()));
    let ended = jobs(&aws, "RUNNING")[0]["jobId"].as_str().unwrap().to_owned();
    // A worker of it was there, so that its end is no failed start.
    driver.home.remember_worker(&ended, &"w".into()).await.unwrap();
    aws.batch("/v1/terminatejob", &json!({ "jobId": ended, "reason": "a test" }));
    wait_for("the job's end", || (alive(&aws) < MAX_WORKERS).then_some(()));
    driver.pass(Duration::from_secs(15)).await;
    assert_eq!(alive(&aws), MAX_WORKERS);
}

/// A driver whose time a test moves.
struct Timed(Driver, Arc<AtomicU64>);

fn with_clock(mut driver: Driver) -> (Timed, Arc<AtomicU64>) {
    let ahead_ms = Arc::new(AtomicU64::new(0));
    let of_port = Arc::clone(&ahead_ms);
    driver.home.yard.port = driver.home.yard.port.clone().with_clock(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        now + of_port.load(Ordering::Relaxed)
    });
    (Timed(driver, Arc::clone(&ahead_ms)), ahead_ms)
}

impl std::ops::Deref for Timed {
    type Target = Driver;
    fn deref(&self) -> &Driver {
        &self.0
    }
}

impl Timed {
    /// And a tick comes.
    async fn pass(&self, time: Duration) {
        self.1.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
        self.0.home.sweep().await.unwrap();
    }
}

/// How many jobs were submitted meanwhile.
fn count_submitted(driver: &Driver) -> Arc<Mutex<usize>> {
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    driver.http.breaks(move |operation, _| {
        *counted.lock().unwrap() += usize::from(operation == "submitjob");
        Fate::Made
    });
    count
}

fn run(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// Such as an image whose program is for another machine.
#[tokio::test]
async fn a_pool_whose_jobs_end_before_they_register_waits_longer_each_time_and_says_why() {
    let aws = LocalAws::without_functions();
    jobs_run(&aws, "exit 42");
    let (driver, _) = with_clock(much_to_do(&aws).await);
    let submitted = count_submitted(&driver);
    driver.pass(Duration::ZERO).await;
    // Ticks of 15 s, for half an hour.
    for _ in 0..120 {
        wait_for("the jobs' end", || (alive(&aws) == 0).then_some(()));
        driver.pass(Duration::from_secs(15)).await;
    }
    // At once; and after about 30 s, 1 min, 2, 4, 8 and 16 min one that tries.
    let submitted_in_half_an_hour = *submitted.lock().unwrap();
    assert!(submitted_in_half_an_hour <= MAX_WORKERS + 6, "{submitted_in_half_an_hour} jobs were submitted");
    assert!(submitted_in_half_an_hour >= MAX_WORKERS + 4, "{submitted_in_half_an_hour} jobs were submitted");
    let mut status = aws.program("proofyard");
    status.args(["status", "--aws", &aws.yard]);
    let (code, said) = run(status);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("of pool cpu ended before they registered"), "{said}");
    assert!(said.contains("exit code 42"), "{said}");
    let mut status = aws.program("proofyard");
    status.args(["status", "--json", "--aws", &aws.yard]);
    let (_, said) = run(status);
    let said: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let trouble = &said["start_troubles"][0];
    assert_eq!((&trouble["pool"], trouble["rounds"].as_u64() >= Some(5)), (&json!("cpu"), true), "{said}");
    // What is mended is found out by the next that tries, and then all come.
    jobs_run(&aws, "sleep 600");
    driver.pass(Duration::from_secs(3_600)).await;
    assert_eq!(alive(&aws), 1);
    driver.pass(Duration::from_secs(15)).await;
    assert_eq!(alive(&aws), 1, "it may still turn out as the others did");
    let running = wait_for("the job's start", || jobs(&aws, "RUNNING").pop());
    driver.home.remember_worker(running["jobId"].as_str().unwrap(), &"w".into()).await.unwrap();
    driver.pass(Duration::from_secs(15)).await;
    assert_eq!(alive(&aws), MAX_WORKERS);
    let mut status = aws.program("proofyard");
    status.args(["status", "--aws", &aws.yard]);
    let (_, said) = run(status);
    assert!(!said.contains("registered"), "{said}");
}

fn run_pipeline(aws: &LocalAws, text: &str, more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = aws.program("proofyard");
    command.arg("run").arg(&file).args(["--aws", &aws.yard]).args(more);
    run(command)
}

#[test]
fn a_pipeline_whose_pools_are_not_there_is_refused_by_name() {
    let aws = LocalAws::without_functions();
    let elsewhere = PIPELINE.replace("cpu", "tpu");
    let (code, said) = run_pipeline(&aws, &elsewhere, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("[pool.tpu] is not deployed in yard test"), "{said}");
    // The local yard's pool gpu has 4.
    let gpus = |slots, gpus| {
        let pool = format!("[pool.gpu]\nslots = {slots}\ngpus_per_slot = {gpus}");
        PIPELINE.replace("\"cpu\"", "\"gpu\"").replace("[pool.cpu]\nslots = 1", &pool)
    };
    let (code, said) = run_pipeline(&aws, &gpus(3, 2), &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("[pool.gpu] has 3 slots of 2 GPUs, 6 in all, and a worker of it has 4"), "{said}");
    let mut status = aws.program("proofyard");
    status.args(["status", "--aws", &aws.yard]);
    let (_, said) = run(status);
    assert!(said.contains("has no chain yet"), "{said}");
    let (code, said) = run_pipeline(&aws, &gpus(2, 2), &[]);
    assert_eq!(code, Some(0), "{said}");
    let other = elsewhere.replace("name = \"c\"", "name = \"d\"");
    let (code, said) = run_pipeline(&aws, &other, &["--own-workers", "tpu"]);
    assert_eq!(code, Some(0), "{said}");
}
