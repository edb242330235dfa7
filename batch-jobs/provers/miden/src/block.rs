//! A block and its segments, as a line of a blocks file has them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use miden_core::Word;
use serde::Deserialize;

use crate::error::Error;
use crate::statement::{BlockStatement, SegmentStatement};
use crate::word::{TransactionHash, absorb_all, bytes_from_hex, fold_digests, word_from_hex};

/// The longest line of a blocks file that is read.
pub const MAX_BLOCK_BYTES: u64 = 64 << 20;

/// A block may be cut into this many segments.
pub const MAX_SEGMENTS: usize = 4096;

/// Consecutive transactions of a block, proved as one: `from` included, `to` not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub from: u32,
    pub to: u32,
    pub pre: Word,
    pub post: Word,
}

/// What this prover needs of a block. The segments follow each other and cover all transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub chain_id: u64,
    pub height: u64,
    pub transactions: Vec<TransactionHash>,
    pub segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Line {
    chain_id: u64,
    block: NodeBlock,
    segments: Vec<LineSegment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeBlock {
    number: String,
    pub(crate) hash: String,
    pub(crate) parent_hash: String,
    transactions: Vec<NodeTransaction>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NodeTransaction {
    Hash(String),
    Full { hash: String },
}

#[derive(Deserialize)]
struct LineSegment {
    from: u32,
    to: u32,
    pre: String,
    post: String,
}

impl NodeBlock {
    pub(crate) fn height(&self) -> Result<u64, Error> {
        let wrong = || Error::Block(format!("its number is {:?}, expected 0x and hex digits", self.number));
        let digits = self.number.strip_prefix("0x").ok_or_else(wrong)?;
        u64::from_str_radix(digits, 16).map_err(|_| wrong())
    }

    pub(crate) fn transaction_hashes(&self) -> Result<Vec<TransactionHash>, Error> {
        let hash = |(index, transaction): (usize, &NodeTransaction)| {
            let (NodeTransaction::Hash(hash) | NodeTransaction::Full { hash }) = transaction;
            bytes_from_hex(hash).map_err(|e| Error::Block(format!("transaction {index}: {e}")))
        };
        self.transactions.iter().enumerate().map(hash).collect()
    }
}

impl Block {
    /// Reads a file that is one line of a blocks file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let io = |e| Error::io(format!("reading the block {}", path.display()), e);
        let mut text = Vec::new();
        File::open(path).and_then(|f| f.take(MAX_BLOCK_BYTES + 1).read_to_end(&mut text)).map_err(io)?;
        if text.len() as u64 > MAX_BLOCK_BYTES {
            return Err(Error::Block(format!("it is longer than {MAX_BLOCK_BYTES} bytes")));
        }
        Self::parse(&text)
    }

    /// Reads one line of a blocks file.
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        let line: Line = serde_json::from_slice(line).map_err(|e| Error::Block(e.to_string()))?;
        let transactions = line.block.transaction_hashes()?;
        let mut segments = Vec::with_capacity(line.segments.len().min(MAX_SEGMENTS));
        for (index, LineSegment { from, to, pre, post }) in line.segments.into_iter().enumerate() {
            let word = |name: &str, text: &str| {
                word_from_hex(text).map_err(|e| Error::Block(format!("segment {index}, {name}: {e}")))
            };
            segments.push(Segment { from, to, pre: word("pre", &pre)?, post: word("post", &post)? });
        }
        check_cover(segments.iter().map(|s| (s.from, s.to)), transactions.len()).map_err(Error::Block)?;
        for (index, pair) in segments.windows(2).enumerate() {
            if pair[0].post != pair[1].pre {
                return Err(Error::Block(format!(
                    "the post-state of segment {index} is not the pre-state of segment {}",
                    index + 1
                )));
            }
        }
        Ok(Self { chain_id: line.chain_id, height: line.block.height()?, transactions, segments })
    }

    /// The transactions of one segment.
    pub fn transactions_of(&self, index: usize) -> Result<&[TransactionHash], Error> {
        let segment = self.segment(index)?;
        self.transactions
            .get(segment.from as usize..segment.to as usize)
            .ok_or_else(|| Error::Block(format!("segment {index} is not inside the block")))
    }

    /// What the proof of one segment must state.
    pub fn segment_statement(&self, index: usize) -> Result<SegmentStatement, Error> {
        let segment = self.segment(index)?;
        Ok(SegmentStatement {
            chain_id: self.chain_id,
            height: self.height,
            from: segment.from,
            to: segment.to,
            pre: segment.pre,
            post: segment.post,
            transactions_digest: absorb_all(Word::empty(), self.transactions_of(index)?),
        })
    }

    /// What the proof of the block must state.
    pub fn statement(&self) -> Result<BlockStatement, Error> {
        let (Some(first), Some(last)) = (self.segments.first(), self.segments.last()) else {
            return Err(Error::Block("it has no segments".into()));
        };
        let digests: Vec<Word> = (0..self.segments.len())
            .map(|index| Ok(absorb_all(Word::empty(), self.transactions_of(index)?)))
            .collect::<Result<_, Error>>()?;
        Ok(BlockStatement {
            chain_id: self.chain_id,
            height: self.height,
            pre: first.pre,
            post: last.post,
            transactions_digest: fold_digests(digests),
        })
    }

    fn segment(&self, index: usize) -> Result<&Segment, Error> {
        let count = self.segments.len();
        self.segments
            .get(index)
            .ok_or_else(|| Error::Block(format!("it has {count} segments, there is no segment {index}")))
    }
}

/// Segments must follow each other and cover the block's transactions exactly once. A segment without
/// transactions is one of a block without transactions.
pub(crate) fn check_cover(
    ranges: impl IntoIterator<Item = (u32, u32)>,
    transactions: usize,
) -> Result<(), String> {
    let (mut next, mut count) = (0, 0);
    for (from, to) in ranges {
        if from != next || to < from || (to == from && transactions > 0) {
            return Err(format!("segment {count} is {from}..{to}, expected one from {next} on"));
        }
        (next, count) = (to, count + 1);
        if count > MAX_SEGMENTS || (count > 1 && transactions == 0) {
            return Err(format!("it has more than {} segments", count - 1));
        }
    }
    if count == 0 || next as usize != transactions {
        return Err(format!("its segments cover {next} of {transactions} transactions"));
    }
    Ok(())
}
