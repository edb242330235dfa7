//! The nodes of a chain, as the follower asks them. `crates/node` asks real ones.

use std::future::Future;
use std::ops::RangeInclusive;

use proofyard_core::state::{BlockHash, ChainName, EndpointStatus, Finality, NamedBlock};

/// The nodes that a follower may ask, by number, the preferred first. Requests to several go side by side.
pub trait Nodes {
    /// Each without what in its URL may be a secret.
    fn names(&self) -> &[String];

    /// How those stand that tell of new blocks by themselves.
    fn subscriptions(&self) -> Vec<EndpointStatus> {
        Vec::new()
    }

    /// The newest block of each of these nodes, in their order.
    fn heads(&self, of: &[usize]) -> impl Future<Output = Vec<Result<NamedBlock, NodeError>>>;

    fn identity(&self, of: usize) -> impl Future<Output = Result<Identity, NodeError>>;

    /// Whole blocks, as the node's JSON; fewer where its chain ends before.
    fn blocks(
        &self,
        of: usize,
        heights: RangeInclusive<u64>,
    ) -> impl Future<Output = Result<Vec<String>, NodeError>>;

    /// A whole block, as the node's JSON; `None` where it has none.
    fn block(&self, of: usize, hash: &str) -> impl Future<Output = Result<Option<String>, NodeError>>;

    /// Which block the node has at a height.
    fn block_at(&self, of: usize, height: u64)
    -> impl Future<Output = Result<Option<NamedBlock>, NodeError>>;

    /// What it calls safe and finalized; neither where it does not know these words.
    fn finality(&self, of: usize, chain: &ChainName) -> impl Future<Output = Result<Finality, NodeError>>;
}

/// Which chain a node is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub chain_id: u64,
    /// The hash of block 0; `None` where the node does not have it.
    pub genesis: Option<String>,
}

/// A block that a node announced by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub height: u64,
    pub hash: BlockHash,
    pub parent: BlockHash,
}

/// Why a node was of no use. None of it is an error of the yard: another node is asked, or the same one later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    #[error("{0}")]
    Down(String),
    #[error("{why}")]
    Busy { why: String, retry_after_ms: Option<u64> },
    /// It answered that it cannot do that.
    #[error("it refused with {code}: {message}")]
    Refused { code: i64, message: String },
    /// What it answered is no answer.
    #[error("{0}")]
    Rubbish(String),
    /// What it answered cannot be.
    #[error("{0}")]
    NotTrue(String),
    #[error("{0}")]
    OtherChain(String),
}
