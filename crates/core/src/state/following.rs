//! `C#chain` / `finality`, `node`: what a followed node says of its chain, and what a follower last saw of its nodes.
//!
//! `record` writes both, for followers alone. Nothing in a commit depends on them: they are for sinks that wait for finality
//! and for operators.

use serde::{Deserialize, Serialize};

use super::{BlockHash, ChainName, KeyFamily};
use crate::port::Key;
use crate::transaction::{Item, too_large};

/// Bytes that are kept of what is in the way, or of a node's last error.
const MAX_TROUBLE_BYTES: usize = 512;

/// As much of it as is kept.
pub fn shortened_trouble(text: String) -> String {
    text[..text.floor_char_boundary(MAX_TROUBLE_BYTES)].to_owned()
}

/// A block by height and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedBlock {
    pub height: u64,
    pub hash: BlockHash,
}

/// The newest blocks that the node calls safe and finalized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finality {
    pub chain: ChainName,
    pub safe: Option<NamedBlock>,
    pub finalized: Option<NamedBlock>,
}

impl Finality {
    pub fn key_of(chain: &ChainName) -> Key {
        KeyFamily::Finality.key(chain)
    }
}

impl Item for Finality {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
    fn damage(&self) -> Option<String> {
        too_large(self.safe.iter().chain(&self.finalized).map(|block| block.height))
    }
}

/// How following goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    pub chain: ChainName,
    /// What the nodes must answer: as the pipeline says, else as the first one answered.
    pub chain_id: Option<u64>,
    /// The hash of block 0, likewise.
    pub genesis: Option<String>,
    /// The newest head that a node named.
    pub head: Option<NamedBlock>,
    /// In the pipeline's order.
    pub endpoints: Vec<EndpointStatus>,
    /// What keeps the follower from its nodes' head.
    pub trouble: Option<String>,
    /// When a node was last heard of.
    pub heard_ms: Option<u64>,
    /// Since when `head` is the newest one; where none was ever named, since when one is looked for.
    #[serde(default)]
    pub head_since_ms: u64,
    #[serde(default)]
    pub written_ms: u64,
    #[serde(default)]
    pub finality_asked: Option<AskedFinality>,
    #[serde(default)]
    pub lower: Option<LowerBranch>,
}

/// When safe and finalized were last asked for, and what the newest block was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedFinality {
    pub at_ms: u64,
    pub head: u64,
}

/// A branch that ends below the tip, and since when its node says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LowerBranch {
    pub head: NamedBlock,
    pub since_ms: u64,
}

/// One node, as the follower finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Scheme, host and port: a path may hold a key.
    pub name: String,
    pub state: EndpointState,
    pub since_ms: u64,
    pub head: Option<u64>,
    /// What it last answered wrongly, or why it could not be asked.
    pub error: Option<String>,
    /// In a row.
    #[serde(default)]
    pub failures: u32,
    /// It is not asked before.
    #[serde(default)]
    pub rests_until_ms: u64,
    /// When it said that it is of this chain; `None` where it has to say so.
    #[serde(default)]
    pub identified_ms: Option<u64>,
}

impl EndpointStatus {
    /// One that was not asked yet.
    pub fn new(name: String, now_ms: u64) -> Self {
        Self {
            name,
            state: EndpointState::New,
            since_ms: now_ms,
            head: None,
            error: None,
            failures: 0,
            rests_until_ms: 0,
            identified_ms: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// It was not asked yet.
    New,
    /// The follower takes its word.
    Followed,
    /// It answers, and another one is followed.
    Ready,
    /// Its head is behind another's.
    Behind,
    /// It cannot be reached, or does not answer in time.
    Down,
    /// It asks to be asked less often.
    Busy,
    /// What it answers is no answer, or is not true.
    Wrong,
    /// It is a node of another chain.
    OtherChain,
}

impl Following {
    pub fn key_of(chain: &ChainName) -> Key {
        KeyFamily::Following.key(chain)
    }
}

impl Item for Following {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
    fn damage(&self) -> Option<String> {
        let endpoints = self.endpoints.iter().flat_map(|endpoint| {
            let times = [endpoint.since_ms, endpoint.rests_until_ms];
            times.into_iter().chain(endpoint.head).chain(endpoint.identified_ms)
        });
        let asked = self.finality_asked.iter().flat_map(|asked| [asked.at_ms, asked.head]);
        let lower = self.lower.iter().flat_map(|lower| [lower.head.height, lower.since_ms]);
        let head = self.head.iter().map(|block| block.height);
        let times = [self.head_since_ms, self.written_ms].into_iter().chain(self.heard_ms);
        too_large(endpoints.chain(asked).chain(lower).chain(head).chain(times))
    }
}
