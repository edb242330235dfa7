//! What each service may answer, and what is made of it: no AWS is there, every answer is the test's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofyard_aws::queues::Outgoing;
use proofyard_aws_tests::driver::Driver;
use proofyard_aws_tests::http::Fate;
use proofyard_core::error::with_causes;
use proofyard_core::port::{Action, Batch, CommitOutcome, Expect, Key, Op, Port, PortError};

fn put(name: &str) -> Op {
    Op {
        key: Key::new("p", name),
        expect: Expect::Absent,
        action: Action::Put { value: b"{}".to_vec(), due_ms: None },
    }
}

async fn commit(driver: &Driver, ops: Vec<Op>) -> Result<CommitOutcome, PortError> {
    driver.home.yard.port.commit(&Batch { version: 7, ops, durable: true }).await
}

fn cancelled(codes: &[&str]) -> Fate {
    let reasons: Vec<String> =
        codes.iter().map(|code| format!(r#"{{"Code": "{code}", "Message": "because"}}"#)).collect();
    Fate::Answered(
        400,
        format!(
            r#"{{"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                 "message": "cancelled", "CancellationReasons": [{}]}}"#,
            reasons.join(",")
        ),
    )
}

/// So many answers, then another one for ever.
fn first(times: u64, answer: Fate, then: Fate) -> impl Fn(&str, &str) -> Fate + Send + Sync + 'static {
    let calls = AtomicU64::new(0);
    move |_, _| if calls.fetch_add(1, Ordering::Relaxed) < times { answer.clone() } else { then.clone() }
}

fn says(error: &PortError, part: &str) -> bool {
    with_causes(error).to_string().contains(part)
}

fn done() -> Fate {
    Fate::Answered(200, "{}".into())
}

#[tokio::test]
async fn what_is_throttled_is_tried_again_and_given_up_in_the_end() {
    let driver = Driver::detached().await;
    driver.http.breaks(first(2, Fate::throttled(), done()));
    let key = Key::new("p", "s");
    assert_eq!(driver.home.yard.port.get(&key).await.unwrap(), None);
    driver.http.take_counts();
    driver.http.breaks(|_, _| Fate::throttled());
    let error = driver.home.yard.port.get(&key).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable(_) if says(&error, "ThrottlingException")), "{error}");
    assert_eq!(driver.http.take_counts()["GetItem"], 5);
    // A write that was throttled did not happen.
    let error = commit(&driver, vec![put("a")]).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_condition_that_failed_is_a_conflict_unless_it_failed_for_our_own_write() {
    let driver = Driver::detached().await;
    let failed = |item: &str| {
        let body = format!(
            r#"{{"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                 "message": "no"{item}}}"#
        );
        move |_: &str, _: &str| Fate::Answered(400, body.clone())
    };
    driver.http.breaks(failed(""));
    assert_eq!(commit(&driver, vec![put("a")]).await.unwrap(), CommitOutcome::Conflict);
    driver.http.breaks(failed(r#", "Item": {"v": {"N": "8"}}"#));
    assert_eq!(commit(&driver, vec![put("a")]).await.unwrap(), CommitOutcome::Conflict);
    driver.http.breaks(failed(r#", "Item": {"v": {"N": "7"}}"#));
    assert_eq!(commit(&driver, vec![put("a")]).await.unwrap(), CommitOutcome::Committed);
}

#[tokio::test]
async fn a_cancelled_transaction_is_read_by_its_reasons() {
    let driver = Driver::detached().await;
    let both = || vec![put("a"), put("b")];
    driver.http.breaks(|_, _| cancelled(&["None", "ConditionalCheckFailed"]));
    assert_eq!(commit(&driver, both()).await.unwrap(), CommitOutcome::Conflict);
    assert_eq!(driver.http.take_counts()["TransactWriteItems"], 1);
    driver.http.breaks(first(2, cancelled(&["TransactionConflict", "None"]), done()));
    assert_eq!(commit(&driver, both()).await.unwrap(), CommitOutcome::Committed);
    driver.http.breaks(first(1, cancelled(&["None", "ThrottlingError"]), done()));
    assert_eq!(commit(&driver, both()).await.unwrap(), CommitOutcome::Committed);
    driver.http.breaks(|_, _| cancelled(&["ValidationError", "None"]));
    let error = commit(&driver, both()).await.unwrap_err();
    assert!(matches!(error, PortError::Broken(_) if says(&error, "ValidationError: because")), "{error}");
}

#[tokio::test]
async fn nobody_knows_what_became_of_a_write_without_an_answer() {
    let driver = Driver::detached().await;
    driver.http.breaks(|_, _| Fate::NotSent);
    assert_eq!(commit(&driver, vec![put("a"), put("b")]).await.unwrap(), CommitOutcome::Unknown);
    assert_eq!(commit(&driver, vec![put("a")]).await.unwrap(), CommitOutcome::Unknown);
    // Every try of one commit carries the same token, by which DynamoDB knows it.
    let tokens = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    driver.http.breaks(move |_, body| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        seen.lock().unwrap().push(body["ClientRequestToken"].to_string());
        Fate::NotSent
    });
    commit(&driver, vec![put("a"), put("b")]).await.unwrap();
    let mut tokens = tokens.lock().unwrap().clone();
    assert!(tokens.len() > 1);
    tokens.dedup();
    assert_eq!(tokens, ["\"0000000000000007\""]);
}

#[tokio::test]
async fn what_someone_must_mend_is_said() {
    let driver = Driver::detached().await;
    // The first two are about the yard, and keep all messages waiting; the last one is about the call.
    for (code, way_out, is_lasting) in [
        ("ResourceNotFoundException", "check the yard's name and region", false),
        ("AccessDeniedException", "lack a permission", false),
        ("ValidationException", "ValidationException", true),
    ] {
        driver.http.breaks(move |_, _| Fate::error(code, "no"));
        let error = driver.home.yard.port.get(&Key::new("p", "s")).await.unwrap_err();
        let said = with_causes(&error).to_string();
        assert!(said.contains(way_out), "{said}");
        assert_eq!(matches!(error, PortError::Broken(_)), is_lasting, "{error}");
    }
}

#[tokio::test]
async fn of_a_half_failed_batch_the_failed_half_is_sent_again() {
    let driver = Driver::detached().await;
    let batches = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&batches);
    driver.http.breaks(move |operation, body| {
        if operation == "GetQueueUrl" {
            return Fate::Answered(200, r#"{"QueueUrl": "http://127.0.0.1:1/q"}"#.into());
        }
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let ids: Vec<String> = body["Entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["Id"].as_str().unwrap().to_owned())
            .collect();
        let fails = |id: &str| ids.len() > 1 && id.parse::<u32>().unwrap() % 2 == 1;
        let failed: Vec<_> = ids
            .iter()
            .filter(|id| fails(id))
            .map(|id| serde_json::json!({ "Id": id, "Code": "ServiceUnavailable", "SenderFault": false }))
            .collect();
        let sent: Vec<_> = ids
            .iter()
            .filter(|id| !fails(id))
            .map(|id| serde_json::json!({ "Id": id, "MessageId": id, "MD5OfMessageBody": "" }))
            .collect();
        seen.lock().unwrap().push(ids);
        Fate::Answered(200, serde_json::json!({ "Successful": sent, "Failed": failed }).to_string())
    });
    let messages: Vec<Outgoing> =
        (0..4).map(|n| Outgoing { body: n.to_string(), ..Outgoing::default() }).collect();
    let sent = driver.home.queues.send("q", &messages[..2]).await;
    sent.unwrap();
    assert_eq!(*batches.lock().unwrap(), [vec!["0", "1"], vec!["1"]]);
    // What is refused for the sender's fault is not tried for ever.
    driver.http.breaks(|_, _| {
        let failed = serde_json::json!({ "Id": "0", "Code": "InvalidMessageContents", "SenderFault": true });
        Fate::Answered(200, serde_json::json!({ "Successful": [], "Failed": [failed] }).to_string())
    });
    let error = driver.home.queues.send("q", &messages[..1]).await.unwrap_err();
    assert!(with_causes(&error).to_string().contains("InvalidMessageContents"), "{error:?}");
}

/// DynamoDB leaves some of a batch for the next call, where the answer would be long.
#[tokio::test]
async fn what_a_batch_leaves_unread_is_read_by_the_next_call() {
    let driver = Driver::detached().await;
    let table = driver.home.names.table();
    let item = |sort: &str| {
        format!(r#"{{"p": {{"S": "p"}}, "s": {{"S": "{sort}"}}, "v": {{"N": "7"}}, "d": {{"S": "{sort}"}}}}"#)
    };
    let left = r#"{"Keys": [{"p": {"S": "p"}, "s": {"S": "b"}}], "ConsistentRead": true}"#;
    let answer = |sort: &str, left: &str| {
        let body =
            format!(r#"{{"Responses": {{"{table}": [{}]}}, "UnprocessedKeys": {{{left}}}}}"#, item(sort));
        Fate::Answered(200, body)
    };
    driver.http.breaks(first(1, answer("a", &format!(r#""{table}": {left}"#)), answer("b", "")));
    driver.http.take_counts();
    let keys = ["c", "b", "a", "b"].map(|sort| Key::new("p", sort));
    let found = driver.home.yard.port.get_many(&keys).await.unwrap();
    let found: Vec<Option<String>> = found
        .into_iter()
        .map(|stored| stored.map(|stored| String::from_utf8(stored.value).unwrap()))
        .collect();
    assert_eq!(found, [None, Some("b".into()), Some("a".into()), Some("b".into())]);
    assert_eq!(driver.http.take_counts()["BatchGetItem"], 2);
    // A table that reads nothing is too busy, and no call waits for it for ever.
    let all = r#"{"Keys": [{"p": {"S": "p"}, "s": {"S": "b"}}]}"#;
    let body = format!(r#"{{"Responses": {{}}, "UnprocessedKeys": {{"{table}": {all}}}}}"#);
    driver.http.breaks(move |_, _| Fate::Answered(200, body.clone()));
    let error = driver.home.yard.port.get_many(&keys[1..2]).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable(_) if says(&error, "too busy")), "{error}");
}
