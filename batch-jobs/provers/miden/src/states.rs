//! The recorder's side: the states before and after each segment, computed natively.
//!
//! A block starts from the state that its parent left, found by the parent's hash, so that a file with a reorg has
//! the right states on both branches.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Read, Write};

use miden_core::Word;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::block::{MAX_BLOCK_BYTES, NodeBlock, check_cover};
use crate::error::Error;
use crate::word::{TransactionHash, absorb_all, word_to_hex};

/// The most blocks of one file.
const MAX_BLOCKS: usize = 1 << 20;

/// Where the segments' ranges come from.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Each line has its own `segments`, with `from` and `to`.
    AsGiven,
    /// At most this many transactions in each segment; what a line has is replaced.
    Every(u32),
}

#[derive(Deserialize)]
struct Range {
    from: u32,
    to: u32,
}

#[derive(Serialize)]
struct Segment {
    from: u32,
    to: u32,
    pre: String,
    post: String,
}

/// Completes the lines of a blocks file with the states of their segments. The first block starts from `genesis`;
/// lines without a block are copied.
pub fn complete(mut lines: impl BufRead, mut out: impl Write, cut: Cut, genesis: Word) -> Result<(), Error> {
    let mut states = States { genesis, after: HashMap::new() };
    for number in 1_u64.. {
        let mut line = Vec::new();
        (&mut lines)
            .take(MAX_BLOCK_BYTES + 1)
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::io("reading the blocks", e))?;
        if line.is_empty() {
            break;
        }
        let completed = complete_line(&line, cut, &mut states)
            .map_err(|e| Error::Block(format!("line {number}: {e}")))?;
        out.write_all(&completed)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(|e| Error::io("writing the blocks", e))?;
    }
    out.flush().map_err(|e| Error::io("writing the blocks", e))
}

/// The state that each block left, by its hash.
struct States {
    genesis: Word,
    after: HashMap<String, Word>,
}

impl States {
    fn before(&self, block: &NodeBlock) -> Result<Word, Error> {
        match self.after.get(&block.parent_hash) {
            Some(state) => Ok(*state),
            None if self.after.is_empty() => Ok(self.genesis),
            None => Err(Error::Block(format!("no line before it has its parent {:?}", block.parent_hash))),
        }
    }

    fn record(&mut self, block: NodeBlock, state: Word) -> Result<(), Error> {
        if self.after.len() >= MAX_BLOCKS {
            return Err(Error::Block(format!("more than {MAX_BLOCKS} blocks")));
        }
        self.after.insert(block.hash, state);
        Ok(())
    }
}

fn complete_line(line: &[u8], cut: Cut, states: &mut States) -> Result<Vec<u8>, Error> {
    if line.len() as u64 > MAX_BLOCK_BYTES {
        return Err(Error::Block(format!("longer than {MAX_BLOCK_BYTES} bytes")));
    }
    let json = |e: serde_json::Error| Error::Block(e.to_string());
    // Raw values keep the node's JSON as it is.
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(line).map_err(json)?;
    if let Some(block) = fields.get("block") {
        let block: NodeBlock = serde_json::from_str(block.get()).map_err(json)?;
        let transactions = block.transaction_hashes()?;
        let ranges = ranges(cut, fields.get("segments").map(AsRef::as_ref), transactions.len())?;
        let pre = states.before(&block)?;
        let (segments, post) = with_states(ranges, &transactions, pre)?;
        fields.insert("segments".into(), to_raw_value(&segments).map_err(json)?);
        states.record(block, post)?;
    }
    serde_json::to_vec(&fields).map_err(json)
}

fn ranges(cut: Cut, given: Option<&RawValue>, transactions: usize) -> Result<Vec<(u32, u32)>, Error> {
    let ranges: Vec<(u32, u32)> = match cut {
        Cut::AsGiven => {
            let given = given.ok_or_else(|| Error::Block("it has no segments".into()))?;
            let given: Vec<Range> =
                serde_json::from_str(given.get()).map_err(|e| Error::Block(format!("its segments: {e}")))?;
            given.into_iter().map(|range| (range.from, range.to)).collect()
        }
        Cut::Every(size) => {
            let count = u32::try_from(transactions)
                .map_err(|_| Error::Block("it has too many transactions".into()))?;
            let starts = (0..count.max(1)).step_by(size.max(1) as usize);
            starts.map(|from| (from, from.saturating_add(size.max(1)).min(count))).collect()
        }
    };
    check_cover(ranges.iter().copied(), transactions).map_err(Error::Block)?;
    Ok(ranges)
}

fn with_states(
    ranges: Vec<(u32, u32)>,
    transactions: &[TransactionHash],
    pre: Word,
) -> Result<(Vec<Segment>, Word), Error> {
    let mut state = pre;
    let mut segments = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        let covered = transactions
            .get(from as usize..to as usize)
            .ok_or_else(|| Error::Block(format!("segment {from}..{to} is not inside the block")))?;
        let post = absorb_all(state, covered);
        segments.push(Segment { from, to, pre: word_to_hex(&state), post: word_to_hex(&post) });
        state = post;
    }
    Ok((segments, state))
}
