//! Webhooks, and a server with the API of Ethproofs.

use std::time::{Duration, Instant};

use proofyard_aws_tests::PATIENCE;
use proofyard_aws_tests::named;

use crate::server::{Answer, Server, status};
use crate::yard::{ToldYard, notifier, tell_by};

async fn put_secret(yard: &ToldYard, value: &str) {
    let secrets = aws_sdk_secretsmanager::Client::new(&yard.driver.config);
    let id = yard.driver.home.names.sinks_secret();
    secrets.put_secret_value().secret_id(id).secret_string(value).send().await.unwrap();
}

fn sequence_of(request: &crate::server::Request) -> u64 {
    request.json()["sequence"].as_u64().unwrap()
}

/// The server fails, loses answers and hangs, and the function ends in the middle: each entry comes, in order.
#[tokio::test]
async fn a_webhook_gets_every_commit_in_order_through_all_that_fails() {
    const BLOCKS: u64 = 8;
    let mut asked = 0;
    let server = Server::start(move |_| {
        asked += 1;
        match asked {
            2 => status(500),
            4 => Answer::HangUp,
            6 => Answer::Silence(Duration::from_secs(20)),
            _ => status(200),
        }
    });
    let hook = format!("[sink.hook]\nwebhook = \"{}/in\"\ntime_limit_ms = 2000\n", server.url);
    let yard = ToldYard::with(&hook, BLOCKS).await;
    assert_eq!(yard.next_sequence("file").await, BLOCKS, "a file does not wait for a webhook");
    let began = Instant::now();
    while yard.next_sequence("hook").await < BLOCKS {
        assert!(began.elapsed() < PATIENCE);
        yard.sweep().await;
        if server.requests().len() == 5 {
            // The function is ended while the server hangs: its message comes again.
            let queue = yard.notifier.names.notify_queue();
            let messages = yard.received().await;
            let until = Instant::now() + Duration::from_secs(60);
            let taking = yard.notifier.take_batch(&queue, &messages, until);
            _ = tokio::time::timeout(Duration::from_secs(1), taking).await;
            let again: Vec<_> = messages.iter().map(|message| (message, 0)).collect();
            yard.notifier.queues.retry_after(&queue, &again).await.unwrap();
        }
        yard.tell().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let told: Vec<u64> = server.requests().iter().map(sequence_of).collect();
    assert!(told.is_sorted(), "{told:?}");
    let mut each = told.clone();
    each.dedup();
    assert_eq!(each, (0..BLOCKS).collect::<Vec<_>>());
    assert_eq!(told.len() as u64, BLOCKS + 3, "only what failed came again: {told:?}");
    let proof = server.requests()[0].json()["proof_files"][0].as_str().unwrap().to_owned();
    assert!(proof.starts_with(&format!("s3://{}/artifacts/", yard.aws.bucket())), "{proof}");
}

/// One that hangs is one group of the queue: the other one is told meanwhile.
#[tokio::test]
async fn a_webhook_that_hangs_holds_up_no_other() {
    let hangs = Server::start(|_| Answer::Silence(Duration::from_secs(30)));
    let works = Server::start(|_| status(200));
    let hook = |name: &str, url: &str| format!("[sink.{name}]\nwebhook = \"{url}\"\ntime_limit_ms = 1000\n");
    let hooks = hook("hangs", &hangs.url) + &hook("works", &works.url);
    let yard = ToldYard::with(&hooks, 3).await;
    yard.tell().await;
    assert_eq!((yard.next_sequence("hangs").await, yard.next_sequence("works").await), (0, 3));
    let cursor = yard.driver.home.yard.sink_cursor(&named("c"), "hangs", "commits").await.unwrap();
    assert!(cursor.next_try_ms.is_some() && cursor.failures == 1, "{cursor:?}");
}

/// A level sink, its token from the yard's secret, its proof from the bucket.
#[tokio::test]
async fn ethproofs_is_told_with_the_proofs_bytes_and_the_secrets_token() {
    let server = Server::start(|_| status(200));
    let sink = format!(
        "[sink.eth]\nethproofs = \"{}\"\ncluster_id = 7\ntoken_from = \"ETHPROOFS_TOKEN\"\n",
        server.url
    );
    let yard = ToldYard::with(&sink, 2).await;
    yard.tell().await;
    let place = yard.driver.home.yard.level_place(&named("c"), "eth").await.unwrap().unwrap();
    let id = yard.driver.home.names.sinks_secret();
    assert!(place.last_error.as_ref().is_some_and(|error| error.contains(&id)), "{place:?}");
    assert_eq!(server.requests().len(), 0);
    put_secret(&yard, r#"{"ETHPROOFS_TOKEN": "t0ken"}"#).await;
    // What was read counts for a minute; a function that starts reads it.
    let notifier = notifier(&yard.driver.home);
    let began = Instant::now();
    let proved = loop {
        assert!(began.elapsed() < PATIENCE, "{:?}", server.requests().len());
        yard.sweep().await;
        tell_by(&notifier).await;
        let requests = server.requests();
        let proved: Vec<_> =
            requests.iter().filter(|request| request.path == "/proofs/proved").cloned().collect();
        if proved.len() == 2 {
            break proved;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    for request in &proved {
        assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
        assert!(!request.json()["proof"].as_str().unwrap().is_empty(), "{:?}", request.json());
    }
}
