//! What lasts and what passes: a message that can never be taken is out of the way at once, with its reason; what is only
//! too new for this program, or what somebody has to mend for all messages alike, is kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use proofyard_aws::clients::names::Names;
use proofyard_aws::intake::authentication::Request;
use proofyard_aws::queues::Outgoing;
use proofyard_aws::queues::message::Message;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::port::Port;
use proofyard_signature::sign;
use serde_json::{Value, json};

async fn post(driver: &Driver, height: u64) {
    let message = Message::Block { chain: named("c"), block: block(height, "a", "a") };
    let deduplication = format!("{:016x}", driver.home.yard.port.random());
    driver.home.post(&named("c"), deduplication, &message).await.unwrap();
}

/// Takes what is there once; answers how many come again, which are shown at once.
async fn take(driver: &Driver, queue: &str) -> usize {
    let messages = driver.home.queues.receive(queue, 1).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let again = driver.home.take_batch(queue, &messages, until).await;
    let (stay, done): (Vec<_>, Vec<_>) = messages.iter().partition(|message| again.contains(&message.id));
    driver.home.queues.delete(queue, &done).await.unwrap();
    let now: Vec<_> = stay.iter().map(|message| (*message, 0)).collect();
    driver.home.queues.retry_after(queue, &now).await.unwrap();
    stay.len()
}

/// Reasons of the dead letters.
async fn reasons(driver: &Driver, queue: &str) -> Vec<String> {
    let sqs = aws_sdk_sqs::Client::new(&driver.config);
    let url = sqs
        .get_queue_url()
        .queue_name(Names::dead_letters_of(queue))
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    let received =
        sqs.receive_message().queue_url(url).message_attribute_names("All").max_number_of_messages(10);
    let received = received.wait_time_seconds(1).send().await.unwrap().messages.unwrap_or_default();
    let reason = |message: aws_sdk_sqs::types::Message| {
        message.message_attributes.unwrap()["reason"].string_value.clone().unwrap()
    };
    received.into_iter().map(reason).collect()
}

/// Behind everybody's back.
async fn overwrite(driver: &Driver, partition: &str, sort: &str, more: &[(&str, AttributeValue)]) {
    let table = aws_sdk_dynamodb::Client::new(&driver.config);
    let mut put = table.put_item().table_name(driver.home.names.table());
    put = put.item("p", AttributeValue::S(partition.into())).item("s", AttributeValue::S(sort.into()));
    for (name, value) in more {
        put = put.item(*name, value.clone());
    }
    put.send().await.unwrap();
}

fn value(text: &str) -> [(&'static str, AttributeValue); 2] {
    [("v", AttributeValue::N("7".into())), ("d", AttributeValue::S(text.into()))]
}

/// These were received again and again for eight hours, with all of their chain behind them.
#[tokio::test]
async fn what_can_never_be_taken_is_a_dead_letter_at_once_with_its_reason() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let queue = driver.home.names.blocks_queue();
    driver.drain_all().await;
    // DynamoDB refuses what it leads to.
    driver.http.breaks(|operation, _| match operation {
        "TransactWriteItems" => {
            Fate::error("ValidationException", "One or more parameter values were invalid")
        }
        _ => Fate::Made,
    });
    post(&driver, 1).await;
    assert_eq!(take(&driver, &queue).await, 0);
    driver.http.works();
    // An item that has no version.
    overwrite(&driver, "C#c", "tip", &[("d", AttributeValue::S("{}".into()))]).await;
    post(&driver, 2).await;
    assert_eq!(take(&driver, &queue).await, 0);
    // One that is no JSON.
    overwrite(&driver, "C#c", "tip", &value("half of a pri")).await;
    post(&driver, 3).await;
    assert_eq!(take(&driver, &queue).await, 0);
    let reasons = reasons(&driver, &queue).await;
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    for said in [
        "One or more parameter values",
        "C#c / tip has no readable attribute v",
        "the stored item C#c / tip cannot be read",
    ] {
        assert!(reasons.iter().any(|reason| reason.contains(said)), "{reasons:?}");
    }
}

/// A role that lacks a permission is no fault of the messages that meet it.
#[tokio::test]
async fn what_somebody_has_to_mend_for_all_alike_buries_nothing() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    let queue = driver.home.names.blocks_queue();
    driver.drain_all().await;
    post(&driver, 1).await;
    for code in ["AccessDeniedException", "ResourceNotFoundException", "UnrecognizedClientException"] {
        driver.http.breaks(move |operation, _| match operation {
            "GetItem" | "TransactWriteItems" | "Query" => Fate::error(code, "no"),
            _ => Fate::Made,
        });
        assert_eq!(take(&driver, &queue).await, 1, "{code}");
    }
    driver.http.works();
    assert_eq!(take(&driver, &queue).await, 0);
    assert_eq!(reasons(&driver, &queue).await, [""; 0]);
    assert_eq!(driver.home.yard.tip(&named("c")).await.unwrap().height(), Some(1));
}

/// A deployment: newer functions run beside older ones for a while.
#[tokio::test]
async fn what_a_newer_program_wrote_is_left_for_it() {
    let aws = LocalAws::without_functions();
    let driver = Driver::with_pipeline(&aws, PIPELINE).await;
    driver.home.raise_format().await.unwrap();
    let status = || {
        let output = aws.program("proofyard").args(["status", "--aws", &aws.yard]).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    assert_eq!(status().0, Some(0), "{}", status().1);
    let (blocks, results) = (driver.home.names.blocks_queue(), driver.home.names.results_queue());
    driver.drain_all().await;
    overwrite(&driver, "Y#format", "format", &value(r#"{"format": 3, "more": true}"#)).await;
    overwrite(&driver, "C#c", "tip", &value(r#"{"of_format_3": true}"#)).await;
    post(&driver, 1).await;
    let newer = Outgoing {
        body: r#"{"message_of_format_3": {}}"#.into(),
        group: Some("g".into()),
        deduplication: Some("1".into()),
        ..Outgoing::default()
    };
    driver.home.queues.send(&results, &[newer]).await.unwrap();
    for queue in [&blocks, &results] {
        assert_eq!(take(&driver, queue).await, 1, "{queue}");
        assert_eq!(reasons(&driver, queue).await, [""; 0]);
    }
    // Whoever starts now says what is the matter.
    let (code, said) = status();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("yard test has format 3, and this program knows none after 2"), "{said}");
    let mut worker = aws.program("proofyard-worker");
    let worker = worker.args(["--pool", "cpu", "--idle-out-ms", "1000"]).output().unwrap();
    assert!(!worker.status.success());
    assert!(String::from_utf8_lossy(&worker.stderr).contains("has format 3"), "{worker:?}");
    // In the format that is known, it is damaged.
    overwrite(&driver, "Y#format", "format", &value(r#"{"format": 2}"#)).await;
    for queue in [&blocks, &results] {
        assert_eq!(take(&driver, queue).await, 0, "{queue}");
        assert_eq!(reasons(&driver, queue).await.len(), 1, "{queue}");
    }
}

/// A Secrets Manager of the test's making.
#[derive(Default)]
struct Secrets {
    current: &'static str,
    previous: &'static str,
    rotated_s: u64,
    silent: bool,
    reads: u64,
}

impl Secrets {
    fn answer(&mut self, body: &str) -> Fate {
        if self.silent {
            return Fate::error("InternalServiceError", "not now");
        }
        self.reads += 1;
        let value = if body.contains("AWSPREVIOUS") { self.previous } else { self.current };
        if value.is_empty() {
            return Fate::error("ResourceNotFoundException", "there is no such version");
        }
        Fate::Answered(200, json!({ "SecretString": value, "CreatedDate": self.rotated_s }).to_string())
    }
}

#[tokio::test]
async fn a_secret_that_was_rotated_is_taken_up_in_a_minute_and_the_one_before_goes_in_time() {
    let mut driver = Driver::detached().await;
    let now_s = Arc::new(AtomicU64::new(1_700_000_000));
    let clock = Arc::clone(&now_s);
    driver.home.yard.port =
        driver.home.yard.port.clone().with_clock(move || clock.load(Ordering::Relaxed) * 1_000);
    let secrets = Arc::new(Mutex::new(Secrets { current: "first", ..Secrets::default() }));
    let asked = Arc::clone(&secrets);
    driver.http.breaks(move |operation, body| match operation {
        "GetSecretValue" => asked.lock().unwrap().answer(body),
        _ => Fate::Answered(200, "{}".into()),
    });
    let secret = driver.home.secret("webhook".into());
    let pass = |seconds| now_s.fetch_add(seconds, Ordering::Relaxed);
    // 404: it is authentic, and names a chain that is not there.
    let says = async |key: &str, expected: u16| {
        let timestamp = now_s.load(Ordering::Relaxed).to_string();
        let signature = sign(key.as_bytes(), &timestamp, "c", b"x");
        let request = Request {
            chain: "c".into(),
            timestamp: Some(timestamp),
            signature: Some(signature),
            body: b"x".to_vec(),
        };
        let response = driver.home.ingest_under(&request, &secret).await;
        assert_eq!(response.status, expected, "{key}: {response:?}");
    };
    says("first", 404).await;
    says("second", 401).await;
    assert_eq!(secrets.lock().unwrap().reads, 1, "once a minute, whoever asks");
    {
        let mut secrets = secrets.lock().unwrap();
        (secrets.current, secrets.previous) = ("second", "first");
        secrets.rotated_s = now_s.load(Ordering::Relaxed);
    }
    pass(61);
    for key in ["first", "second"] {
        says(key, 404).await;
    }
    pass(900 - 62);
    says("first", 404).await;
    pass(2);
    says("first", 401).await;
    says("second", 404).await;
    // It cannot be read for a while.
    secrets.lock().unwrap().silent = true;
    pass(300);
    says("second", 404).await;
    pass(400);
    says("second", 503).await;
    secrets.lock().unwrap().silent = false;
    says("second", 404).await;
    let kept: Value = json!({ "reads": secrets.lock().unwrap().reads });
    assert!(kept["reads"].as_u64().unwrap() < 12, "{kept}");
}
