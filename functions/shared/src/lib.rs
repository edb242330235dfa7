//! What the functions have in common. Each function's `main` only maps its events to handlers.
//!
//! A function connects once, when it starts, and keeps its connections from one event to the next. Logs are lines of JSON.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::service_fn;
pub use lambda_runtime::{Context, Error, LambdaEvent};
use proofyard_aws::clients::log_lines::log_in_json;
use proofyard_aws::queues::{Incoming, REDRIVE};
use proofyard_aws::{AwsHome, ConnectError};
use proofyard_core::error::with_causes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long before Lambda's deadline a handler ends, so that there is time to deliver wakes and to answer.
const RESERVE: Duration = Duration::from_millis(1_200);

/// Runs a function until Lambda ends it.
pub fn run<E, A>(handler: impl AsyncFn(&AwsHome, LambdaEvent<E>) -> Result<A, Error>) -> Result<(), Error>
where
    E: DeserializeOwned,
    A: Serialize,
{
    log_in_json(std::io::stdout);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let home = AwsHome::from_environment().await.inspect_err(|error: &ConnectError| {
            tracing::error!(error = %with_causes(error), "the function cannot start");
        })?;
        let (home, handler) = (&home, &handler);
        // Lambda logs and answers only the message of an error.
        let handle = move |event| async move {
            handler(home, event).await.map_err(|error| Error::from(with_causes(error.as_ref()).to_string()))
        };
        lambda_runtime::run(service_fn(handle)).await
    })
}

/// When a handler should have ended.
pub fn until(context: &Context) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(context.deadline).saturating_sub(now).saturating_sub(RESERVE);
    Instant::now() + left
}

/// Handles a batch of a queue's messages; the answer names those that SQS is to deliver again.
pub async fn take_messages(home: &AwsHome, queue: &str, event: SqsEvent, until: Instant) -> SqsBatchResponse {
    take(home, queue, &messages_of(event), until).await
}

/// The messages of a batch.
pub fn messages_of(event: SqsEvent) -> Vec<Incoming> {
    event.records.into_iter().map(incoming).collect()
}

/// As [`take_messages`].
pub async fn take(home: &AwsHome, queue: &str, messages: &[Incoming], until: Instant) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.set_failures(home.take_batch(queue, messages, until).await);
    response
}

fn incoming(message: SqsMessage) -> Incoming {
    let attribute = |name: &str| message.attributes.get(name).cloned();
    let redrive = message.message_attributes.get(REDRIVE).and_then(|said| said.string_value.clone());
    Incoming {
        group: attribute("MessageGroupId"),
        receives: attribute("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1),
        sent_ms: attribute("SentTimestamp").and_then(|at_ms| at_ms.parse().ok()),
        id: message.message_id.unwrap_or_default(),
        receipt: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        redrive,
    }
}
