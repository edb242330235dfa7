//! What a prover needs with a block, fetched from the node: the answer to any method, streamed into a file.
//!
//! Of what `debug_executionWitness` answers it is checked that the block's parent is among its headers. Of what was asked for by
//! height it is checked afterwards that the node still has that block there.

mod checking;
mod result;

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use self::result::{Answer, AnswerError, copy_result};
use crate::endpoints::shown;
use crate::errors::{is_limit, said_by, words};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Its name in a scratch folder.
const ANSWER: &str = "answer.json";
const METHOD_NOT_FOUND: i64 = -32_601;

/// What is fetched, and where.
pub struct Witness {
    urls: Vec<Url>,
    method: String,
    params: Value,
    http: reqwest::Client,
}

/// Of which block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OfBlock {
    pub number: String,
    pub hash: String,
    #[serde(rename = "parentHash")]
    pub parent: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The node is not there, or busy: nothing is wrong with the block.
    #[error("{node}: {why}")]
    Unavailable { node: String, why: String },
    /// The node does not have it, or not yet; or what it gave is not it.
    #[error("{node}: {why}")]
    Missing { node: String, why: String },
    /// The node does not know such a method.
    #[error("{node}: {why}")]
    NotKnown { node: String, why: String },
    #[error("the witness cannot be kept")]
    Io(#[from] std::io::Error),
}

impl WitnessError {
    /// What speaks for all nodes: one that is away may have it.
    fn rank(&self) -> u8 {
        match self {
            Self::NotKnown { .. } => 0,
            Self::Missing { .. } => 1,
            Self::Unavailable { .. } => 2,
            Self::Io(_) => 3,
        }
    }
}

impl Witness {
    /// `params` may hold `{height}`, as nodes write it (`0x1b`), and `{hash}`; `silence` is how long nothing may come of a node.
    pub fn new(
        urls: Vec<Url>,
        method: String,
        params: Value,
        silence: Duration,
    ) -> Result<Self, reqwest::Error> {
        // Another part of the program may have chosen its cryptography before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(silence)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { urls, method, params, http })
    }

    /// Writes a block's witness into `output`, from the first node that has it; `scratch` is a folder for what is thrown away.
    /// Answers its bytes.
    pub async fn fetch(&self, block: &OfBlock, output: &Path, scratch: &Path) -> Result<u64, WitnessError> {
        let mut nearest: Option<WitnessError> = None;
        for url in &self.urls {
            match self.fetch_of(url, block, output, scratch).await {
                Err(error @ WitnessError::Io(_)) => return Err(error),
                Err(error) if nearest.as_ref().is_none_or(|nearest| error.rank() >= nearest.rank()) => {
                    nearest = Some(error);
                }
                Err(_) => {}
                Ok(bytes) => return Ok(bytes),
            }
        }
        Err(nearest.unwrap_or_else(|| WitnessError::Unavailable {
            node: "no node".to_owned(),
            why: "none is named".to_owned(),
        }))
    }

    async fn fetch_of(
        &self,
        url: &Url,
        block: &OfBlock,
        output: &Path,
        scratch: &Path,
    ) -> Result<u64, WitnessError> {
        let node = shown(url);
        let missing = |why: String| WitnessError::Missing { node: node.clone(), why };
        let answer = self.ask(url, &self.method, filled(&self.params, block), scratch).await?;
        let mut written = BufWriter::new(File::create(output)?);
        let copied = copy_result(BufReader::with_capacity(1 << 20, answer), &mut written);
        written.flush()?;
        let bytes = match copied {
            Ok(Answer::Result(bytes)) => bytes,
            Ok(Answer::Nothing) => return Err(missing(format!("it has none of block {}", block.number))),
            Ok(Answer::Error(error)) => return Err(self.refusal(url, &error)),
            Err(AnswerError::Io(error)) => return Err(error.into()),
            Err(error) => return Err(missing(error.to_string())),
        };
        // The latter is what a proxy of the engine API has kept of a payload.
        if self.method.starts_with("debug_executionWitness") || self.method == "proofyard_witness" {
            checking::expect_parent(output, &block.parent).map_err(|error| match error {
                checking::Unfit::Io(error) => error.into(),
                checking::Unfit::Why(why) => missing(why),
            })?;
        }
        if asks_by_height(&self.params) && !self.has(url, block, scratch).await? {
            return Err(missing(format!("it has another block {} by now", block.number)));
        }
        Ok(bytes)
    }

    fn refusal(&self, url: &Url, error: &str) -> WitnessError {
        #[derive(Deserialize)]
        struct Refusal {
            code: i64,
            message: String,
        }
        let (node, method) = (shown(url), &self.method);
        let Ok(Refusal { code, message }) = serde_json::from_str::<Refusal>(error) else {
            return WitnessError::Missing {
                node,
                why: format!("{method} is refused: {}", words(error, url)),
            };
        };
        let is_busy = is_limit(code, &message);
        let message = words(&message, url);
        match code {
            METHOD_NOT_FOUND => {
                WitnessError::NotKnown { node, why: format!("it knows no {method}: {message}") }
            }
            _ if is_busy => WitnessError::Unavailable { node, why: message },
            _ => WitnessError::Missing { node, why: format!("{method} is refused with {code}: {message}") },
        }
    }

    /// Whether the node has this very block at its height.
    async fn has(&self, url: &Url, block: &OfBlock, scratch: &Path) -> Result<bool, WitnessError> {
        let answer = self.ask(url, "eth_getBlockByNumber", json!([block.number, false]), scratch).await?;
        let mut found = Vec::new();
        match copy_result(BufReader::new(answer), &mut found) {
            Ok(Answer::Result(_)) => {}
            Ok(Answer::Nothing) => return Ok(false),
            _ => {
                let why = "it does not say whether it still has the block".to_owned();
                return Err(WitnessError::Unavailable { node: shown(url), why });
            }
        }
        let found: Option<OfBlock> = serde_json::from_slice(&found).unwrap_or_default();
        Ok(found.is_some_and(|found| found.hash.eq_ignore_ascii_case(&block.hash)))
    }

    /// Streams the answer into a file without a name, so that no more than a piece of it is in memory, and it counts for
    /// nothing in a folder whose size is limited.
    async fn ask(
        &self,
        url: &Url,
        method: &str,
        params: Value,
        scratch: &Path,
    ) -> Result<File, WitnessError> {
        let unavailable = |why: String| WitnessError::Unavailable { node: shown(url), why };
        let failed = |error: reqwest::Error| unavailable(said_by(&error, url));
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent =
            self.http.post(url.clone()).header("content-type", "application/json").body(request.to_string());
        let mut answer = sent.send().await.map_err(failed)?;
        let path = scratch.join(ANSWER);
        let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        let status = answer.status();
        let mut written = BufWriter::new(&mut file);
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            written.write_all(&piece)?;
        }
        written.flush()?;
        drop(written);
        file.seek(SeekFrom::Start(0))?;
        if status.is_success() {
            return Ok(file);
        }
        // Some nodes refuse by a status as well.
        match copy_result(BufReader::new(file), &mut std::io::sink()) {
            Ok(Answer::Error(error)) => Err(self.refusal(url, &error)),
            _ => Err(unavailable(format!("HTTP status {}", status.as_u16()))),
        }
    }
}

/// The parameters with the block's own height and hash in them.
fn filled(params: &Value, block: &OfBlock) -> Value {
    match params {
        Value::String(text) => {
            Value::String(text.replace("{height}", &block.number).replace("{hash}", &block.hash))
        }
        Value::Array(list) => list.iter().map(|item| filled(item, block)).collect(),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.clone(), filled(value, block))).collect()
        }
        other => other.clone(),
    }
}

fn asks_by_height(params: &Value) -> bool {
    !params.to_string().contains("{hash}")
}
