//! Whether a file's lines are one chain, checked before anything of it is taken.
//!
//! - The first block is the chain's start; from then on there is a tip.
//! - A block on the tip becomes the tip.
//! - A block on any other block of the file is stored, pending: a fork. Before the old branch grows again,
//!   and before the file ends, a reorg line must name the last pending block, with all pending ones below
//!   it.
//! - A reorg line with nothing pending goes back to a branch that the file holds already.
//!
//! What is kept of a block is constant in size, whatever the block holds.

use std::collections::HashMap;
use std::io::BufRead;

use crate::fault::{BlocksError, Fault};
use crate::{Line, Reader, RecordedBlock};

/// More than four months of Ethereum's blocks; they take a quarter of a gigabyte.
pub const MAX_BLOCKS: usize = 1 << 20;

/// What a sound file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub lines: u64,
    /// The first that a block names.
    pub chain_id: Option<u64>,
    pub blocks: u64,
    pub transactions: u64,
    pub segments: u64,
    pub reorgs: u64,
    /// Blocks that are not on the tip's branch at the end.
    pub orphaned: u64,
    pub first_height: u64,
    pub first_hash: [u8; 32],
    pub tip_height: u64,
    pub tip_hash: [u8; 32],
    /// Fields of its first block that are none of Ethereum's.
    pub not_understood: Vec<String>,
}

/// Reads the file to its end, or to its first fault.
pub fn check_file<R: BufRead>(mut reader: Reader<R>) -> Result<Summary, BlocksError> {
    let mut chain: Option<Chain> = None;
    let mut last_line = 1;
    while let Some(next) = reader.next() {
        let (number, line) = next?;
        last_line = number;
        if let Line::Block(block) = &line {
            reader.rules().check_fields(block).map_err(|fault| fault.at(reader.file(), number))?;
        }
        let taken = match (&mut chain, line) {
            (Some(chain), Line::Block(block)) => chain.block(number, &block),
            (Some(chain), Line::Reorg { hash }) => chain.reorg(hash),
            (None, Line::Block(block)) => {
                chain = Some(Chain::starting(number, &block));
                Ok(())
            }
            (None, Line::Reorg { hash }) => Err(Fault::UnknownReorgTarget { hash }),
        };
        taken.map_err(|fault| fault.at(reader.file(), number))?;
    }
    let summary = chain.ok_or(Fault::NoBlocks).and_then(Chain::end);
    let summary = summary.map_err(|fault| fault.at(reader.file(), last_line))?;
    Ok(Summary { lines: last_line, ..summary })
}

type Hash = [u8; 32];

struct Known {
    height: u64,
    parent: Hash,
    post: Option<Hash>,
    line: u64,
}

struct Chain {
    known: HashMap<Hash, Known>,
    tip: Hash,
    tip_height: u64,
    /// Stored blocks that no reorg line has taken yet, in the file's order.
    pending: Vec<Hash>,
    summary: Summary,
}

impl Chain {
    fn starting(line: u64, block: &RecordedBlock) -> Self {
        let summary = Summary {
            lines: 0,
            chain_id: block.chain_id,
            blocks: 0,
            transactions: 0,
            segments: 0,
            reorgs: 0,
            orphaned: 0,
            first_height: block.height,
            first_hash: block.hash,
            tip_height: block.height,
            tip_hash: block.hash,
            not_understood: block.not_understood.clone(),
        };
        let mut chain = Self {
            known: HashMap::new(),
            tip: block.hash,
            tip_height: block.height,
            pending: Vec::new(),
            summary,
        };
        chain.keep(line, block);
        chain
    }

    fn block(&mut self, line: u64, block: &RecordedBlock) -> Result<(), Fault> {
        self.check_link(block)?;
        if self.known.len() >= MAX_BLOCKS {
            return Err(Fault::TooManyBlocks { limit: MAX_BLOCKS });
        }
        if block.parent == self.tip {
            self.check_settled(false)?;
            self.tip = block.hash;
            self.tip_height = block.height;
        } else {
            self.pending.push(block.hash);
        }
        self.keep(line, block);
        Ok(())
    }

    /// The block goes on from one of the file's.
    fn check_link(&self, block: &RecordedBlock) -> Result<(), Fault> {
        let RecordedBlock { height, hash, parent, state_pre, .. } = *block;
        if let (Some(found), Some(expected)) = (block.chain_id, self.summary.chain_id)
            && found != expected
        {
            return Err(Fault::OtherChain { height, found, expected });
        }
        if let Some(first) = self.known.get(&hash) {
            return Err(Fault::Duplicate { height, hash, first_line: first.line });
        }
        let tip_height = self.tip_height;
        let Some(before) = self.known.get(&parent) else {
            return Err(match tip_height.checked_add(1) {
                Some(next) if height > next => Fault::Gap { height, tip_height },
                _ => Fault::UnknownParent { height, parent, tip: self.tip, tip_height },
            });
        };
        if before.height.checked_add(1) != Some(height) {
            return Err(Fault::WrongHeight { found: height, parent_height: before.height });
        }
        if let (Some(pre), Some(expected)) = (state_pre, before.post)
            && pre != expected
        {
            return Err(Fault::StateLink { height, pre, expected, parent_line: before.line });
        }
        Ok(())
    }

    /// No fork waits for its reorg line.
    fn check_settled(&self, ended: bool) -> Result<(), Fault> {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else {
            return Ok(());
        };
        let (height, fork_line) = self.place(first);
        Err(Fault::ForkWithoutReorg { height, fork_line, last: *last, ended })
    }

    fn reorg(&mut self, hash: Hash) -> Result<(), Fault> {
        let Some(target) = self.known.get(&hash) else {
            return Err(Fault::UnknownReorgTarget { hash });
        };
        if hash == self.tip {
            return Err(Fault::ReorgToTip { hash });
        }
        let target_height = target.height;
        self.check_takes_pending(hash)?;
        self.pending.clear();
        self.tip = hash;
        self.tip_height = target_height;
        self.summary.reorgs += 1;
        Ok(())
    }

    /// Parents stand before children, so that all pending blocks are below the new tip only if a walk down
    /// from it meets them from the last to the first.
    fn check_takes_pending(&self, hash: Hash) -> Result<(), Fault> {
        let mut expected = hash;
        for pending in self.pending.iter().rev() {
            if *pending != expected {
                let (height, fork_line) = self.place(pending);
                return Err(Fault::ReorgLeavesFork { hash, height, fork_line });
            }
            if let Some(known) = self.known.get(pending) {
                expected = known.parent;
            }
        }
        Ok(())
    }

    fn place(&self, hash: &Hash) -> (u64, u64) {
        self.known.get(hash).map_or((0, 0), |known| (known.height, known.line))
    }

    fn keep(&mut self, line: u64, block: &RecordedBlock) {
        let RecordedBlock { height, hash, parent, state_post, .. } = *block;
        self.known.insert(hash, Known { height, parent, post: state_post, line });
        self.summary.chain_id = self.summary.chain_id.or(block.chain_id);
        self.summary.blocks += 1;
        self.summary.transactions += u64::from(block.transactions);
        self.summary.segments += u64::from(block.segments);
    }

    fn end(self) -> Result<Summary, Fault> {
        self.check_settled(true)?;
        let mut canonical = 0;
        let mut at = self.known.get(&self.tip);
        while let Some(known) = at {
            canonical += 1;
            at = self.known.get(&known.parent);
        }
        Ok(Summary {
            orphaned: self.summary.blocks - canonical,
            tip_height: self.tip_height,
            tip_hash: self.tip,
            ..self.summary
        })
    }
}
