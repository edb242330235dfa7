//! Block events from outside, signed: checked, their payloads stored, then kept on the chain's queue until recorded.
//!
//! A request is `POST /CHAIN` with lines as in a blocks file, one or more, the oldest first, and two headers that
//! authenticate it ([`super::signature`]).
//!
//! A repeat within five minutes under the same timestamp is the same message; one with another timestamp is a new one,
//! so that a block that left the chain can come back. A block event is a hint: the block must hash to its name, and is
//! appended only to its parent.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{LocalBoxFuture, try_join_all};
use proofyard_blocks::{BlocksError, Line, RecordedBlock, Rules, parse_line};
use proofyard_core::error::{Code, Coded, Error, Refusal, with_causes};
use proofyard_core::pipeline::Header;
use proofyard_core::port::Port;
use proofyard_core::state::ChainName;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::IntakeError;
use super::authentication::{Request, authenticate};
use crate::clients::secrets::Secret;
use crate::home::AwsHome;
use crate::queues::message::Message;

/// Bytes of a request: what AWS lets through to a function, less its own wrapping (6 MB, of which base64 takes a third).
pub const MAX_BODY_BYTES: usize = 4_000_000;
/// Blocks of one request.
pub const MAX_BLOCKS: usize = 64;
const PAYLOADS_AT_ONCE: usize = 16;
const UNAUTHORIZED: u16 = 401;
const UNAVAILABLE: u16 = 500;

/// The answer: an HTTP status, and JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Response {
    #[serde(skip)]
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<usize>,
    /// With all that lies under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The error's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

impl Response {
    /// The request may succeed later.
    fn unavailable(error: &impl Coded) -> Self {
        Self::refused_for(503, error)
    }
    fn accepted(blocks: usize) -> Self {
        Self { status: 202, accepted: Some(blocks), error: None, code: None }
    }
    fn refused_for(status: u16, error: &impl Coded) -> Self {
        Self::refused(status, error.code(), with_causes(error).to_string())
    }
    fn refused(status: u16, code: Code, error: impl Into<String>) -> Self {
        Self { status, accepted: None, error: Some(error.into()), code: Some(code) }
    }
}

/// Why a body is not taken.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error(transparent)]
    Line(#[from] BlocksError),
    #[error("body:{line}: only an operator or a follower may record a reorg; a webhook takes blocks alone")]
    Reorg { line: u64 },
    #[error("it has more than {MAX_BLOCKS} blocks; send them in several requests")]
    TooManyBlocks,
    #[error("it has no block")]
    NoBlock,
}

impl Coded for BodyError {
    fn code(&self) -> Code {
        match self {
            Self::Line(error) => error.code(),
            Self::Reorg { .. } | Self::TooManyBlocks | Self::NoBlock => Code::BadBody,
        }
    }
}

/// The blocks of a body; the whole body is refused for one bad line.
fn blocks_of(body: &[u8], rules: &Rules) -> Result<Vec<RecordedBlock>, BodyError> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut blocks = Vec::new();
    for (number, line) in (1..).zip(lines) {
        if blocks.len() == MAX_BLOCKS {
            return Err(BodyError::TooManyBlocks);
        }
        match parse_line("body", number, line, rules)? {
            Line::Block(block) => blocks.push(*block),
            Line::Reorg { .. } => return Err(BodyError::Reorg { line: number }),
        }
    }
    if blocks.is_empty() { Err(BodyError::NoBlock) } else { Ok(blocks) }
}

/// Logs which of a block's values are trusted unchecked, once in a function's life.
fn log_unchecked(chain: &ChainName, rules: &Rules, blocks: &[RecordedBlock]) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let Some(block) = blocks.first().filter(|_| rules.header == Header::Trusted) else { return };
    if !TOLD.swap(true, Ordering::Relaxed) {
        let fields = block.not_understood.join(", ");
        warn!(%chain, fields, "hashes of blocks are taken as they are said; these fields are not understood");
    }
}

impl AwsHome {
    /// Handles one signed request. Reads the secret again, once, if the signature does not match: it may have been rotated.
    pub fn ingest_under<'a>(
        &'a self,
        request: &'a Request,
        secret: &'a Secret,
    ) -> LocalBoxFuture<'a, Response> {
        Box::pin(async move {
            let response = match secret.that_count(self.yard.port.now_ms()).await {
                Ok(secrets) => self.ingest(request, &secrets).await,
                Err(error) => Response::unavailable(&error),
            };
            if response.status >= UNAVAILABLE {
                self.metrics.print_ingest_unavailable(self.yard.port.now_ms());
            }
            response
        })
    }

    /// Handles one request that is signed under one of these secrets. A block that is answered with 202 is kept until it
    /// is recorded.
    pub fn ingest<'a>(
        &'a self,
        request: &'a Request,
        secrets: &'a [Vec<u8>],
    ) -> LocalBoxFuture<'a, Response> {
        Box::pin(async move {
            if request.body.len() > MAX_BODY_BYTES {
                let found = request.body.len();
                return Response::refused(
                    413,
                    Code::BodyTooLarge,
                    format!("the body has {found} bytes; {MAX_BODY_BYTES} are the most"),
                );
            }
            if let Err(reason) = authenticate(request, secrets, self.yard.port.now_ms() / 1_000) {
                warn!(chain = request.chain, error = reason, "a request was refused");
                return Response::refused(UNAUTHORIZED, Code::NotAuthentic, reason);
            }
            let chain: ChainName = match request.chain.parse() {
                Ok(chain) => chain,
                Err(error) => return Response::refused_for(404, &Refusal::from(error)),
            };
            let rules = match self.yard.chain(&chain).await {
                Ok((_, pipeline)) => Rules::of(&pipeline),
                Err(error @ Error::Refused(Refusal::UnknownChain(_))) => {
                    return Response::refused_for(404, &error);
                }
                Err(error) => return Response::unavailable(&error),
            };
            let blocks = match blocks_of(&request.body, &rules) {
                Ok(blocks) => blocks,
                Err(error) => return Response::refused_for(400, &error),
            };
            log_unchecked(&chain, &rules, &blocks);
            let delivery = request.timestamp.as_deref().unwrap_or_default();
            match self.accept(&chain, &blocks, delivery).await {
                Ok(()) => Response::accepted(blocks.len()),
                Err(error) => {
                    warn!(%chain, code = %error.code(), error = %with_causes(&error), "blocks cannot be taken now");
                    Response::unavailable(&error)
                }
            }
        })
    }

    /// Keeps blocks: their payloads first, some side by side, since a function has little time; then, in their order, the
    /// events that name them.
    async fn accept(
        &self,
        chain: &ChainName,
        blocks: &[RecordedBlock],
        delivery: &str,
    ) -> Result<(), IntakeError> {
        for some in blocks.chunks(PAYLOADS_AT_ONCE) {
            for block in try_join_all(some.iter().map(|block| self.keep_payload(block))).await? {
                let said = format!("{chain}\u{0}{}\u{0}{}\u{0}{delivery}", block.height, block.hash);
                let deduplication = hex::encode(Sha256::digest(said));
                info!(%chain, height = block.height, hash = block.hash.as_str(), "block accepted");
                let message = Message::Block { chain: chain.clone(), block };
                self.post(chain, deduplication, &message).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_whole_or_not_at_all() {
        let chain = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/blocks/chain.jsonl");
        let chain = std::fs::read_to_string(chain).unwrap();
        let chain = chain.split_inclusive('\n').take(16).collect::<String>().into_bytes();
        let blocks = blocks_of(&chain, &Rules::default()).unwrap();
        assert_eq!(blocks.len(), 16);
        let first: serde_json::Value = serde_json::from_slice(&blocks[0].payload).unwrap();
        let answer = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "result": first["block"] }).to_string();
        let answered = blocks_of(answer.as_bytes(), &Rules::default()).unwrap();
        assert_eq!((answered[0].hash, answered[0].segments), (blocks[0].hash, 0));
        let splits = Rules { splits: Some("segment".into()), ..Rules::default() };
        assert!(blocks_of(answer.as_bytes(), &splits).unwrap_err().to_string().contains("names no segments"));
        let refused = |body: Vec<u8>, text: &str| {
            let said = blocks_of(&body, &Rules::default()).unwrap_err().to_string();
            assert!(said.contains(text), "{said}");
        };
        refused(Vec::new(), "no block");
        refused([chain.clone(), b"{}\n".to_vec()].concat(), "body:17");
        refused(chain.repeat(5), "more than 64 blocks");
        let reorg = format!("{{\"reorg\": \"0x{}\"}}", "ab".repeat(32));
        refused(reorg.into_bytes(), "a webhook takes blocks alone");
    }
}
