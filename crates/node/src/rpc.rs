//! The questions of [`Nodes`], as `eth_` methods over HTTP.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use alloy_json_rpc::{RpcRecv, RpcSend};
use alloy_rpc_client::RpcClient;
use futures_util::future::{join_all, try_join_all};
use proofyard_core::pipeline::NodeSource;
use proofyard_core::state::{EndpointStatus, Finality, NamedBlock};
use proofyard_intake::follower::{Identity, NodeError, Nodes};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::endpoints::{Endpoints, shown};
use crate::errors::node_error;

/// Also of a batch of whole blocks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A node that takes longer to name its newest block is of no use.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A chain's nodes.
pub struct RpcNodes {
    names: Vec<String>,
    nodes: Vec<RpcNode>,
    batch_blocks: u64,
    pub(crate) subscriptions: Rc<RefCell<Vec<EndpointStatus>>>,
}

struct RpcNode {
    client: RpcClient,
    /// It takes several requests in one; until it refuses that.
    batches: Cell<bool>,
}

#[derive(Debug, Deserialize)]
struct Brief {
    number: String,
    hash: String,
}

impl RpcNodes {
    /// Nothing is asked yet. Fails where the system gives no TLS.
    pub fn new(endpoints: &Endpoints, source: &NodeSource) -> Result<Self, reqwest::Error> {
        // Another part of the program may have chosen its cryptography before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let node = |url: &url::Url| RpcNode {
            client: RpcClient::new_http_with_client(http.clone(), url.clone()),
            batches: Cell::new(true),
        };
        Ok(Self {
            names: endpoints.rpc.iter().map(shown).collect(),
            nodes: endpoints.rpc.iter().map(node).collect(),
            batch_blocks: source.batch_blocks,
            subscriptions: Rc::default(),
        })
    }

    async fn ask<P: RpcSend, R: RpcRecv>(
        &self,
        of: usize,
        method: &'static str,
        of_what: P,
    ) -> Result<R, NodeError> {
        self.nodes[of].client.request(method, of_what).await.map_err(node_error)
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

    /// Some whole blocks, in one request where the node takes that.
    async fn some_blocks(
        &self,
        of: usize,
        heights: RangeInclusive<u64>,
    ) -> Result<Vec<Option<String>>, NodeError> {
        let node = &self.nodes[of];
        if node.batches.get() && heights.start() < heights.end() {
            match self.batch(of, heights.clone()).await {
                Err(NodeError::Refused { .. } | NodeError::Rubbish(_)) => node.batches.set(false),
                done => return done,
            }
        }
        try_join_all(heights.map(|height| self.one_block(of, height))).await
    }

    async fn batch(&self, of: usize, heights: RangeInclusive<u64>) -> Result<Vec<Option<String>>, NodeError> {
        let mut batch = self.nodes[of].client.new_batch();
        let mut answers = Vec::new();
        for height in heights {
            let call = batch.add_call::<_, Option<Box<RawValue>>>(
                "eth_getBlockByNumber",
                &(format!("{height:#x}"), true),
            );
            answers.push(call.map_err(node_error)?);
        }
        batch.send().await.map_err(node_error)?;
        let mut blocks = Vec::new();
        for answer in answers {
            blocks.push(text_of(answer.await.map_err(node_error)?));
        }
        Ok(blocks)
    }

    async fn one_block(&self, of: usize, height: u64) -> Result<Option<String>, NodeError> {
        Ok(text_of(self.ask(of, "eth_getBlockByNumber", (format!("{height:#x}"), true)).await?))
    }
}

fn text_of(answer: Option<Box<RawValue>>) -> Option<String> {
    answer.map(|raw| Box::<str>::from(raw).into_string()).filter(|text| text != "null")
}

impl Brief {
    fn named(self) -> Result<NamedBlock, NodeError> {
        let digits = self.number.strip_prefix("0x").unwrap_or_default();
        match u64::from_str_radix(digits, 16) {
            Ok(height) => Ok(NamedBlock { height, hash: self.hash.to_ascii_lowercase() }),
            Err(_) => Err(NodeError::Rubbish("a block's number is none".to_owned())),
        }
    }
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
        let chain_id: String = self.ask(of, "eth_chainId", ()).await?;
        let digits = chain_id.strip_prefix("0x").unwrap_or_default();
        let chain_id = u64::from_str_radix(digits, 16)
            .map_err(|_| NodeError::Rubbish("what it calls its chain's id is none".to_owned()))?;
        Ok(Identity { chain_id, genesis: self.tagged(of, "0x0").await?.map(|block| block.hash) })
    }

    async fn blocks(&self, of: usize, heights: RangeInclusive<u64>) -> Result<Vec<String>, NodeError> {
        let (from, to) = (*heights.start(), *heights.end());
        let firsts = (from..=to).step_by(usize::try_from(self.batch_blocks).unwrap_or(1));
        let requests =
            firsts.map(|first| self.some_blocks(of, first..=to.min(first + self.batch_blocks - 1)));
        Ok(try_join_all(requests).await?.into_iter().flatten().map_while(|block| block).collect())
    }

    async fn block(&self, of: usize, hash: &str) -> Result<Option<String>, NodeError> {
        Ok(text_of(self.ask(of, "eth_getBlockByHash", (hash.to_owned(), true)).await?))
    }

    async fn block_at(&self, of: usize, height: u64) -> Result<Option<NamedBlock>, NodeError> {
        self.brief(of, &format!("{height:#x}")).await
    }

    async fn finality(&self, of: usize, chain: &str) -> Result<Finality, NodeError> {
        let (safe, finalized) = (self.tagged(of, "safe").await?, self.tagged(of, "finalized").await?);
        Ok(Finality { chain: chain.to_owned(), safe, finalized })
    }
}
