//! What a transport's error says of a node. Nothing of a URL but its host gets into a text.

use std::error::Error as _;
use std::time::Duration;

use alloy_json_rpc::RpcError;
use alloy_transport::{TransportError, TransportErrorKind};
use proofyard_intake::follower::NodeError;

/// Characters of a node's own words that are kept.
const WORDS: usize = 160;
/// "Limit exceeded", as many providers say that they are asked too often.
const LIMIT_EXCEEDED: i64 = -32_005;

pub(crate) fn node_error(error: TransportError) -> NodeError {
    match error {
        RpcError::ErrorResp(payload) if payload.code == LIMIT_EXCEEDED || payload.code == 429 => {
            NodeError::Busy { why: words(&payload.message), retry_after_ms: None }
        }
        RpcError::ErrorResp(payload) => {
            NodeError::Refused { code: payload.code, message: words(&payload.message) }
        }
        RpcError::NullResp => NodeError::Rubbish("it answered with nothing".to_owned()),
        RpcError::DeserError { err, text } => NodeError::Rubbish(format!(
            "it answered {:?}, which is not what was asked for: {err}",
            words(&text)
        )),
        RpcError::Transport(TransportErrorKind::HttpError(error)) => {
            of_status(error.status, &error.body, None)
        }
        RpcError::Transport(TransportErrorKind::HttpErrorWithRetryAfter { error, retry_after }) => {
            of_status(error.status, &error.body, Some(retry_after))
        }
        RpcError::Transport(TransportErrorKind::MissingBatchResponse(id)) => {
            NodeError::Rubbish(format!("its answer to a batch lacks request {id}"))
        }
        RpcError::Transport(kind) => NodeError::Down(causes(&kind)),
        other => NodeError::Rubbish(words(&other.to_string())),
    }
}

fn of_status(status: u16, body: &str, retry_after: Option<Duration>) -> NodeError {
    let why = match words(body).as_str() {
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
fn causes(kind: &TransportErrorKind) -> String {
    kind.source().map_or_else(|| "it cannot be reached".to_owned(), said_by)
}

/// An error and its causes, less those that repeat the URL.
pub(crate) fn said_by(error: &(dyn std::error::Error + 'static)) -> String {
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
        false => words(&said.join(": ")),
    }
}

fn words(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(WORDS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
