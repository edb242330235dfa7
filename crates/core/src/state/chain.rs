//! `Y`, `C#chain`, `H#chain#bucket` and `K#chain#stage`: the yard's chains, a chain, which of its blocks are
//! canonical, and its cuts.
//!
//! `record` writes them: a pipeline put in force, a block, a reorg, an operator's command. `advance` also moves frontier and
//! cursors, adopts stored blocks, rewrites what a reorg left to do, opens a returned block in a new generation where its pool is
//! gone, and notes since when a chain takes work; cuts are written by it alone.

use serde::{Deserialize, Serialize};

use super::{BlockHash, ChainName, Halt, KeyFamily, PipelineHash, ScopeId, height_key};
use crate::pipeline::{MAX_CUT_BLOCKS, MAX_WINDOW};
use crate::port::{Key, Range};
use crate::transaction::{Item, too_large};

/// A chain of this yard: it is in the list of them from its first pipeline on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownChain {
    pub chain: ChainName,
}

impl KnownChain {
    pub fn key_of(chain: &ChainName) -> Key {
        KeyFamily::KnownChain.key_in("", chain)
    }
    pub fn range(limit: usize) -> Range {
        KeyFamily::KnownChain.range("", limit)
    }
}

impl Item for KnownChain {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
}

/// Changes only on reorg, pause, halt, and when a new pipeline is put in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainState {
    pub chain: ChainName,
    pub start_height: u64,
    /// Moves with every recorded reorg.
    pub epoch: u64,
    /// Nothing is opened or claimed.
    pub paused: bool,
    /// Also nothing is committed or handed on, until an operator ends each halt that there is. The newest one.
    pub halted: Option<Halt>,
    /// Halts ever, of any cause: the next one's number. Each is an item of its own ([`super::HaltCause`]).
    #[serde(default)]
    pub halts: u64,
    /// Halts that an operator named when they resumed: all below this number.
    #[serde(default)]
    pub halts_ended: u64,
    /// When it last began to take work again: deadlines count from then. [`ChainState::NOT_KNOWN_MS`] until it was seen on a
    /// host that has the yard's clock.
    #[serde(default)]
    pub works_since_ms: u64,
    /// A reorg whose pages are not all written yet.
    pub reorg: Option<Reorg>,
    /// The pipeline that scopes get when they open.
    pub pipeline: PipelineHash,
    /// From this height on whatever is open was opened with it; below, it may have been with another.
    pub pipeline_from: u64,
}

/// What is left of a recorded reorg: heights below `next` are rewritten down to `from`, then cuts are voided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reorg {
    /// The first height whose block changes.
    pub from: u64,
    /// One above the next height to rewrite.
    pub next: u64,
    /// The block that becomes canonical just below `next`; `None` above the new head.
    pub next_hash: Option<BlockHash>,
    /// The new head.
    pub head: u64,
    /// Set by a redo: the same hashes get scopes of this generation.
    pub generation: Option<u64>,
    /// For each `sequential` stage, the start of the first cut that is voided.
    pub cuts_from: Vec<(String, u64)>,
}

impl ChainState {
    /// A time that is still to be filled in on a host that has the yard's clock.
    pub(crate) const NOT_KNOWN_MS: u64 = u64::MAX;

    pub fn key_of(chain: &ChainName) -> Key {
        KeyFamily::ChainState.key(chain)
    }

    /// May blocks be opened, cuts closed and tasks claimed?
    pub fn takes_work(&self) -> bool {
        !self.paused && self.halted.is_none()
    }

    /// May what lies in heights up to and including `to` be committed or emitted?
    pub fn commits(&self, to: u64) -> bool {
        self.halted.is_none() && self.reorg.as_ref().is_none_or(|reorg| to < reorg.from)
    }
}

impl Item for ChainState {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
    fn due_ms(&self) -> Option<u64> {
        self.reorg.as_ref().map(|_| 0)
    }
    fn damage(&self) -> Option<String> {
        let Self {
            start_height,
            epoch,
            halts,
            halts_ended,
            pipeline_from,
            works_since_ms,
            reorg,
            halted,
            ..
        } = self;
        let since_ms = Some(*works_since_ms).filter(|since_ms| *since_ms != Self::NOT_KNOWN_MS);
        let reorg = reorg.iter().flat_map(|reorg| {
            let heights = [reorg.from, reorg.next, reorg.head];
            let cuts = reorg.cuts_from.iter().map(|(_, from)| *from);
            heights.into_iter().chain(reorg.generation).chain(cuts)
        });
        let counts = [*start_height, *epoch, *halts, *halts_ended, *pipeline_from];
        too_large(counts.into_iter().chain(since_ms).chain(reorg).chain(halted.iter().map(|halt| halt.at_ms)))
    }
}

/// The newest canonical block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tip {
    pub chain: ChainName,
    /// `None` before the first block.
    pub head: Option<(u64, BlockHash)>,
    /// No more blocks are expected, so that a last short cut may close.
    pub ended: bool,
}

impl Tip {
    pub fn key_of(chain: &ChainName) -> Key {
        KeyFamily::Tip.key(chain)
    }
    pub fn height(&self) -> Option<u64> {
        self.head.as_ref().map(|(height, _)| *height)
    }
}

impl Item for Tip {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.height().unwrap_or(0)])
    }
}

/// Where committing stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frontier {
    pub chain: ChainName,
    /// The next height to commit.
    pub height: u64,
    /// Hash of the block below it; `None` at the start height.
    pub last_hash: Option<BlockHash>,
    pub window: u64,
    /// The next height to open.
    pub opened: u64,
    /// Next sequence of the commit stage's out log.
    pub next_sequence: u64,
    /// How many of the heights below were given up; while a reorg's pages are written, also those that they have not come
    /// to yet. `None` in state of before it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// While there is anything to do for this chain.
    pub due_ms: Option<u64>,
}

impl Frontier {
    pub fn key_of(chain: &ChainName) -> Key {
        KeyFamily::Frontier.key(chain)
    }
}

impl Item for Frontier {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
    fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }
    fn damage(&self) -> Option<String> {
        let Self { height, window, opened, next_sequence, missed, due_ms, .. } = self;
        if *opened > height.saturating_add(MAX_WINDOW + MAX_CUT_BLOCKS) {
            return Some(format!(
                "it says that all below {opened} is open, and that {height} is the next to commit"
            ));
        }
        too_large([*height, *window, *opened, *next_sequence, missed.unwrap_or(0), due_ms.unwrap_or(0)])
    }
}

/// Where the next cut of a `sequential` stage starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    pub chain: ChainName,
    pub stage: String,
    pub next: u64,
}

impl Cursor {
    pub fn key_of(chain: &ChainName, stage: &str) -> Key {
        KeyFamily::Cursor.key_in(chain, stage)
    }
}

impl Item for Cursor {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.stage)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.next])
    }
}

/// A pipeline's text, by hash: scopes keep the one they opened with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineText {
    pub chain: ChainName,
    pub hash: PipelineHash,
    pub text: String,
}

impl PipelineText {
    pub fn key_of(chain: &ChainName, hash: &PipelineHash) -> Key {
        KeyFamily::PipelineText.key_in(chain, hash)
    }
}

impl Item for PipelineText {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.hash)
    }
}

/// Heights that share a partition.
const HEIGHTS_A_PARTITION: u64 = 1_024;

fn height_partition(chain: &ChainName, height: u64) -> String {
    KeyFamily::Canonical.partition(format_args!("{chain}#{}", height / HEIGHTS_A_PARTITION))
}

/// Which block is canonical at a height.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canonical {
    pub chain: ChainName,
    pub height: u64,
    pub hash: BlockHash,
    pub generation: u64,
}

impl Canonical {
    pub fn key_of(chain: &ChainName, height: u64) -> Key {
        Key::new(height_partition(chain, height), height_key(height))
    }
    /// The lowest height that shares its partition with this one.
    pub fn first_of_partition(height: u64) -> u64 {
        height - height % HEIGHTS_A_PARTITION
    }
    /// All that is stored of the heights from `from` to `to`, which share a partition: which block is canonical at each, and
    /// under keys with a `#` each [`KnownBlock`].
    pub fn rows(chain: &ChainName, from: u64, to: u64, limit: usize) -> Range {
        Range {
            partition: height_partition(chain, to),
            from: height_key(from),
            to: Some(format!("{}$", height_key(to))),
            limit,
            reverse: false,
        }
    }
    pub fn scope(&self) -> ScopeId {
        ScopeId::of_block(&self.chain, self.height, &self.hash, self.generation)
    }
}

impl Item for Canonical {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, self.height)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.height.max(self.generation)])
    }
}

/// A block that was ever acknowledged, canonical or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownBlock {
    pub chain: ChainName,
    pub height: u64,
    pub hash: BlockHash,
    pub parent: BlockHash,
    /// Of its newest scope.
    pub generation: u64,
}

impl KnownBlock {
    pub fn key_of(chain: &ChainName, height: u64, hash: &BlockHash) -> Key {
        Key::new(height_partition(chain, height), format!("{}#{hash}", height_key(height)))
    }
    /// All known blocks of one height.
    pub fn range(chain: &ChainName, height: u64, limit: usize) -> Range {
        Range {
            partition: height_partition(chain, height),
            from: format!("{}#", height_key(height)),
            to: Some(format!("{}$", height_key(height))),
            limit,
            reverse: false,
        }
    }
    pub fn scope(&self) -> ScopeId {
        ScopeId::of_block(&self.chain, self.height, &self.hash, self.generation)
    }
}

impl Item for KnownBlock {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, self.height, &self.hash)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.height.max(self.generation)])
    }
}

/// Which cut starts at a height; or from where to where there is none, since those blocks' pipelines have no such stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutAt {
    pub chain: ChainName,
    pub stage: String,
    pub from: u64,
    pub to: u64,
    /// The cut's; empty where there is none.
    pub scope: ScopeId,
}

impl CutAt {
    pub fn is_gap(&self) -> bool {
        self.scope.is_none()
    }
    pub fn key_of(chain: &ChainName, stage: &str, from: u64) -> Key {
        Key::new(Self::partition(chain, stage), height_key(from))
    }
    fn partition(chain: &ChainName, stage: &str) -> String {
        KeyFamily::CutAt.partition(format_args!("{chain}#{stage}"))
    }
    /// The newest cut that starts at or below `height`.
    pub fn covering(chain: &ChainName, stage: &str, height: u64) -> Range {
        Range {
            partition: Self::partition(chain, stage),
            from: String::new(),
            to: Some(format!("{}~", height_key(height))),
            limit: 1,
            reverse: true,
        }
    }
    /// Cuts that start below `height`, the newest first.
    pub fn range_back(chain: &ChainName, stage: &str, height: u64, limit: usize) -> Range {
        Range {
            to: Some(height_key(height)),
            reverse: true,
            ..Range::all(Self::partition(chain, stage), limit)
        }
    }
    /// Cuts that start at or above `height`.
    pub fn range_from(chain: &ChainName, stage: &str, height: u64, limit: usize) -> Range {
        Range {
            partition: Self::partition(chain, stage),
            from: height_key(height),
            to: None,
            limit,
            reverse: false,
        }
    }
}

impl Item for CutAt {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.stage, self.from)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.from.max(self.to)])
    }
}
