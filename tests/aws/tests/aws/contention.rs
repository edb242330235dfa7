//! Many at once: claims without a leader, and groups of a queue side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use proofyard_aws::queues::message::Message;
use proofyard_aws::serve::{Role, serve};
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::port::Port;
use proofyard_core::state::{Block, ChainName};

const WORKERS: usize = 500;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_workers_claim_in_three_tries_each() {
    let aws = LocalAws::without_functions();
    let split = PIPELINE.replace("strategy = \"match\"", "strategy = \"split\"");
    let split = split.replace("[prover.p]", "[stage.join]\nstrategy = \"match\"\nfrom = [\"block\", \"prove\"]\nprover = \"p\"\npool = \"cpu\"\n\n[prover.p]");
    let driver = Driver::with_pipeline(&aws, &split).await.patient(&aws);
    let wide = Block { segments: WORKERS as u32, ..block(1, "a", "a") };
    driver.home.yard.record_block(&named("c"), &wide).await.unwrap();
    driver.take_steps().await.unwrap();
    let workers: Vec<String> = (0..WORKERS).map(|n| format!("w{n}")).collect();
    iter(&workers).for_each_concurrent(16, |worker| driver.register(worker)).await;
    // Each has chosen its task before any of them takes one.
    let (all, chosen) = (Arc::new(tokio::sync::Barrier::new(WORKERS)), AtomicU64::new(0));
    driver.http.breaks(move |operation, _| {
        let first = || chosen.fetch_add(1, Ordering::SeqCst) < WORKERS as u64;
        match operation == "TransactWriteItems" && first() {
            true => Fate::Together(Arc::clone(&all)),
            false => Fate::Made,
        }
    });
    driver.http.take_counts();
    let taken = AtomicU64::new(0);
    let claims = iter(&workers).for_each_concurrent(None, |worker| {
        let (driver, taken) = (&driver, &taken);
        async move {
            let claim = format!("{:016x}", driver.home.yard.port.random());
            let request = ClaimRequest { worker: worker.as_str().into(), slot: 0, claim };
            match driver.home.yard.claim(&request).await.unwrap() {
                ClaimOutcome::Claimed(_) => _ = taken.fetch_add(1, Ordering::Relaxed),
                other => panic!("{other:?}"),
            }
        }
    });
    claims.await;
    let tries = driver.http.take_counts()["TransactWriteItems"];
    println!("{WORKERS} claims took {tries} tries");
    assert_eq!(taken.into_inner(), WORKERS as u64);
    assert!(tries <= 3 * WORKERS as u64, "{tries} tries for {WORKERS} claims");
}

/// Eight chains' messages are all being taken before any of them is done.
#[test]
fn eight_groups_go_side_by_side() {
    const GROUPS: usize = 8;
    let aws = LocalAws::without_functions();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let chains: Vec<ChainName> = (0..GROUPS).map(|n| named(&format!("chain{n}"))).collect();
    let driver = runtime.block_on(async {
        let driver = Driver::new(&aws).await;
        for chain in &chains {
            let text = PIPELINE.replace("name = \"c\"", &format!("name = \"{chain}\""));
            driver.home.yard.record_pipeline(&text).await.unwrap();
        }
        driver.take_steps().await.unwrap();
        for chain in &chains {
            let message = Message::Block { chain: chain.clone(), block: block(1, "a", "a") };
            driver.home.post(chain, chain.to_string(), &message).await.unwrap();
        }
        driver
    });
    let (all, began) = (Arc::new(tokio::sync::Barrier::new(GROUPS)), AtomicU64::new(0));
    driver.http.breaks(move |operation, body| {
        // The transaction that records a block: each waits here for the others.
        let records = operation == "TransactWriteItems" && body.contains("\"tip\"");
        match records && began.fetch_add(1, Ordering::SeqCst) < GROUPS as u64 {
            true => Fate::Together(Arc::clone(&all)),
            false => Fate::Made,
        }
    });
    // None of them is recorded before all of them are being taken.
    let recorded = || {
        chains.iter().all(|chain| {
            let tip = runtime.block_on(driver.home.yard.tip(chain));
            tip.is_ok_and(|tip| tip.height() == Some(1))
        })
    };
    let stop = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        scope.spawn(|| serve(&driver.home, runtime.handle(), &[Role::Dispatcher], GROUPS, &stop));
        let until = Instant::now() + Duration::from_secs(30);
        while !recorded() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        // Before anything panics, or nobody would end.
        stop.store(true, Ordering::Relaxed);
        recorded()
    });
    assert!(done, "eight groups were not taken side by side");
}
