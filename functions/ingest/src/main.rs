//! Accepts block events from outside: by a signed request to the function's URL, or by a direct invocation, which AWS has
//! authorized.

use std::cell::OnceCell;
use std::env;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use proofyard_aws::AwsHome;
use proofyard_aws::intake::authentication::Request;
use proofyard_aws::queues::message::Message;
use proofyard_core::port::Port;
use proofyard_function::{Error, run};
use serde_json::{Value, json};

/// Names the webhook's secret in Secrets Manager.
const SECRET_ID: &str = "PROOFYARD_WEBHOOK_SECRET_ID";

fn main() -> Result<(), Error> {
    let secret = OnceCell::new();
    run(async move |home, event| {
        let payload: Value = event.payload;
        match request_of(&payload) {
            Some(request) => {
                let secret = secret.get_or_init(|| home.secret(env::var(SECRET_ID).unwrap_or_default()));
                let response = home.ingest_under(&request, secret).await;
                Ok(json!({
                    "statusCode": response.status,
                    "headers": { "content-type": "application/json" },
                    "body": serde_json::to_string(&response)?,
                }))
            }
            None => direct(home, payload).await,
        }
    })
}

/// The HTTP request, if the event came by the function's URL.
fn request_of(payload: &Value) -> Option<Request> {
    payload.pointer("/requestContext/http")?;
    let text = |place: &str| payload.pointer(place).and_then(Value::as_str);
    // Names of headers are in lower case here.
    let header = |name: &str| text(&format!("/headers/{name}")).map(str::to_owned);
    let body = text("/body").unwrap_or_default();
    let encoded = payload.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or_default();
    Some(Request {
        chain: text("/rawPath").unwrap_or_default().trim_matches('/').to_owned(),
        timestamp: header(proofyard_signature::TIMESTAMP),
        signature: header(proofyard_signature::SIGNATURE),
        // A body that is not valid base64 becomes empty, and its signature does not match.
        body: if encoded { BASE64.decode(body).unwrap_or_default() } else { body.as_bytes().to_vec() },
    })
}

/// A message of a caller that may invoke the function directly. A block's payload is in the bucket already.
async fn direct(home: &AwsHome, payload: Value) -> Result<Value, Error> {
    let message: Message = serde_json::from_value(payload).map_err(|error| {
        format!("this is neither a request nor a message: {error}; send {{\"block\": {{\"chain\": ..., \"block\": ...}}}}")
    })?;
    let chain = match &message {
        Message::Block { chain, .. } | Message::Reorg { chain, .. } | Message::End { chain } => chain.clone(),
        Message::Wake(_) | Message::Tick {} => return Err("only block, reorg and end are taken here".into()),
    };
    let deduplication = format!("direct-{:016x}", home.yard.port.random());
    home.post(&chain, deduplication, &message).await?;
    Ok(json!({ "accepted": 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_to_the_functions_address_is_read() {
        let event = |body: &str, encoded: bool| {
            json!({
                "version": "2.0",
                "rawPath": "/demo",
                "requestContext": { "http": { "method": "POST", "path": "/demo" } },
                "headers": { "x-proofyard-timestamp": "7", "x-proofyard-signature": "v1=ab" },
                "body": body,
                "isBase64Encoded": encoded,
            })
        };
        let request = request_of(&event("line", false)).unwrap();
        assert_eq!((request.chain.as_str(), request.body.as_slice()), ("demo", b"line".as_slice()));
        assert_eq!((request.timestamp.as_deref(), request.signature.as_deref()), (Some("7"), Some("v1=ab")));
        assert_eq!(request_of(&event("bGluZQ==", true)).unwrap(), request);
        assert_eq!(request_of(&json!({ "block": {} })), None);
    }
}
