//! A block, as a line of a blocks file has it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::digest::{Digest, STEP_TRANSACTIONS, TransactionHash, absorb, bytes_from_hex, close, start};
use crate::error::Error;
use crate::values::{BlockValues, SegmentValues};

/// The longest line of a blocks file that is read.
pub const MAX_BLOCK_BYTES: u64 = 64 << 20;

/// A block may be cut into this many segments.
pub const MAX_SEGMENTS: usize = 4096;

/// What the provers need of a block. The segments (`from` included, `to` not) follow each other and cover all
/// transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub chain_id: u64,
    pub height: u64,
    pub transactions: Vec<TransactionHash>,
    pub pre: Digest,
    pub post: Digest,
    pub segments: Vec<(u32, u32)>,
}

/// What stands beside the block is not the node's, so that a line may lack it.
#[derive(Deserialize)]
struct Line {
    chain_id: Option<u64>,
    block: NodeBlock,
    pre: Option<String>,
    post: Option<String>,
    segments: Option<Vec<Segment>>,
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
pub(crate) struct Segment {
    pub(crate) from: u32,
    pub(crate) to: u32,
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

    /// Reads one line of a blocks file. The states must be right: a proof of wrong ones cannot be made.
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        let line: Line = serde_json::from_slice(line).map_err(|e| Error::Block(e.to_string()))?;
        let state = |name: &str, text: Option<String>| {
            bytes_from_hex(&beside(name, text)?).map_err(|e| Error::Block(format!("{name}: {e}")))
        };
        let transactions = line.block.transaction_hashes()?;
        let segments: Vec<(u32, u32)> =
            beside("segments", line.segments)?.iter().map(|s| (s.from, s.to)).collect();
        check_cover(&segments, transactions.len()).map_err(Error::Block)?;
        Ok(Self {
            chain_id: beside("chain_id", line.chain_id)?,
            height: line.block.height()?,
            transactions,
            pre: state("pre", line.pre)?,
            post: state("post", line.post)?,
            segments,
        })
    }

    /// The transactions of one segment.
    pub fn transactions_of(&self, index: usize) -> Result<&[TransactionHash], Error> {
        let (from, to) = self.segment(index)?;
        let inside = self.transactions.get(from as usize..to as usize);
        inside.ok_or_else(|| Error::Block(format!("segment {index} is not inside the block")))
    }

    /// What the proof of one segment must state.
    pub fn segment_values(&self, index: usize) -> Result<SegmentValues, Error> {
        let (from, to) = self.segment(index)?;
        let earlier = self.transactions.get(..from as usize).unwrap_or_default();
        let before = absorb(start(self.chain_id, self.height), earlier);
        let after = absorb(before, self.transactions_of(index)?);
        Ok(SegmentValues { chain_id: self.chain_id, height: self.height, from, to, before, after })
    }

    /// What a proof of the block must state, computed from its transactions and the state before it.
    pub fn values(&self) -> BlockValues {
        let transactions = absorb(start(self.chain_id, self.height), &self.transactions);
        let post = close(self.pre, transactions);
        BlockValues { chain_id: self.chain_id, height: self.height, pre: self.pre, post, transactions }
    }

    /// As [`Block::values`]; refuses a block whose own post-state is another.
    pub fn checked_values(&self) -> Result<BlockValues, Error> {
        let values = self.values();
        if values.post == self.post {
            return Ok(values);
        }
        Err(Error::Block("its transactions take its pre-state to another state than its post-state".into()))
    }

    fn segment(&self, index: usize) -> Result<(u32, u32), Error> {
        let count = self.segments.len();
        let none = || Error::Block(format!("it has {count} segments, there is no segment {index}"));
        self.segments.get(index).copied().ok_or_else(none)
    }
}

fn beside<T>(name: &str, value: Option<T>) -> Result<T, Error> {
    let why = || {
        format!(
            "it has no `{name}`: the provers here need chain_id, pre, post and segments beside the node's block, which \
             proofyard-states adds to a blocks file"
        )
    };
    value.ok_or_else(|| Error::Block(why()))
}

/// Segments must follow each other and cover the block's transactions exactly once, each beginning where a step does.
/// A segment without transactions is one of a block without transactions.
pub(crate) fn check_cover(segments: &[(u32, u32)], transactions: usize) -> Result<(), String> {
    let mut next = 0;
    for (index, &(from, to)) in segments.iter().enumerate() {
        if from != next || to < from || (to == from && transactions > 0) {
            return Err(format!("segment {index} is {from}..{to}, expected one from {next} on"));
        }
        if !(from as usize).is_multiple_of(STEP_TRANSACTIONS) {
            return Err(format!(
                "segment {index} begins at {from}, not at a multiple of {STEP_TRANSACTIONS}"
            ));
        }
        if index >= MAX_SEGMENTS || (index > 0 && transactions == 0) {
            return Err(format!("it has more than {index} segments"));
        }
        next = to;
    }
    if segments.is_empty() || next as usize != transactions {
        return Err(format!("its segments cover {next} of {transactions} transactions"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_beside_the_block_is_named() {
        let block = r#""block":{"number":"0x1","hash":"0x","parentHash":"0x","transactions":[]}"#;
        let state = format!("0x{}", "00".repeat(32));
        let beside = [
            (r#""segments":[{"from":0,"to":0}]"#.to_owned(), "`segments`"),
            (format!(r#""pre":"{state}""#), "`pre`"),
            (format!(r#""post":"{state}""#), "`post`"),
            (r#""chain_id":1"#.to_owned(), "`chain_id`"),
        ];
        for missing in 0..=beside.len() {
            let there = beside.iter().enumerate().filter(|(index, _)| *index != missing);
            let there: Vec<&str> = there.map(|(_, (text, _))| text.as_str()).chain([block]).collect();
            let read = Block::parse(format!("{{{}}}", there.join(",")).as_bytes());
            match beside.get(missing) {
                None => assert!(read.is_ok()),
                Some((_, name)) => {
                    let why = read.unwrap_err().to_string();
                    assert!(why.contains(name) && why.contains("proofyard-states"), "{why}");
                }
            }
        }
    }

    #[test]
    fn segments_cover_all_transactions_in_whole_steps() {
        assert_eq!(check_cover(&[(0, 2), (2, 5)], 5), Ok(()));
        assert_eq!(check_cover(&[(0, 0)], 0), Ok(()));
        let reason = |segments: &[(u32, u32)], transactions| check_cover(segments, transactions).unwrap_err();
        assert!(reason(&[(0, 3), (3, 5)], 5).contains("not at a multiple of 2"));
        assert!(reason(&[(0, 2), (4, 5)], 5).contains("expected one from 2 on"));
        assert!(reason(&[(0, 2)], 5).contains("cover 2 of 5"));
        assert!(reason(&[(0, 2), (2, 2)], 2).contains("segment 1 is 2..2"));
        assert!(reason(&[(0, 0), (0, 0)], 0).contains("more than 1"));
        assert!(reason(&[], 0).contains("cover"));
    }
}
