//! What a task costs its slot on the local AWS besides proving, and how much of that is the local AWS.
//!
//! One worker claims, stores and records; its prover takes no time. Run with
//! `cargo bench --workspace --exclude proofyard-simulation --exclude proofyard-baselines --bench overhead`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark tells what it measured")]

use std::time::{Duration, Instant};

use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;

const BLOCKS: u64 = 300;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, &PIPELINE.replace("window = 8", "window = 512")).await;
    driver.register("w").await;
    for height in 1..=BLOCKS {
        driver.home.yard.record_block(&named("c"), &block(height, "a", "a")).await.unwrap();
    }
    // Until all are listed.
    while driver.home.yard.waiting_tasks("cpu", BLOCKS as usize).await.unwrap() < BLOCKS as usize {
        driver.take_steps().await.unwrap();
        driver.drain_all().await;
    }
    let mut overheads = Vec::new();
    let mut elsewhere = Vec::new();
    driver.http.take_time();
    driver.http.take_counts();
    for _ in 0..BLOCKS {
        let began = Instant::now();
        assert!(driver.work("w").await.unwrap());
        // Whoever records tells the collector, and does not wait for it.
        driver.home.deliver().await;
        overheads.push(began.elapsed());
        elsewhere.push(driver.http.take_time());
    }
    let calls: u64 = driver.http.take_counts().values().sum();
    println!("{BLOCKS} tasks, {:.1} calls each, one at a time", calls as f64 / BLOCKS as f64);
    println!("overhead of a task       {}", quantiles(&mut overheads));
    println!("of which the local AWS   {}", quantiles(&mut elsewhere));
}

fn quantiles(samples: &mut [Duration]) -> String {
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    format!("P50 {:6.1} ms   P99 {:6.1} ms", at(0.5), at(0.99))
}
