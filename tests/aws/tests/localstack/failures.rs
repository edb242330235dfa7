//! A message that fails for a passing reason, in the real dispatcher: it and those behind it in its group come again, and
//! no others do; given up by the queue, it waits among the dead letters until a redrive.

use std::collections::HashMap;
use std::fs;

use aws_sdk_sqs::types::QueueAttributeName::{self, ApproximateNumberOfMessages, RedrivePolicy};
use proofyard_aws::clients::names::Names;
use proofyard_aws::queues::message::Message;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_aws_tests::relay::Relay;
use proofyard_aws_tests::wait_for;
use proofyard_core::port::Port;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{lambda, recorded, run, said};

/// Two groups of one queue.
const CHAINS: [&str; 2] = ["a", "b"];

pub struct Failing<'a> {
    aws: &'a LocalAws,
    runtime: Runtime,
    /// For its queues alone: the table is at another endpoint.
    driver: Driver,
    /// Between the dispatcher and its table. What tells of the second block of chain `a` does not arrive.
    relay: Relay,
}

impl<'a> Failing<'a> {
    /// Before anything else uses the dispatcher, which is started anew.
    pub fn prepare(aws: &'a LocalAws) -> Self {
        let runtime = Runtime::new().unwrap();
        let driver = runtime.block_on(Driver::new(aws));
        let relay = Relay::without(aws.table_endpoint(), block(2, "a", "a").hash.as_str());
        let here = tempfile::tempdir().unwrap();
        for chain in CHAINS {
            let file = here.path().join("pipeline.toml");
            fs::write(&file, PIPELINE.replace("name = \"c\"", &format!("name = \"{chain}\""))).unwrap();
            run(aws.program("proofyard").args(["run", "--aws", &aws.yard]).arg(&file));
            // What is recorded is not opened, so that no workers come.
            run(aws.program("proofyard").args(["pause", "--aws", &aws.yard, "--chain", chain]));
        }
        let mut environment =
            lambda(aws, "GET", "dispatcher", "configuration", &Value::Null)["Environment"].take();
        environment["Variables"]["AWS_ENDPOINT_URL_DYNAMODB"] = json!(relay.endpoint);
        lambda(aws, "PUT", "dispatcher", "configuration", &json!({ "Environment": environment }));
        wait_for("the dispatcher's new environment", || {
            let now = lambda(aws, "GET", "dispatcher", "configuration", &Value::Null);
            (now["LastUpdateStatus"] == "Successful").then_some(())
        });
        Self { aws, runtime, driver, relay }
    }

    pub fn what_failed_comes_again_and_nothing_else(&self) {
        for (chain, height) in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)] {
            self.post(chain, height);
        }
        wait_for("the message that fails, twice", || (self.failed() >= 2).then_some(()));
        wait_for("the other group", || (recorded(self.aws, "b").len() == 2).then_some(()));
        assert_eq!(
            recorded(self.aws, "a"),
            [(1, false)],
            "what is behind it in its group is not touched before it"
        );
        self.relay.mend();
        wait_for("what failed", || (recorded(self.aws, "a").len() >= 3).then_some(()));
        assert_eq!(recorded(self.aws, "a"), [(1, false), (2, false), (3, false)]);
        assert_eq!(recorded(self.aws, "b"), [(1, false), (2, false)]);
        self.what_is_given_up_waits_for_a_redrive();
    }

    fn what_is_given_up_waits_for_a_redrive(&self) {
        let queue = self.driver.home.names.blocks_queue();
        let dead = Names::dead_letters_of(&queue);
        self.relay.break_again();
        let policy = self.attribute(&queue, RedrivePolicy);
        let mut hasty: Value = serde_json::from_str(&policy).unwrap();
        hasty["maxReceiveCount"] = json!(2);
        self.set_policy(&queue, &hasty.to_string());
        self.post("a", 2);
        wait_for("a dead letter", || {
            (self.attribute(&dead, ApproximateNumberOfMessages) != "0").then_some(())
        });
        self.set_policy(&queue, &policy);
        self.relay.mend();
        let said = run(self.aws.program("proofyard").args(["redrive", "--json", "--aws", &self.aws.yard]));
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["messages"], 1);
        wait_for("the message put back", || recorded(self.aws, "a").contains(&(2, true)).then_some(()));
        assert_eq!(self.attribute(&dead, ApproximateNumberOfMessages), "0");
    }

    fn post(&self, chain: &str, height: u64) {
        let block = block(height, chain, chain);
        let chain = named(chain);
        let message = Message::Block { chain: chain.clone(), block };
        let deduplication = format!("{:016x}", self.driver.home.yard.port.random());
        self.runtime.block_on(self.driver.home.post(&chain, deduplication, &message)).unwrap();
    }

    /// How often the dispatcher has handed a message back.
    fn failed(&self) -> usize {
        said(self.aws, "dispatcher").iter().filter(|line| line.get("receives").is_some()).count()
    }

    fn attribute(&self, queue: &str, name: QueueAttributeName) -> String {
        let sqs = self.sqs();
        self.runtime.block_on(async {
            let url = url(&sqs, queue).await;
            let asked = sqs.get_queue_attributes().queue_url(url).attribute_names(name.clone());
            asked.send().await.unwrap().attributes.unwrap().remove(&name).unwrap()
        })
    }

    fn set_policy(&self, queue: &str, policy: &str) {
        let sqs = self.sqs();
        self.runtime.block_on(async {
            let set = sqs.set_queue_attributes().queue_url(url(&sqs, queue).await);
            set.set_attributes(Some(HashMap::from([(RedrivePolicy, policy.to_owned())])))
                .send()
                .await
                .unwrap();
        });
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.driver.config)
    }
}

async fn url(sqs: &aws_sdk_sqs::Client, queue: &str) -> String {
    sqs.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap()
}
