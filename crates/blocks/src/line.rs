//! One line: its form, its JSON, and what can be checked of it alone.

use serde::Deserialize;

use crate::block::NodeBlock;
use crate::encoding::Fixed;
use crate::fault::{BlocksError, Fault};
use crate::object::Object;
use crate::{Line, RecordedBlock, Rules};

/// As many tasks as one `split` may list.
pub const MAX_SEGMENTS: usize = 4096;

const OF_A_RECORDED_BLOCK: [&str; 6] = ["chain_id", "block", "pre", "post", "segments", "new_payload"];
const OF_AN_ANSWER: [&str; 4] = ["jsonrpc", "id", "result", "error"];

/// Characters shown of a node's error.
const ERROR_LIMIT_CHARS: usize = 200;

/// Reads one line, without its newline; `file` and `line_number` are for the error.
pub fn parse_line(file: &str, line_number: u64, bytes: &[u8], rules: &Rules) -> Result<Line, BlocksError> {
    parse(bytes, rules).map_err(|fault| fault.at(file, line_number))
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSegment {
    from: u32,
    to: u32,
}

fn parse(bytes: &[u8], rules: &Rules) -> Result<Line, Fault> {
    if bytes.trim_ascii().is_empty() {
        return Err(Fault::BlankLine);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| match error.error_len() {
        Some(_) => Fault::NotUtf8 { column: error.valid_up_to() + 1 },
        None => Fault::Truncated { bytes: bytes.len() },
    })?;
    let line = Object::of_line(text)?;
    if line.has("reorg") {
        return reorg(&line);
    }
    if line.has("block") {
        only(&line, &OF_A_RECORDED_BLOCK)?;
        let block = line.object("block")?.ok_or(Fault::NeitherBlockNorReorg)?;
        return recorded(&line, block, bytes.to_vec(), rules).map(|block| Line::Block(Box::new(block)));
    }
    if line.has("jsonrpc") || line.has("result") {
        let block = answered(&line)?;
        return recorded(&line, block, wrapped(&line, "result"), rules)
            .map(|block| Line::Block(Box::new(block)));
    }
    if line.has("hash") && line.has("parentHash") {
        let payload = [b"{\"block\":", text.trim_ascii().as_bytes(), b"}"].concat();
        return recorded(&Object::default(), line, payload, rules).map(|block| Line::Block(Box::new(block)));
    }
    // A name that is none of those above is more likely a slip than another kind of line.
    only(&line, &OF_A_RECORDED_BLOCK)?;
    Err(Fault::NeitherBlockNorReorg)
}

fn reorg(line: &Object<'_>) -> Result<Line, Fault> {
    let hash: Option<Fixed<32>> = line.read("reorg")?;
    match (hash, line.names().count()) {
        (Some(hash), 1) => Ok(Line::Reorg { hash: hash.0 }),
        _ => Err(Fault::NeitherBlockNorReorg),
    }
}

/// A name that is none of a line's is a slip of the pen.
fn only(line: &Object<'_>, known: &[&str]) -> Result<(), Fault> {
    match line.names().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Fault::UnknownField { name: name.chars().take(64).collect() }),
    }
}

/// The block in a node's answer.
fn answered<'a>(line: &Object<'a>) -> Result<Object<'a>, Fault> {
    only(line, &OF_AN_ANSWER)?;
    if let Some(error) = line.raw("error").filter(|_| !line.is_null("error")) {
        let text = error.get().chars().take(ERROR_LIMIT_CHARS).collect();
        return Err(Fault::NodeError { text });
    }
    line.object("result")?.ok_or(Fault::NodeHasNone)
}

/// Provers find every block under `block`, whatever form its line has.
fn wrapped(line: &Object<'_>, field: &str) -> Vec<u8> {
    let block = line.raw(field).map_or("null", |raw| raw.get());
    format!("{{\"block\":{block}}}").into_bytes()
}

/// `line` has what stands beside the block.
fn recorded(
    line: &Object<'_>,
    block: Object<'_>,
    payload: Vec<u8>,
    rules: &Rules,
) -> Result<RecordedBlock, Fault> {
    let block = NodeBlock::checked(block, rules.header)?;
    let segments: Option<Vec<RawSegment>> = line.read("segments")?;
    match &segments {
        Some(segments) => check_segments(block.height, block.transactions, segments)?,
        None => rules.check_may_be_whole(block.height)?,
    }
    let state = |name| Ok(line.read::<Fixed<32>>(name)?.map(|state| state.0));
    Ok(RecordedBlock {
        chain_id: line.read("chain_id")?,
        height: block.height,
        hash: block.hash,
        parent: block.parent,
        timestamp_s: block.timestamp_s,
        transactions: block.transactions,
        segments: segments.map_or(0, |segments| u32::try_from(segments.len()).unwrap_or(u32::MAX)), // at most MAX_SEGMENTS
        state_pre: state("pre")?,
        state_post: state("post")?,
        fields: rules.fields().filter_map(|name| Some((name.to_owned(), block.field(name)?))).collect(),
        not_understood: block.not_understood(),
        payload,
    })
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
