//! What a yard costs, computed from its calls: docs/aws.md has these very tables. `PROOFYARD_WRITE_COSTS=1` writes them there.

use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofyard_aws::intake::authentication::Request;
use proofyard_aws::pools::jobs::Pools;
use proofyard_aws_tests::driver::{Driver, PIPELINE};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::usage::Usage;
use proofyard_core::port::Port;
use proofyard_signature::sign;
use serde_json::Value;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/aws.md");
const BEGIN: &str = "<!-- computed: tests/aws/tests/aws/costs.rs -->\n";
const END: &str = "<!-- end -->\n";

// List prices of us-east-1, in USD for a million.
const READ_UNITS: f64 = 0.125;
const WRITE_UNITS: f64 = 0.625;
const OBJECT_PUTS: f64 = 5.0;
const OBJECT_GETS: f64 = 0.4;
const FIFO_REQUESTS: f64 = 0.5;
const STANDARD_REQUESTS: f64 = 0.4;
const FUNCTION_CALLS: f64 = 0.2;
const GB_SECONDS: f64 = 16.67;
const WEBHOOK_REQUESTS: f64 = 1.0;
// In USD a month.
const ALARM: f64 = 0.1;
const COMPOSITE_ALARM: f64 = 0.5;
const METRIC: f64 = 0.3;
const DASHBOARD: f64 = 3.0;
const KEY: f64 = 1.0;
/// Of the webhook, of nodes, and of sinks.
const SECRETS: f64 = 3.0 * SECRET;
const SECRET: f64 = 0.4;

const MINUTES_A_MONTH: f64 = 43_200.0;
/// A function's 256 MB for so long, and the sweeper's 512 MB: assumed, since only AWS would tell.
const FUNCTION_S: f64 = 0.1;
const SWEEP_S: f64 = 0.3;
/// Lambda polls a queue with five pollers, each of which waits 20 s for a message.
const POLLS_A_MINUTE: f64 = 15.0;

/// The rows of the table, each with its name.
struct Row {
    name: &'static str,
    usage: Usage,
    /// What Lambda takes from a queue for it: a receive and a delete.
    messages: u64,
    functions: u64,
    webhook: u64,
}

impl Row {
    /// Of a million such steps.
    fn usd(&self) -> f64 {
        let Usage { half_reads, writes, object_puts, object_gets, queue_requests, .. } = &self.usage;
        let each = |count: u64, price: f64| count as f64 * price;
        each(*half_reads, READ_UNITS / 2.0)
            + each(*writes, WRITE_UNITS)
            + each(*object_puts, OBJECT_PUTS)
            + each(*object_gets, OBJECT_GETS)
            + each(*queue_requests + 2 * self.messages, FIFO_REQUESTS)
            + each(self.functions, FUNCTION_CALLS + FUNCTION_S * 0.25 * GB_SECONDS)
            + each(self.webhook, WEBHOOK_REQUESTS)
    }
}

fn request(line: &str, at_s: u64) -> Request {
    let timestamp = at_s.to_string();
    let signature = sign(b"secret", &timestamp, "c", line.as_bytes());
    Request {
        chain: "c".into(),
        timestamp: Some(timestamp),
        signature: Some(signature),
        body: line.as_bytes().to_vec(),
    }
}

/// A block of one task, in a pool whose workers record only: the third, when all is warm.
async fn a_block(aws: &LocalAws) -> Vec<Row> {
    let driver = Driver::with_pipeline(aws, PIPELINE).await;
    driver.register("w").await;
    let blocks = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/blocks/chain.jsonl");
    let blocks = fs::read_to_string(blocks).unwrap();
    let usage = Usage::watch(&driver.http);
    let mut rows = Vec::new();
    for line in blocks.lines().take(3) {
        Usage::take(&usage);
        let at_s = driver.home.yard.port.now_ms() / 1_000;
        let response = driver.home.ingest(&request(line, at_s), &[b"secret".to_vec()]).await;
        assert_eq!(response.status, 202, "{response:?}");
        let ingest = Usage::take(&usage);
        let row = |name, usage, messages, functions| Row { name, usage, messages, functions, webhook: 0 };
        let recorded = taken(&driver, &usage, &driver.home.names.blocks_queue()).await;
        assert!(driver.work("w").await.unwrap());
        driver.home.deliver().await;
        let worker = Usage::take(&usage);
        let committed = taken(&driver, &usage, &driver.home.names.results_queue()).await;
        rows = vec![
            Row { webhook: 1, ..row("ingest", ingest, 0, 1) },
            row("dispatcher", recorded.0, recorded.1, 1),
            row("worker, each task", worker, 0, 0),
            row("collector", committed.0, committed.1, 1),
        ];
    }
    assert_eq!(driver.committed("c").await.len(), 3);
    rows
}

/// What a function does with what is on its queue; polling is Lambda's.
async fn taken(driver: &Driver, usage: &std::sync::Mutex<Usage>, queue: &str) -> (Usage, u64) {
    let (mut all, mut messages) = (Usage::default(), 0);
    loop {
        let received = driver.home.queues.receive(queue, 0).await.unwrap();
        if received.is_empty() {
            Usage::take(usage);
            return (all, messages);
        }
        Usage::take(usage);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        assert!(driver.home.take_batch(queue, &received, until).await.is_empty());
        all += &Usage::take(usage);
        messages += received.len() as u64;
        let done: Vec<_> = received.iter().collect();
        driver.home.queues.delete(queue, &done).await.unwrap();
    }
}

/// A minute of a yard whose blocks are all committed: its ticks sent, and each of them taken.
async fn a_minute_at_rest(aws: &LocalAws) -> (Usage, u64) {
    let mut pools: Pools = serde_json::from_str(&aws.environment["PROOFYARD_POOLS"]).unwrap();
    pools.retain(|pool, _| pool == "cpu");
    let mut driver = Driver::with_pools(aws, pools).await;
    let ahead_ms = Arc::new(AtomicU64::new(0));
    let of_port = Arc::clone(&ahead_ms);
    let port = driver.home.yard.port.clone();
    let real = port.clone();
    driver.home.yard.port = port.with_clock(move || real.now_ms() + of_port.load(Ordering::Relaxed));
    let usage = Usage::watch(&driver.http);
    let mut minute = (Usage::default(), 0);
    // Those before it end what the blocks left to do.
    for _ in 0..12 {
        Usage::take(&usage);
        let ticks = driver.home.send_ticks().await.unwrap() as u64;
        assert_eq!(driver.home.send_follow_ticks().await.unwrap(), 0, "it follows no node");
        for _ in 0..ticks {
            ahead_ms.fetch_add(60_000 / ticks, Ordering::Relaxed);
            driver.home.sweep().await.unwrap();
        }
        minute = (Usage::take(&usage), ticks);
    }
    minute
}

/// Alarms of a yard with one pool and no proposer, as `dev` has it: those that are there for each pool once; the composite ones;
/// and those that a proposer adds.
fn alarms() -> (usize, usize, usize) {
    let template = include_str!("../../../../localstack/templates/observability.json");
    let template: Value = serde_json::from_str(template).unwrap();
    let resources = template["Resources"].as_object().unwrap();
    let of = |kind: &str| resources.values().filter(|resource| resource["Type"] == kind).collect::<Vec<_>>();
    let name = |alarm: &Value| alarm["Properties"]["AlarmName"].as_str().unwrap_or_default().to_owned();
    let alarms = of("AWS::CloudWatch::Alarm");
    let one_pool = alarms.iter().filter(|alarm| {
        !["-gpu", "-gpu8", "-gpu-dead", "-gpu8-dead"].iter().any(|end| name(alarm).ends_with(end))
    });
    let (of_proposer, own): (Vec<&Value>, Vec<&Value>) =
        one_pool.partition(|alarm| name(alarm).contains("-propose"));
    (own.len(), of("AWS::CloudWatch::CompositeAlarm").len(), of_proposer.len())
}

/// Custom metrics of a yard with one chain, pool and sink: each under its dimensions, and under the yard alone.
const METRICS: usize = 2 * (1 + 8 + 1) + 2 * 2 + 2 * (4 + 2) + 2;

fn tables(rows: &[Row], minute: &Usage, ticks: u64) -> String {
    let mut text = String::from(
        "| step | calls | read units | write units | S3 PUT | SQS requests | USD a million |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let Usage { calls, half_reads, writes, object_puts, queue_requests, .. } = &row.usage;
        let (reads, queues) = (*half_reads as f64 / 2.0, queue_requests + 2 * row.messages);
        let (name, usd) = (row.name, row.usd());
        writeln!(text, "| {name} | {calls} | {reads} | {writes} | {object_puts} | {queues} | {usd:.1} |")
            .unwrap();
    }
    let all: f64 = rows.iter().map(Row::usd).sum();
    writeln!(text, "| **a block of one task** | | | | | | **{all:.1}** |\n").unwrap();
    let reads = minute.half_reads as f64 / 2.0;
    let monthly = |count: f64, price: f64| count * MINUTES_A_MONTH * price / 1e6;
    let table = monthly(reads, READ_UNITS) + monthly(minute.writes as f64, WRITE_UNITS);
    let ticks_sent = minute.queue_requests as f64 + 2.0 * ticks as f64;
    let polls =
        2.0 * monthly(POLLS_A_MINUTE, STANDARD_REQUESTS) + 3.0 * monthly(POLLS_A_MINUTE, FIFO_REQUESTS);
    let queues = monthly(ticks_sent, STANDARD_REQUESTS) + polls;
    let sweeps = 1.0 + ticks as f64;
    // The follower is asked for its ticks.
    let calls = sweeps + 1.0;
    let functions = monthly(sweeps, FUNCTION_CALLS + SWEEP_S * 0.5 * GB_SECONDS)
        + monthly(1.0, FUNCTION_CALLS + FUNCTION_S * 0.25 * GB_SECONDS);
    let (alarms, composites, of_proposer) = alarms();
    let watched =
        alarms as f64 * ALARM + composites as f64 * COMPOSITE_ALARM + METRICS as f64 * METRIC + DASHBOARD;
    text.push_str("| a month at rest | counted | USD |\n| --- | --- | --- |\n");
    let mut row =
        |what: &str, counted: String, usd: f64| writeln!(text, "| {what} | {counted} | {usd:.2} |").unwrap();
    row("DynamoDB", format!("{reads} read units and {} write units a minute", minute.writes), table);
    row(
        "SQS",
        format!("{ticks_sent} requests a minute for {ticks} ticks, and Lambda's polls of five queues"),
        queues,
    );
    row("Lambda", format!("{calls} calls a minute"), functions);
    row("calls, in all", String::new(), table + queues + functions);
    row("key and secrets", String::new(), KEY + SECRETS);
    row("CloudWatch", format!("{alarms} alarms, {METRICS} metrics, the dashboard"), watched);
    row("**all**", String::new(), table + queues + functions + KEY + SECRETS + watched);
    let its_polls = monthly(POLLS_A_MINUTE, FIFO_REQUESTS);
    row(
        "a proposer, where there is one",
        format!("{of_proposer} alarms, a secret, and Lambda's polls of its queue"),
        of_proposer as f64 * ALARM + SECRET + its_polls,
    );
    text
}

#[tokio::test]
async fn the_docs_say_what_the_calls_cost() {
    let aws = LocalAws::without_functions();
    let rows = a_block(&aws).await;
    let (minute, ticks) = a_minute_at_rest(&aws).await;
    println!("{minute:?}");
    let computed = tables(&rows, &minute, ticks);
    let docs = fs::read_to_string(DOCS).unwrap();
    let (before, rest) = docs.split_once(BEGIN).expect("docs/aws.md has a place for the tables");
    let (said, after) = rest.split_once(END).unwrap();
    if std::env::var_os("PROOFYARD_WRITE_COSTS").is_some() {
        fs::write(DOCS, format!("{before}{BEGIN}\n{computed}\n{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        said.trim(),
        computed.trim(),
        "docs/aws.md is not what the calls cost: PROOFYARD_WRITE_COSTS=1 mends it"
    );
}
