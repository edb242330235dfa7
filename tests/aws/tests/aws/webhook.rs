//! Block events from outside, through the webhook's address, as whoever sends them does it.

use std::time::{SystemTime, UNIX_EPOCH};

use proofyard_aws::intake::webhook::MAX_BODY_BYTES;
use proofyard_aws_tests::driver::{Driver, PIPELINE};
use proofyard_aws_tests::local::{LocalAws, Request};
use proofyard_aws_tests::named;
use proofyard_aws_tests::wait_for;
use proofyard_signature::sign;
use serde_json::Value;

const SECRET: &str = "not-the-default";

struct Sender<'a> {
    aws: &'a LocalAws,
    /// Of the webhook, on the local AWS.
    place: String,
}

impl Sender<'_> {
    fn send(&self, chain: &str, body: &str, timestamp: &str, signature: &str) -> (u16, Value) {
        let headers = [("x-proofyard-timestamp", timestamp), ("x-proofyard-signature", signature)];
        let path = format!("{}/{chain}", self.place);
        Request { method: "POST", path: &path, headers: &headers, body }.send(self.aws.endpoint())
    }

    /// Signed as it must be.
    fn signed(&self, chain: &str, body: &str, at_s: u64) -> (u16, Value) {
        let timestamp = at_s.to_string();
        let signature = sign(SECRET.as_bytes(), &timestamp, chain, body.as_bytes());
        self.send(chain, body, &timestamp, &signature)
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_signed_block_is_recorded_and_nothing_else_is() {
    let aws = LocalAws::whole(&["--no-schedule", "--webhook-secret", SECRET]);
    let place = aws.environment["PROOFYARD_WEBHOOK"].strip_prefix(aws.endpoint()).unwrap().to_owned();
    let sender = Sender { aws: &aws, place };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let driver = runtime.block_on(Driver::with_pipeline(&aws, PIPELINE));
    // What is recorded is not opened, so that no workers come.
    runtime.block_on(driver.home.yard.pause(&named("c"))).unwrap();
    let tip = || runtime.block_on(driver.home.yard.tip(&named("c"))).unwrap().height();
    let chain = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/blocks/chain.jsonl");
    let chain = std::fs::read_to_string(chain).unwrap();
    let (first, rest) = chain.split_once('\n').unwrap();
    let second = rest.lines().next().unwrap();
    let refused = |(status, said): (u16, Value), expected: u16, because: &str| {
        assert_eq!(status, expected, "{said}");
        assert!(said["error"].as_str().unwrap().contains(because), "{said}");
        assert!(said["code"].as_str().unwrap().starts_with("PY0"), "{said}");
    };
    let now = now_s().to_string();
    let forged = sign(b"another secret", &now, "c", first.as_bytes());
    refused(sender.send("c", first, &now, &forged), 401, "the signature is not");
    let of_another = sign(SECRET.as_bytes(), &now, "c", second.as_bytes());
    refused(sender.send("c", first, &now, &of_another), 401, "the signature is not");
    refused(sender.signed("c", first, now_s() - 400), 401, "older than five minutes");
    refused(sender.signed("c", first, now_s() + 400), 401, "from the future");
    refused(sender.signed("c", &"x".repeat(MAX_BODY_BYTES + 1), now_s()), 413, "are the most");
    refused(sender.signed("c", "{}", now_s()), 400, "body:1");
    refused(sender.signed("another", first, now_s()), 404, "another");
    let no_name = "chain A:b is not known here; run a pipeline that names it first";
    refused(sender.signed("A:b", first, now_s()), 404, no_name);
    let queue = driver.home.names.blocks_queue();
    assert_eq!(runtime.block_on(driver.home.queues.receive(&queue, 0)).unwrap(), []);
    assert_eq!(tip(), None);
    let at_s = now_s();
    assert_eq!(sender.signed("c", first, at_s), (202, serde_json::json!({ "accepted": 1 })));
    // A repeat is welcome.
    assert_eq!(sender.signed("c", first, at_s).0, 202);
    wait_for("the block", || tip().filter(|height| *height == 1));
    assert_eq!(sender.signed("c", second, now_s()).0, 202);
    wait_for("the next block", || tip().filter(|height| *height == 2));
}
