//! The questions of [`Nodes`], as `eth_` methods over HTTP.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use alloy_json_rpc::{RpcRecv, RpcSend};
use alloy_rpc_client::RpcClient;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;
use proofyard_core::pipeline::{MAX_HEIGHT, NodeSource};
use proofyard_core::state::{ChainName, EndpointStatus, Finality, NamedBlock};
use proofyard_intake::follower::{Identity, NodeError, Nodes};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::endpoints::{Endpoints, shown};
use crate::errors::node_error;

/// Also of a batch of whole blocks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// So often in a row a node may refuse batches before it is sent none any more.
const BATCH_REFUSALS: u32 = 2;
/// A node that takes longer to name its newest block is of no use.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A chain's nodes.
pub struct RpcNodes {
    names: Vec<String>,
    nodes: Vec<RpcNode>,
    batch_blocks: u64,
    requests_at_once: u64,
    pub(crate) subscriptions: Rc<RefCell<Vec<EndpointStatus>>>,
}

struct RpcNode {
    client: RpcClient,
    url: Url,
    /// How often in a row it refused several requests in one.
    refused_batches: Cell<u32>,
    /// How many requests for blocks it is sent side by side: fewer once it was busy.
    at_once: Cell<u64>,
}

#[derive(Debug, Deserialize)]
struct Brief {
    number: String,
    hash: String,
}

impl RpcNodes {
    /// Nothing is asked yet. Fails where the system gives no TLS.
    pub fn new(endpoints: &Endpoints, source: &NodeSource) -> Result<Self, reqwest::Error> {
        Self::with_timeout(endpoints, source, REQUEST_TIMEOUT)
    }

    /// The same, where a request may take so long.
    pub fn with_timeout(
        endpoints: &Endpoints,
        source: &NodeSource,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let http = http_client(timeout)?;
        let node = |url: &Url| RpcNode {
            client: RpcClient::new_http_with_client(http.clone(), url.clone()),
            url: url.clone(),
            refused_batches: Cell::new(0),
            at_once: Cell::new(source.requests_at_once),
        };
        Ok(Self {
            names: endpoints.rpc.iter().map(shown).collect(),
            nodes: endpoints.rpc.iter().map(node).collect(),
            batch_blocks: source.batch_blocks,
            requests_at_once: source.requests_at_once,
            subscriptions: Rc::default(),
        })
    }

    async fn ask<P: RpcSend, R: RpcRecv>(
        &self,
        of: usize,
        method: &'static str,
        of_what: P,
    ) -> Result<R, NodeError> {
        self.nodes[of]
            .client
            .request(method, of_what)
            .await
            .map_err(|error| node_error(error, &self.nodes[of].url))
    }

    async fn brief(&self, of: usize, block: &str) -> Result<Option<NamedBlock>, NodeError> {
        let brief: Option<Brief> = self.ask(of, "eth_getBlockByNumber", (block.to_owned(), false)).await?;
        brief.map(Brief::named).transpose()
    }

    /// What a node does not know, or does not have, it does not have.
    async fn tagged(&self, of: usize, tag: &str) -> Result<Option<NamedBlock>, NodeError> {
        match self.brief(of, tag).await {
            Err(NodeError::Refused { .. }) => Ok(None),
            found => found,
        }
    }

    async fn head(&self, of: usize) -> Result<NamedBlock, NodeError> {
        match tokio::time::timeout(HEAD_TIMEOUT, self.brief(of, "latest")).await {
            Ok(head) => head?.ok_or_else(|| NodeError::Rubbish("it has no newest block".to_owned())),
            Err(_) => Err(NodeError::Down("it does not answer in time".to_owned())),
        }
    }

    /// Some whole blocks, in one request where the node takes that. One that refuses batches, or breaks over them, is asked one
    /// by one, for good once it has done so twice in a row.
    async fn some_blocks(
        &self,
        of: usize,
        heights: RangeInclusive<u64>,
    ) -> Result<Vec<Option<String>>, NodeError> {
        let node = &self.nodes[of];
        if node.refused_batches.get() < BATCH_REFUSALS && heights.start() < heights.end() {
            match self.batch(of, heights.clone()).await {
                Ok(blocks) => {
                    node.refused_batches.set(0);
                    return Ok(blocks);
                }
                Err(busy @ NodeError::Busy { .. }) => return Err(busy),
                Err(_) => {
                    let blocks = self.one_by_one(of, heights).await?;
                    // It answers, so it was the batch.
                    node.refused_batches.set(node.refused_batches.get() + 1);
                    return Ok(blocks);
                }
            }
        }
        self.one_by_one(of, heights).await
    }

    /// As many as come before one fails.
    async fn one_by_one(
        &self,
        of: usize,
        heights: RangeInclusive<u64>,
    ) -> Result<Vec<Option<String>>, NodeError> {
        let mut blocks = Vec::new();
        for height in heights {
            match self.one_block(of, height).await {
                Ok(block) => blocks.push(block),
                Err(_) if !blocks.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(blocks)
    }

    async fn batch(&self, of: usize, heights: RangeInclusive<u64>) -> Result<Vec<Option<String>>, NodeError> {
        let failed = |error| node_error(error, &self.nodes[of].url);
        let mut batch = self.nodes[of].client.new_batch();
        let mut answers = Vec::new();
        for height in heights {
            let call = batch.add_call::<_, Option<Box<RawValue>>>(
                "eth_getBlockByNumber",
                &(format!("{height:#x}"), true),
            );
            answers.push(call.map_err(failed)?);
        }
        batch.send().await.map_err(failed)?;
        let mut blocks = Vec::new();
        for answer in answers {
            blocks.push(text_of(answer.await.map_err(failed)?));
        }
        Ok(blocks)
    }

    async fn one_block(&self, of: usize, height: u64) -> Result<Option<String>, NodeError> {
        Ok(text_of(self.ask(of, "eth_getBlockByNumber", (format!("{height:#x}"), true)).await?))
    }
}

/// Fails where the system gives no TLS.
pub fn http_client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    // Another part of the program may have chosen its cryptography before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().timeout(timeout).connect_timeout(CONNECT_TIMEOUT);
    // A redirect would take what is asked, and a key in a URL, elsewhere.
    builder.redirect(reqwest::redirect::Policy::none()).build()
}

fn text_of(answer: Option<Box<RawValue>>) -> Option<String> {
    answer.map(|raw| Box::<str>::from(raw).into_string()).filter(|text| text != "null")
}

impl Brief {
    fn named(self) -> Result<NamedBlock, NodeError> {
        match (height_of(&self.number), hash_of(&self.hash)) {
            (Some(height), Some(hash)) => Ok(NamedBlock { height, hash: hash.into() }),
            _ => Err(NodeError::Rubbish("what it names is no block".to_owned())),
        }
    }
}

/// A height that a chain can have.
pub(crate) fn height_of(number: &str) -> Option<u64> {
    let height = u64::from_str_radix(number.strip_prefix("0x")?, 16).ok()?;
    (height < MAX_HEIGHT).then_some(height)
}

pub(crate) fn hash_of(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x")?;
    let is_hash = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

impl Nodes for RpcNodes {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn subscriptions(&self) -> Vec<EndpointStatus> {
        self.subscriptions.borrow().clone()
    }

    async fn heads(&self, of: &[usize]) -> Vec<Result<NamedBlock, NodeError>> {
        join_all(of.iter().map(|index| self.head(*index))).await
    }

    async fn identity(&self, of: usize) -> Result<Identity, NodeError> {
        let asked = tokio::time::timeout(HEAD_TIMEOUT, self.ask(of, "eth_chainId", ())).await;
        let chain_id: String =
            asked.unwrap_or_else(|_| Err(NodeError::Down("it does not answer in time".to_owned())))?;
        let digits = chain_id.strip_prefix("0x").unwrap_or_default();
        let chain_id = u64::from_str_radix(digits, 16)
            .map_err(|_| NodeError::Rubbish("what it calls its chain's id is none".to_owned()))?;
        Ok(Identity { chain_id, genesis: self.tagged(of, "0x0").await?.map(|block| block.hash.into()) })
    }

    async fn blocks(&self, of: usize, heights: RangeInclusive<u64>) -> Result<Vec<String>, NodeError> {
        let (from, to) = (*heights.start(), *heights.end());
        let at_once = &self.nodes[of].at_once;
        let firsts = (from..=to).step_by(usize::try_from(self.batch_blocks).unwrap_or(1));
        let requests = firsts.map(async |first| {
            let last = to.min(first + self.batch_blocks - 1);
            (last - first + 1, self.some_blocks(of, first..=last).await)
        });
        let mut answers = iter(requests).buffered(usize::try_from(at_once.get()).unwrap_or(1).max(1));
        let mut blocks = Vec::new();
        while let Some((asked, answer)) = answers.next().await {
            match answer {
                Ok(some) => {
                    let had: Vec<String> = some.into_iter().map_while(|block| block).collect();
                    let is_short = (had.len() as u64) < asked;
                    blocks.extend(had);
                    // What is above would not go on from these.
                    if is_short {
                        break;
                    }
                }
                Err(error) => {
                    if matches!(error, NodeError::Busy { .. } | NodeError::Down(_)) {
                        at_once.set((at_once.get() / 2).max(1));
                    }
                    // What came before is of use.
                    return if blocks.is_empty() { Err(error) } else { Ok(blocks) };
                }
            }
        }
        at_once.set((at_once.get() * 2).min(self.requests_at_once));
        Ok(blocks)
    }

    async fn block(&self, of: usize, hash: &str) -> Result<Option<String>, NodeError> {
        Ok(text_of(self.ask(of, "eth_getBlockByHash", (hash.to_owned(), true)).await?))
    }

    async fn block_at(&self, of: usize, height: u64) -> Result<Option<NamedBlock>, NodeError> {
        self.brief(of, &format!("{height:#x}")).await
    }

    async fn finality(&self, of: usize, chain: &ChainName) -> Result<Finality, NodeError> {
        let (safe, finalized) = (self.tagged(of, "safe").await?, self.tagged(of, "finalized").await?);
        Ok(Finality { chain: chain.clone(), safe, finalized })
    }
}
