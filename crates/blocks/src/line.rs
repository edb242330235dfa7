//! One line: its JSON, and what can be checked of it alone.

use serde::Deserialize;

use crate::block::{NodeBlock, NodeTransaction};
use crate::encoding::Fixed;
use crate::fault::{BlocksError, Fault};
use crate::{Line, RecordedBlock};

/// As many tasks as one `split` may list.
pub const MAX_SEGMENTS: usize = 4096;

/// A parser's message may quote the line, which may be long.
const MESSAGE_LIMIT_CHARS: usize = 200;

/// Reads one line, without its newline; `file` and `line_number` are for the error.
pub fn parse_line(file: &str, line_number: u64, bytes: &[u8]) -> Result<Line, BlocksError> {
    parse(bytes).map_err(|fault| fault.at(file, line_number))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLine {
    chain_id: Option<u64>,
    block: Option<NodeBlock>,
    pre: Option<Fixed<32>>,
    post: Option<Fixed<32>>,
    segments: Option<Vec<RawSegment>>,
    reorg: Option<Fixed<32>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSegment {
    from: u32,
    to: u32,
}

fn parse(bytes: &[u8]) -> Result<Line, Fault> {
    if bytes.trim_ascii().is_empty() {
        return Err(Fault::BlankLine);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| match error.error_len() {
        Some(_) => Fault::NotUtf8 { column: error.valid_up_to() + 1 },
        None => Fault::Truncated { bytes: bytes.len() },
    })?;
    let raw: RawLine = serde_json::from_str(text).map_err(|error| bad_json(&error, bytes))?;
    match raw {
        RawLine {
            chain_id: Some(chain_id),
            block: Some(block),
            pre: Some(pre),
            post: Some(post),
            segments: Some(segments),
            reorg: None,
        } => check_block(chain_id, &block, [pre.0, post.0], &segments, bytes).map(Line::Block),
        RawLine { chain_id: None, block: None, pre: None, post: None, segments: None, reorg: Some(hash) } => {
            Ok(Line::Reorg { hash: hash.0 })
        }
        _ => Err(Fault::NeitherBlockNorReorg),
    }
}

fn bad_json(error: &serde_json::Error, bytes: &[u8]) -> Fault {
    if error.is_eof() {
        return Fault::Truncated { bytes: bytes.len() };
    }
    // The parser counts lines within what it was given, which is one line.
    let text = error.to_string();
    let text =
        text.strip_suffix(&format!(" at line {} column {}", error.line(), error.column())).unwrap_or(&text);
    let mut short: String = text.chars().take(MESSAGE_LIMIT_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    Fault::BadJson { column: error.column(), text: short }
}

fn check_block(
    chain_id: u64,
    block: &NodeBlock,
    [state_pre, state_post]: [[u8; 32]; 2],
    segments: &[RawSegment],
    payload: &[u8],
) -> Result<RecordedBlock, Fault> {
    let height = block.number.0;
    let (hash, said) = (block.compute_hash().map_err(|field| Fault::MissingField { field })?, block.hash.0);
    if hash != said {
        return Err(Fault::WrongHash { height, computed: hash, said });
    }
    let transactions = check_transactions(block)?;
    check_segments(height, transactions, segments)?;
    Ok(RecordedBlock {
        chain_id,
        height,
        hash,
        parent: block.parent_hash.0,
        timestamp_s: block.timestamp.0,
        transactions,
        gas_used: block.gas_used.0,
        segments: u32::try_from(segments.len()).unwrap_or(u32::MAX), // at most MAX_SEGMENTS
        state_pre,
        state_post,
        fields: block.fields(transactions),
        payload: payload.to_vec(),
    })
}

/// How many there are; each must belong here, as far as it says so itself.
fn check_transactions(block: &NodeBlock) -> Result<u32, Fault> {
    let height = block.number.0;
    let transactions = u32::try_from(block.transactions.len()).unwrap_or(u32::MAX); // a line has far fewer
    if block.says_no_transactions() != (transactions == 0) {
        return Err(Fault::WrongTransactions { height, transactions });
    }
    for (index, transaction) in block.transactions.iter().enumerate() {
        let NodeTransaction::Whole(transaction) = transaction else { continue };
        let here = transaction.block_hash.is_none_or(|hash| hash == block.hash);
        let in_order = transaction.transaction_index.is_none_or(|said| said.0 == index as u64);
        if !(here && in_order) {
            return Err(Fault::StrayTransaction { height, index });
        }
    }
    Ok(transactions)
}

/// They must cover the transactions in order.
fn check_segments(height: u64, transactions: u32, segments: &[RawSegment]) -> Result<(), Fault> {
    if segments.is_empty() || segments.len() > MAX_SEGMENTS {
        return Err(Fault::SegmentCount { height, found: segments.len(), limit: MAX_SEGMENTS });
    }
    let mut begin = 0;
    for (index, segment) in segments.iter().enumerate() {
        let RawSegment { from, to } = *segment;
        let empty_block = transactions == 0 && segments.len() == 1;
        if from != begin || to > transactions || (to <= from && !empty_block) {
            return Err(Fault::SegmentRange { height, index, from, to, begin, transactions });
        }
        begin = to;
    }
    if begin != transactions {
        return Err(Fault::SegmentsShort { height, end: begin, transactions });
    }
    Ok(())
}
