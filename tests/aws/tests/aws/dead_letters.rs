//! A message among the dead letters of each queue is taken after `proofyard redrive`.

use std::thread;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName::{self, RedrivePolicy};
use proofyard_aws::clients::names::Names;
use proofyard_aws::queues::Outgoing;
use proofyard_aws::queues::message::Message;
use proofyard_aws_tests::PATIENCE;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::error::Error;
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::port::Port;
use proofyard_core::state::Worker;
use serde_json::{Value, json};

struct Sqs<'a> {
    client: aws_sdk_sqs::Client,
    driver: &'a Driver,
}

impl Sqs<'_> {
    async fn attribute(&self, queue: &str, name: QueueAttributeName) -> String {
        let url = self.url(queue).await;
        let asked = self.client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        asked.send().await.unwrap().attributes.unwrap().remove(&name).unwrap()
    }

    async fn url(&self, queue: &str) -> String {
        self.client.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap()
    }

    /// How many messages the queue holds, received ones included.
    async fn count(&self, queue: &str) -> u32 {
        let visible = self.attribute(queue, QueueAttributeName::ApproximateNumberOfMessages).await;
        let in_hand = self.attribute(queue, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await;
        visible.parse::<u32>().unwrap() + in_hand.parse::<u32>().unwrap()
    }

    /// Has SQS move the queue's messages to its dead letters, as after a thousand receives.
    async fn give_up(&self, queue: &str) {
        let policy = self.attribute(queue, RedrivePolicy).await;
        let mut hasty: Value = serde_json::from_str(&policy).unwrap();
        hasty["maxReceiveCount"] = json!(1);
        self.set_policy(queue, hasty.to_string()).await;
        let queues = &self.driver.home.queues;
        let received = queues.receive(queue, 1).await.unwrap();
        assert_ne!(received, []);
        let again: Vec<_> = received.iter().map(|message| (message, 0)).collect();
        queues.retry_after(queue, &again).await.unwrap();
        assert_eq!(queues.receive(queue, 1).await.unwrap(), []);
        self.set_policy(queue, policy).await;
        assert_eq!(self.count(queue).await, 0);
        assert_eq!(self.count(&Names::dead_letters_of(queue)).await, received.len() as u32);
    }

    async fn set_policy(&self, queue: &str, policy: String) {
        let set = self.client.set_queue_attributes().queue_url(self.url(queue).await);
        set.attributes(RedrivePolicy, policy).send().await.unwrap();
    }
}

fn sqs(driver: &Driver) -> Sqs<'_> {
    Sqs { client: aws_sdk_sqs::Client::new(&driver.config), driver }
}

/// As an operator does it; answers how many messages were put back.
fn redrive(mut command: std::process::Command) -> u64 {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    said["messages"].as_u64().unwrap()
}

fn redrive_command(aws: &LocalAws) -> std::process::Command {
    let mut command = aws.program("proofyard");
    command.args(["redrive", "--json", "--aws", &aws.yard]);
    command
}

async fn post_block(driver: &Driver, chain: &str, height: u64) {
    let chain = named(chain);
    let message = Message::Block { chain: chain.clone(), block: block(height, "a", "a") };
    driver.home.post(&chain, format!("{:016x}", driver.home.yard.port.random()), &message).await.unwrap();
}

/// Fails if the spec has a queue with dead letters that the test below leaves out.
fn expect_known_queues() {
    let spec = include_str!("../../../../infra/spec/yard.json");
    let spec: Value = serde_json::from_str(spec).unwrap();
    let queues = spec["queues"].as_object().unwrap().iter();
    let have_dead_letters = queues.filter(|(_, queue)| queue["takes_dead_letters"] != true);
    let known: Vec<&String> = have_dead_letters.map(|(name, _)| name).collect();
    assert_eq!(
        known,
        ["blocks", "follow", "notify", "propose", "results", "ticks", "wake"],
        "this test leaves out a queue"
    );
}

/// Registers a worker whose heartbeat a sweep has seen, and whose lease then ends: the next sweep expires it.
async fn register_dead_worker(driver: &Driver) {
    let dead = WorkerRegistration {
        worker: "dead".into(),
        pool: "cpu".into(),
        slots: 1,
        alone: false,
        lease_ms: 1,
        isolation: None,
    };
    driver.home.yard.register_worker(&dead).await.unwrap();
    driver.home.yard.sweep().await.unwrap();
}

/// One dead letter in each queue: a block of an unknown chain, the wake of a pool, a result's wake, a tick, and one each of the
/// follower, the notifier and the proposer.
async fn fill_dead_letters(driver: &Driver, sqs: &Sqs<'_>) {
    let names = &driver.home.names;
    post_block(driver, "later", 1).await;
    assert_eq!(driver.drain(&names.blocks_queue()).await, 1);
    driver.register("w").await;
    driver.home.yard.record_block(&named("c"), &block(1, "a", "a")).await.unwrap();
    driver.take_steps().await.unwrap();
    sqs.give_up(&names.wake_queue("cpu")).await;
    assert!(driver.work("w").await.unwrap());
    driver.home.deliver().await;
    sqs.give_up(&names.results_queue()).await;
    let tick = serde_json::to_string(&Message::Tick {}).unwrap();
    let tick = Outgoing { body: tick, ..Outgoing::default() };
    for queue in [names.ticks_queue(), names.follow_queue()] {
        driver.home.queues.send(&queue, std::slice::from_ref(&tick)).await.unwrap();
        sqs.give_up(&queue).await;
    }
    let wake = Outgoing { group: Some("c:sink:hook".into()), deduplication: Some("1".into()), ..tick };
    for queue in [names.notify_queue(), names.propose_queue()] {
        driver.home.queues.send(&queue, std::slice::from_ref(&wake)).await.unwrap();
        sqs.give_up(&queue).await;
    }
}

/// Each queue's message has an effect that no other message has; those of the follower, the notifier and the
/// proposer are their functions' to take.
async fn expect_effects(aws: &LocalAws, driver: &Driver, sqs: &Sqs<'_>) {
    let (names, yard) = (&driver.home.names, &driver.home.yard);
    let mut worker = aws.program("proofyard-worker");
    let worked = worker.args(["--pool", "cpu", "--idle-out-ms", "3000"]).output().unwrap();
    assert!(worked.status.success(), "{worked:?}");
    assert_eq!(sqs.count(&names.wake_queue("cpu")).await, 0);
    assert_eq!(driver.drain(&names.results_queue()).await, 1);
    let heights: Vec<u64> = driver.committed("c").await.into_iter().map(|(height, _)| height).collect();
    assert_eq!(heights, [1]);
    assert_eq!(yard.tip(&named("later")).await.unwrap().height(), None);
    assert_eq!(driver.drain(&names.blocks_queue()).await, 1);
    assert_eq!(yard.tip(&named("later")).await.unwrap().height(), Some(1));
    assert!(yard.port.get(&Worker::key_of(&"dead".into())).await.unwrap().is_some());
    assert_eq!(driver.drain(&names.ticks_queue()).await, 1);
    assert_eq!(yard.port.get(&Worker::key_of(&"dead".into())).await.unwrap(), None);
}

#[tokio::test]
async fn what_died_in_any_queue_is_taken_after_a_redrive() {
    expect_known_queues();
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let (sqs, names) = (sqs(&driver), &driver.home.names);
    register_dead_worker(&driver).await;
    fill_dead_letters(&driver, &sqs).await;
    let queues = [
        names.blocks_queue(),
        names.follow_queue(),
        names.notify_queue(),
        names.propose_queue(),
        names.results_queue(),
        names.ticks_queue(),
        names.wake_queue("cpu"),
    ];
    for queue in &queues {
        assert_eq!(sqs.count(&Names::dead_letters_of(queue)).await, 1, "{queue}");
    }
    assert_eq!(driver.committed("c").await, []);
    driver.home.yard.record_pipeline(&PIPELINE.replace("name = \"c\"", "name = \"later\"")).await.unwrap();
    assert_eq!(redrive(redrive_command(&aws)), queues.len() as u64);
    for queue in &queues {
        assert_eq!(sqs.count(&Names::dead_letters_of(queue)).await, 0, "{queue}");
        assert_eq!(sqs.count(queue).await, 1, "{queue}");
    }
    expect_effects(&aws, &driver, &sqs).await;
    for queue in &queues {
        assert_eq!(sqs.count(&Names::dead_letters_of(queue)).await, 0, "{queue}");
    }
}

/// A redrive ends, having put back each message once, also while functions make them dead letters again at once.
#[tokio::test]
async fn what_still_cannot_be_taken_is_put_back_once() {
    let aws = LocalAws::without_functions();
    // Its pool is not deployed, and has no queue.
    let driver = Driver::with_pipeline(&aws, &PIPELINE.replace("cpu", "gpu")).await;
    let (sqs, queue) = (sqs(&driver), driver.home.names.blocks_queue());
    for height in [1, 2, 3] {
        post_block(&driver, "nobody", height).await;
    }
    assert_eq!(driver.drain(&queue).await, 3);
    for _ in 0..2 {
        let command = redrive_command(&aws);
        let redriven = thread::spawn(move || redrive(command));
        let began = Instant::now();
        while !redriven.is_finished() {
            assert!(began.elapsed() < PATIENCE, "the redrive does not end");
            driver.drain(&queue).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        driver.drain(&queue).await;
        assert_eq!(redriven.join().unwrap(), 3);
        assert_eq!(sqs.count(&Names::dead_letters_of(&queue)).await, 3);
    }
    assert!(matches!(driver.home.yard.tip(&named("nobody")).await, Err(Error::Refused(_))));
}
