//! The true node: a tree of blocks of which one branch is the chain, and may change at any moment.

use std::collections::{BTreeMap, BTreeSet};

use proofyard_core::state::{ArtifactRef, Block, BlockHash};

use proofyard_memory_store::Random;

/// One chain as its node knows it.
#[derive(Debug)]
pub struct NodeChain {
    pub name: String,
    pub start_height: u64,
    pub blocks: BTreeMap<BlockHash, Block>,
    /// Hash of the head of the true branch; `None` before the first block.
    pub head: Option<BlockHash>,
    /// Heads of branches that were left, to which the chain may return.
    left: Vec<BlockHash>,
    /// Blocks that the yard has acknowledged.
    pub acknowledged: BTreeSet<(u64, BlockHash)>,
    max_segments: u64,
    mined: u64,
}

impl NodeChain {
    pub fn new(name: &str, start_height: u64, max_segments: u64) -> Self {
        Self {
            name: name.to_owned(),
            start_height,
            blocks: BTreeMap::new(),
            head: None,
            left: Vec::new(),
            acknowledged: BTreeSet::new(),
            max_segments,
            mined: 0,
        }
    }

    pub fn mined(&self) -> u64 {
        self.mined
    }

    /// A block on the head.
    pub fn mine(&mut self, random: &mut Random) {
        let hash = self.add_block(self.head.clone(), random);
        self.head = Some(hash);
    }

    fn add_block(&mut self, parent: Option<BlockHash>, random: &mut Random) -> BlockHash {
        self.mined += 1;
        let below = parent.as_ref().and_then(|hash| self.blocks.get(hash));
        let height = below.map_or(self.start_height, |block| block.height + 1);
        let timestamp_s = below.map_or(1_000, |block| block.timestamp_s) + random.between(1, 12);
        let hash = format!("{}{:02}x{:03}", &self.name[self.name.len() - 1..], height, self.mined);
        let hash = BlockHash::from(hash);
        let fields = [
            ("gas".to_owned(), random.between(1, 100).to_string()),
            ("batch".to_owned(), (height / random.between(2, 4)).to_string()),
        ];
        let block = Block {
            height,
            hash: hash.clone(),
            parent: parent.unwrap_or_else(|| "genesis".into()),
            timestamp_s,
            segments: random.between(1, self.max_segments) as u32,
            fields: fields.into(),
            payload: ArtifactRef { sha256: format!("payload-{hash}"), bytes: 100 },
        };
        self.blocks.insert(hash.clone(), block);
        hash
    }

    /// Another branch becomes the true one: a new one from up to `depth` blocks back, or one that was left.
    pub fn change_branch(&mut self, depth: u64, random: &mut Random) -> bool {
        let Some(head) = self.head.clone() else { return false };
        if random.chance(5_000) && self.go_back(random) {
            return true;
        }
        let mut parent = Some(head.clone());
        for _ in 0..random.between(1, depth) {
            parent = parent.and_then(|hash| self.parent_of(&hash));
        }
        for _ in 0..random.between(1, depth + 1) {
            parent = Some(self.add_block(parent, random));
        }
        self.left.push(head);
        self.head = parent;
        true
    }

    /// A branch that was left becomes the true one again.
    pub fn go_back(&mut self, random: &mut Random) -> bool {
        let (Some(head), false) = (self.head.clone(), self.left.is_empty()) else { return false };
        let at = random.index(self.left.len());
        self.head = Some(std::mem::replace(&mut self.left[at], head));
        true
    }

    fn parent_of(&self, hash: &BlockHash) -> Option<BlockHash> {
        let parent = &self.blocks.get(hash)?.parent;
        self.blocks.contains_key(parent).then(|| parent.clone())
    }

    /// The true branch, from the start height up.
    pub fn branch(&self) -> Vec<Block> {
        let mut branch = Vec::new();
        let mut at = self.head.clone();
        while let Some(block) = at.as_ref().and_then(|hash| self.blocks.get(hash)) {
            branch.push(block.clone());
            at = self.parent_of(&block.hash);
        }
        branch.reverse();
        branch
    }

    pub fn head_block(&self) -> Option<&Block> {
        self.blocks.get(self.head.as_ref()?)
    }

    pub fn any_block(&self, random: &mut Random) -> Option<Block> {
        let at = random.index(self.blocks.len());
        self.blocks.values().nth(at).cloned()
    }
}
