//! What a transport's error says of a node. Nothing of a URL but its host gets into a text.

use std::error::Error as _;
use std::time::Duration;

use alloy_json_rpc::RpcError;
use alloy_transport::{TransportError, TransportErrorKind};
use proofyard_intake::follower::NodeError;
use url::Url;

use crate::endpoints::redacted;

/// Characters of a node's own words that are kept.
const WORDS: usize = 160;
/// As providers say that they are asked too often: "limit exceeded", and codes of their own.
const LIMITS: [i64; 4] = [-32_005, -32_007, -32_029, 429];

/// What a call's error says of the node at this URL.
pub fn node_error(error: TransportError, url: &Url) -> NodeError {
    match error {
        RpcError::ErrorResp(payload) if is_limit(payload.code, &payload.message) => {
            NodeError::Busy { why: words(&payload.message, url), retry_after_ms: None }
        }
        RpcError::ErrorResp(payload) => {
            NodeError::Refused { code: payload.code, message: words(&payload.message, url) }
        }
        RpcError::NullResp => NodeError::Rubbish("it answered with nothing".to_owned()),
        RpcError::DeserError { err, text } => NodeError::Rubbish(format!(
            "it answered {:?}, which is not what was asked for: {err}",
            words(&text, url)
        )),
        RpcError::Transport(TransportErrorKind::HttpError(error)) => {
            of_status(error.status, &error.body, None, url)
        }
        RpcError::Transport(TransportErrorKind::HttpErrorWithRetryAfter { error, retry_after }) => {
            of_status(error.status, &error.body, Some(retry_after), url)
        }
        RpcError::Transport(TransportErrorKind::MissingBatchResponse(id)) => {
            NodeError::Rubbish(format!("its answer to a batch lacks request {id}"))
        }
        RpcError::Transport(kind) => NodeError::Down(causes(&kind, url)),
        other => NodeError::Rubbish(words(&other.to_string(), url)),
    }
}

/// Whether an error of JSON-RPC says that the node is asked too often.
pub(crate) fn is_limit(code: i64, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    LIMITS.contains(&code) || message.contains("rate limit") || message.contains("too many requests")
}

fn of_status(status: u16, body: &str, retry_after: Option<Duration>, url: &Url) -> NodeError {
    // What stands in a body's place where it could not be read names the whole URL.
    let body = if body.starts_with("<failed to read") { "" } else { body };
    let why = match words(body, url).as_str() {
        "" => format!("HTTP status {status}"),
        body => format!("HTTP status {status}: {body}"),
    };
    match status {
        429 | 503 => {
            let retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            NodeError::Busy { why, retry_after_ms }
        }
        401 | 403 | 404 => NodeError::Refused { code: i64::from(status), message: why },
        _ => NodeError::Down(why),
    }
}

/// The innermost causes; what stands above them repeats the URL.
fn causes(kind: &TransportErrorKind, url: &Url) -> String {
    kind.source().map_or_else(|| "it cannot be reached".to_owned(), |error| said_by(error, url))
}

/// An error and its causes, less those that repeat the URL.
pub(crate) fn said_by(error: &(dyn std::error::Error + 'static), url: &Url) -> String {
    let mut said = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<reqwest::Error>() {
            Some(error) if error.is_timeout() => said.push("it does not answer in time".to_owned()),
            Some(_) => {}
            None => said.push(error.to_string()),
        }
        cause = error.source();
    }
    match said.is_empty() {
        true => "it cannot be reached".to_owned(),
        false => words(&said.join(": "), url),
    }
}

pub(crate) fn words(text: &str, url: &Url) -> String {
    let text = redacted(text, url);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(WORDS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
