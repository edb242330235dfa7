//! Calls to AWS on a block's way, counted: they may only go down.

use std::collections::BTreeMap;

use proofyard_aws::queues::message::{Event, Message};
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::Wake;
use proofyard_core::committed::CommittedProof;
use proofyard_core::judge::{JUDGE_POOL, Judged, Verifies};
use proofyard_core::port::Port;
use proofyard_core::work::AttemptError;

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// The same, where a judge looks at its proof.
#[tokio::test]
async fn a_judged_block_takes_so_many_calls_more() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await.judged();
    driver.register("w").await;
    let mut counted = Vec::new();
    for height in 1..=3 {
        driver.home.yard.record_block(&named("c"), &block(height, "a", "a")).await.unwrap();
        driver.take_steps().await.unwrap();
        assert!(driver.work("w").await.unwrap());
        driver.home.deliver().await;
        let functions = async || {
            driver.http.take_counts();
            driver.drain(&driver.home.names.results_queue()).await;
            let mut counts = driver.http.take_counts();
            counts.retain(|name, _| !name.starts_with("ReceiveMessage") && !name.starts_with("Delete"));
            counts
        };
        let collected = functions().await;
        let queue = driver.home.names.wake_queue(JUDGE_POOL);
        let told = driver.home.queues.receive(&queue, 1).await.unwrap();
        assert_eq!(told.len(), 1);
        driver.home.queues.delete(&queue, &[&told[0]]).await.unwrap();
        let Event::Message(told) = Event::read(&told[0].body).unwrap() else { panic!("{told:?}") };
        let Message::Wake(Wake::Judge { task }) = *told else { panic!("{told:?}") };
        driver.http.take_counts();
        let judged = driver.home.begin().home.yard.judge(&mut Judge, "j", &task).await.unwrap();
        assert_eq!(judged, Judged::Stands);
        driver.home.deliver().await;
        let judge = driver.http.take_counts();
        let committed = functions().await;
        counted = vec![("collector", collected), ("judge", judge), ("collector again", committed)];
    }
    assert_eq!(driver.committed("c").await.len(), 3);
    for (step, counts) in &counted {
        println!("{step}: {} calls {counts:?}", sum(counts));
    }
    let most = [("collector", 9), ("judge", 6), ("collector again", 22)];
    for ((step, counts), (_, most)) in counted.iter().zip(most) {
        assert!(sum(counts) <= most, "{step}: {} calls, and {most} are the most: {counts:?}", sum(counts));
    }
}

/// A verifier that makes no calls.
struct Judge;

impl Verifies for Judge {
    async fn verify(&mut self, proof: &CommittedProof) -> Result<Option<String>, AttemptError> {
        Ok(proof.proof.public_values.clone())
    }
}

/// A block of one task, in a pool whose workers record only, with nothing else going on.
#[tokio::test]
async fn a_block_takes_so_many_calls_and_no_more() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    driver.register("w").await;
    let mut counted = Vec::new();
    for height in 1..=3 {
        driver.http.take_counts();
        let message = Message::Block { chain: named("c"), block: block(height, "a", "a") };
        let deduplication = format!("{:016x}", driver.home.yard.port.random());
        driver.home.post(&named("c"), deduplication, &message).await.unwrap();
        let posted = driver.http.take_counts();
        driver.drain(&driver.home.names.blocks_queue()).await;
        let mut opened = driver.http.take_counts();
        assert!(driver.work("w").await.unwrap());
        driver.home.deliver().await;
        let worked = driver.http.take_counts();
        driver.drain(&driver.home.names.results_queue()).await;
        let mut committed = driver.http.take_counts();
        for counts in [&mut opened, &mut committed] {
            // Polling is Lambda's.
            counts.retain(|operation, _| {
                !operation.starts_with("ReceiveMessage") && !operation.starts_with("Delete")
            });
        }
        counted =
            vec![("posted", posted), ("dispatcher", opened), ("worker", worked), ("collector", committed)];
    }
    assert_eq!(driver.committed("c").await.len(), 3);
    for (step, counts) in &counted {
        println!("{step}: {} calls {counts:?}", sum(counts));
    }
    let most = [("posted", 1), ("dispatcher", 14), ("worker", 14), ("collector", 21)];
    for ((step, counts), (_, most)) in counted.iter().zip(most) {
        assert!(sum(counts) <= most, "{step}: {} calls, and {most} are the most: {counts:?}", sum(counts));
    }
}
