//! What nodes are asked.
//!
//! All of one look is asked of one node: what two say at once need not fit together. One that cannot be reached, or is asked
//! too often, fails the look, and the next one asks another.

use std::cell::Cell;
use std::time::Duration;

use alloy_json_rpc::{RpcError, RpcRecv};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_client::RpcClient;
use proofyard_core::pipeline::EndpointUrl;
use proofyard_intake::follower::NodeError;
use proofyard_node::{http_client, node_error};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

use crate::{Failure, Surroundings};

/// A node that takes longer is none; less where the whole may not take four times that.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Where a node does not say what others offer to be included soon.
const PRIORITY_FEE_WEI: u128 = 1_000_000_000;

/// A chain's nodes.
pub(crate) struct Chain {
    nodes: Vec<(RpcClient, Url)>,
    /// Which one is asked.
    current: Cell<usize>,
    /// How many have failed one after another.
    failed: Cell<usize>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub number: Quantity,
    pub hash: B256,
    pub base_fee_per_gas: Option<Quantity>,
    pub gas_limit: Quantity,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub block_number: Quantity,
    pub block_hash: B256,
    pub status: Quantity,
    pub gas_used: Quantity,
}

/// A number as nodes write it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Quantity(U256);

impl Quantity {
    pub fn number(self) -> u64 {
        self.0.saturating_to()
    }
    pub fn wei(self) -> u128 {
        self.0.saturating_to()
    }
}

/// A call of a contract.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub from: Address,
    pub to: Address,
    pub data: Bytes,
    pub value: U256,
}

/// The transactions of a block, as far as they say whose they are.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Block {
    pub transactions: Vec<InBlock>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct InBlock {
    pub hash: B256,
    pub from: Address,
    pub nonce: Quantity,
}

/// What nodes say to a transaction.
pub(crate) enum Heard {
    Taken,
    /// All have answered that they do not take it, so nobody has it.
    Refused(String),
    /// Somebody may have it.
    Unclear(String),
}

/// What became of a call that was only tried.
pub(crate) enum Tried<T> {
    Is(T),
    /// With the data of the revert.
    Reverts(Bytes),
}

impl Chain {
    pub fn open(
        rpc: &[EndpointUrl],
        time_limit_ms: u64,
        surroundings: &impl Surroundings,
    ) -> Result<Self, Failure> {
        let http = http_client(TIMEOUT.min(Duration::from_millis(time_limit_ms / 4)))
            .map_err(|error| Failure::later(error.to_string()))?;
        let mut nodes = Vec::new();
        for endpoint in rpc {
            let (place, text) = match endpoint {
                EndpointUrl::Is(url) => ("`rpc`".to_owned(), url.clone()),
                EndpointUrl::From(name) => {
                    let text = surroundings.variable(name);
                    let text =
                        text.ok_or_else(|| Failure::later(format!("the environment here has no {name}")))?;
                    (format!("the variable {name}"), text)
                }
            };
            let no_url = |error| Failure::Refused(format!("{place} holds no URL ({error})"));
            let url = Url::parse(text.trim()).map_err(no_url)?;
            if !["http", "https"].contains(&url.scheme()) {
                return Err(Failure::Refused(format!(
                    "{place} holds no URL that begins with http:// or https://"
                )));
            }
            nodes.push((RpcClient::new_http_with_client(http.clone(), url.clone()), url));
        }
        Ok(Self { nodes, current: Cell::new(0), failed: Cell::new(0) })
    }

    /// Whether there is a node that has not failed since the last look that succeeded.
    pub fn has_another(&self) -> bool {
        self.failed.get() < self.nodes.len()
    }

    /// How many have failed since then.
    pub fn failed(&self) -> usize {
        self.failed.get()
    }

    pub fn look_succeeded(&self) {
        self.failed.set(0);
    }

    /// One question of any kind.
    pub async fn ask<R: RpcRecv>(&self, method: &str, params: Json) -> Result<R, Failure> {
        match self.ask_or_revert(method, params).await? {
            Tried::Is(answer) => Ok(answer),
            Tried::Reverts(_) => Err(Failure::later(format!("{method}: reverted"))),
        }
    }

    /// The same, of whichever node answers.
    pub async fn ask_any<R: RpcRecv>(&self, method: &str, params: Json) -> Result<R, Failure> {
        loop {
            match self.ask(method, params.clone()).await {
                Err(_) if self.has_another() => {}
                answer => return answer,
            }
        }
    }

    async fn ask_or_revert<R: RpcRecv>(&self, method: &str, params: Json) -> Result<Tried<R>, Failure> {
        let Some((client, url)) = self.nodes.get(self.current.get()) else {
            return Err(Failure::later("no node is named"));
        };
        let error = match client.request(method.to_owned(), params).await {
            Ok(answer) => return Ok(Tried::Is(answer)),
            Err(error) => error,
        };
        if let RpcError::ErrorResp(payload) = &error
            && (payload.code == 3 || payload.message.contains("revert"))
        {
            return Ok(Tried::Reverts(payload.as_revert_data().unwrap_or_default()));
        }
        let host = url.host_str().unwrap_or_default();
        self.failed.set(self.failed.get() + 1);
        self.current.set((self.current.get() + 1) % self.nodes.len());
        Err(match node_error(error, url) {
            NodeError::Refused { message, .. } => Failure::later(format!("{host}: {method}: {message}")),
            NodeError::Busy { why, retry_after_ms } => {
                Failure::Later { reason: format!("{host}: {method}: {why}"), wait_ms: retry_after_ms }
            }
            other => Failure::later(format!("{host}: {method}: {other}")),
        })
    }

    pub async fn chain_id(&self) -> Result<u64, Failure> {
        Ok(self.ask::<Quantity>("eth_chainId", json!([])).await?.number())
    }

    pub async fn head(&self) -> Result<Head, Failure> {
        let head: Option<Head> = self.ask("eth_getBlockByNumber", json!(["latest", false])).await?;
        head.ok_or_else(|| Failure::later("the node has no newest block"))
    }

    /// The hash of the block that the chain has at a height now.
    pub async fn hash_at(&self, height: u64) -> Result<Option<B256>, Failure> {
        let block: Option<Head> = self.ask("eth_getBlockByNumber", json!([hex(height), false])).await?;
        Ok(block.map(|block| block.hash))
    }

    /// How many transactions of the account the chain has, up to a block.
    pub async fn transactions_of(&self, account: Address, height: u64) -> Result<u64, Failure> {
        let count: Quantity = self.ask("eth_getTransactionCount", json!([account, hex(height)])).await?;
        Ok(count.number())
    }

    /// The nonce behind all that nodes have of the account, pending ones too; the highest that one of them says.
    pub async fn next_pending(&self, account: Address) -> Result<u64, Failure> {
        let (mut highest, mut failed) = (None, None);
        for (client, url) in &self.nodes {
            let asked = client.request::<_, Quantity>("eth_getTransactionCount", (account, "pending")).await;
            match asked {
                Ok(count) => highest = highest.max(Some(count.number())),
                Err(error) => failed = Some((node_error(error, url), url)),
            }
        }
        if let Some((error, url)) = failed {
            return Err(Failure::later(format!("{}: {error}", url.host_str().unwrap_or_default())));
        }
        highest.ok_or_else(|| Failure::later("no node is named"))
    }

    /// The transaction by which an account used a nonce, where it is in this block.
    pub async fn user_of(&self, account: Address, nonce: u64, height: u64) -> Result<Option<B256>, Failure> {
        let block: Option<Block> = self.ask("eth_getBlockByNumber", json!([hex(height), true])).await?;
        let of_account = block.into_iter().flat_map(|block| block.transactions);
        let mut found = of_account.filter(|each| each.from == account && each.nonce.number() == nonce);
        Ok(found.next().map(|each| each.hash))
    }

    pub async fn receipt(&self, transaction: B256) -> Result<Option<Receipt>, Failure> {
        self.ask("eth_getTransactionReceipt", json!([transaction])).await
    }

    pub async fn knows(&self, transaction: B256) -> Result<bool, Failure> {
        let found: Option<Json> = self.ask("eth_getTransactionByHash", json!([transaction])).await?;
        Ok(found.is_some())
    }

    /// A view, as of a block.
    pub async fn view(&self, call: &Call, height: u64) -> Result<Tried<Bytes>, Failure> {
        self.ask_or_revert("eth_call", json!([call.json(), hex(height)])).await
    }

    pub async fn gas_of(&self, call: &Call) -> Result<Tried<u64>, Failure> {
        Ok(match self.ask_or_revert::<Quantity>("eth_estimateGas", json!([call.json()])).await? {
            Tried::Is(gas) => Tried::Is(gas.number()),
            Tried::Reverts(data) => Tried::Reverts(data),
        })
    }

    pub async fn priority_fee_wei(&self) -> u128 {
        let asked = self.ask::<Quantity>("eth_maxPriorityFeePerGas", json!([])).await;
        asked.map_or(PRIORITY_FEE_WEI, Quantity::wei)
    }

    /// Every node is given it: one of them may have lost it, or not be heard by others.
    pub async fn send(&self, raw: &str) -> Heard {
        let (mut taken, mut refused, mut unclear) = (false, None, None);
        for (client, url) in &self.nodes {
            let error = match client.request::<_, B256>("eth_sendRawTransaction", (raw.to_owned(),)).await {
                Ok(_) => {
                    taken = true;
                    continue;
                }
                Err(error) => node_error(error, url),
            };
            let reason = format!("{}: {error}", url.host_str().unwrap_or_default());
            match error {
                NodeError::Refused { .. } if is_known(&reason) => taken = true,
                NodeError::Refused { .. } => refused = Some(reason),
                _ => unclear = Some(reason),
            }
        }
        match (unclear, refused) {
            _ if taken => Heard::Taken,
            (Some(reason), _) => Heard::Unclear(reason),
            (None, Some(reason)) => Heard::Refused(reason),
            (None, None) => Heard::Unclear("no node is named".to_owned()),
        }
    }
}

fn is_known(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["already known", "already imported", "known transaction"].iter().any(|words| reason.contains(words))
}

impl Call {
    fn json(&self) -> Json {
        json!({ "from": self.from, "to": self.to, "data": self.data, "value": self.value })
    }
}

fn hex(number: u64) -> String {
    format!("{number:#x}")
}
