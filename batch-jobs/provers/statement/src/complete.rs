//! The recorder's side: each block's states, and its segments, computed natively.
//!
//! A block starts from the state that its parent left, found by the parent's hash, so that a file with a reorg has
//! the right states on both branches.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Read, Write};

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::block::{MAX_BLOCK_BYTES, NodeBlock, Segment, check_cover};
use crate::digest::{Digest, absorb, bytes_to_hex, close, start};
use crate::error::Error;

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

/// Completes the lines of a blocks file with states and segments. The first block starts from `genesis`; lines
/// without a block are copied.
pub fn complete(
    mut lines: impl BufRead,
    mut out: impl Write,
    cut: Cut,
    genesis: Digest,
) -> Result<(), Error> {
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
    genesis: Digest,
    after: HashMap<String, Digest>,
}

impl States {
    fn before(&self, block: &NodeBlock) -> Result<Digest, Error> {
        match self.after.get(&block.parent_hash) {
            Some(state) => Ok(*state),
            None if self.after.is_empty() => Ok(self.genesis),
            None => Err(Error::Block(format!("no line before it has its parent {:?}", block.parent_hash))),
        }
    }

    fn record(&mut self, block: NodeBlock, state: Digest) -> Result<(), Error> {
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
    let chain_id = fields.get("chain_id").map(|raw| serde_json::from_str(raw.get())).transpose();
    if let Some(block) = fields.get("block") {
        let chain_id: u64 =
            chain_id.map_err(json)?.ok_or_else(|| Error::Block("it has no chain_id".into()))?;
        let block: NodeBlock = serde_json::from_str(block.get()).map_err(json)?;
        let transactions = block.transaction_hashes()?;
        let ranges = ranges(cut, fields.get("segments").map(AsRef::as_ref), transactions.len())?;
        let pre = states.before(&block)?;
        let post = close(pre, absorb(start(chain_id, block.height()?), &transactions));
        let segments: Vec<_> = ranges.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        fields.insert("pre".into(), to_raw_value(&bytes_to_hex(&pre)).map_err(json)?);
        fields.insert("post".into(), to_raw_value(&bytes_to_hex(&post)).map_err(json)?);
        fields.insert("segments".into(), to_raw_value(&segments).map_err(json)?);
        states.record(block, post)?;
    }
    serde_json::to_vec(&fields).map_err(json)
}

fn ranges(cut: Cut, given: Option<&RawValue>, transactions: usize) -> Result<Vec<(u32, u32)>, Error> {
    let ranges: Vec<(u32, u32)> = match cut {
        Cut::AsGiven => {
            let given = given.ok_or_else(|| Error::Block("it has no segments".into()))?;
            let given: Vec<Segment> =
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
    check_cover(&ranges, transactions).map_err(Error::Block)?;
    Ok(ranges)
}
