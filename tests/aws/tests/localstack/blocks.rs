//! Blocks that come out of order and repeated leave as verified proofs, in order, through LocalStack's mappings and the
//! real functions, workers and provers; and the end of a job reaches the collector by LocalStack's rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::wait_for;
use proofyard_signature::sign;
use serde_json::{Value, json};

use crate::support::{lambda, recorded, run, said};

const BLOCKS: usize = 4;
/// As `localstack/start.sh` has it.
const SECRET: &[u8] = b"local-secret";
const CHAIN: &str = "demo";

fn examples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"))
}

/// What API Gateway would make of a sender's request: LocalStack has none. Requests of one second are one message.
fn send(aws: &LocalAws, line: &str, second: u64) {
    let timestamp = second.to_string();
    let headers = json!({
        "x-proofyard-timestamp": timestamp,
        "x-proofyard-signature": sign(SECRET, &timestamp, CHAIN, line.as_bytes()),
    });
    let request = json!({
        "version": "2.0",
        "rawPath": format!("/{CHAIN}"),
        "requestContext": { "http": { "method": "POST", "path": format!("/{CHAIN}") } },
        "headers": headers,
        "body": line,
        "isBase64Encoded": false,
    });
    let answer = lambda(aws, "POST", "ingest", "invocations", &request);
    assert_eq!(answer["statusCode"], 202, "{answer}");
}

pub fn blocks_in_any_order_become_proofs_in_order(aws: &LocalAws) {
    let here = tempfile::tempdir().unwrap();
    let chain = fs::read_to_string(examples().join("blocks/chain.jsonl")).unwrap();
    let lines: Vec<&str> = chain.lines().take(BLOCKS).collect();
    let file = here.path().join("blocks.jsonl");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let prove = |more: &[&str]| {
        let mut command = aws.program("proofyard");
        run(command.args(["run", "--aws", &aws.yard]).arg(examples().join("demo.toml")).args(more))
    };
    prove(&[]);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (place, height) in [3, 1, 1, 2].into_iter().enumerate() {
        send(aws, lines[height - 1], now_s - place as u64);
    }
    // Which sends all of them once more.
    let told = prove(&["--blocks", file.to_str().unwrap()]);
    assert!(told.contains(&format!("{BLOCKS} blocks committed")), "{told}");
    let recorded = recorded(aws, CHAIN);
    let new: Vec<u64> = recorded.iter().filter(|(_, known)| !known).map(|(height, _)| *height).collect();
    assert_eq!(new, [3, 1, 2, 4], "a chain's messages are taken in the order in which they were sent");
    assert!(recorded.contains(&(1, true)), "{recorded:?}");
    let all: Vec<u64> = (1..=BLOCKS as u64).collect();
    assert_eq!(verified(aws), all);
    let status =
        run(aws.program("proofyard").args(["status", "--json", "--chain", CHAIN, "--aws", &aws.yard]));
    let status: Value = serde_json::from_str(status.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&status["frontier"], &status["sinks"][0]["behind"]),
        (&json!(BLOCKS + 1), &json!(0)),
        "{status}"
    );
    the_end_of_a_job_is_told(aws);
}

/// Heights of what is committed, each verified again.
fn verified(aws: &LocalAws) -> Vec<u64> {
    let said = run(aws.program("proofyard").args(["verify", "--json", "--chain", CHAIN, "--aws", &aws.yard]));
    let rows = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let proofs = rows.filter(|row| row.get("artifact").is_some());
    proofs
        .inspect(|row| assert_eq!(row["verdict"], "verified", "{row}"))
        .map(|row| row["from"].as_u64().unwrap())
        .collect()
}

/// The stand-in for AWS Batch tells each change of a job's state; the yard's rule is to pick the ends, and send them to the
/// FIFO queue that the collector takes from.
fn the_end_of_a_job_is_told(aws: &LocalAws) {
    let queue = format!("proofyard-{}-cpu", aws.yard);
    let listed = aws.batch("/v1/listjobs", &json!({ "jobQueue": queue, "jobStatus": "RUNNING" }));
    let job = listed["jobSummaryList"][0]["jobId"].as_str().expect("a worker waits for more").to_owned();
    aws.batch("/v1/terminatejob", &json!({ "jobId": job, "reason": "a test" }));
    wait_for("the end of a job", || {
        let lines = said(aws, "collector");
        let ended = |line: &&Value| line["message"] == "its job is over" && line["job"] == *job;
        lines.iter().any(|line| ended(&line)).then_some(())
    });
    let lines = said(aws, "collector");
    let kinds: BTreeSet<_> = lines.iter().filter_map(|line| line.get("kind")).map(Value::to_string).collect();
    assert!(kinds.is_empty(), "the rule let through more than ends of jobs: {kinds:?}");
}
