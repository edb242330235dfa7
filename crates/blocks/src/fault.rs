//! What can be wrong with a blocks file. Each message says what was found, what
//! would be right, and the way out.

use std::fmt;
use std::io;

use proofyard_core::error::{Code, Coded};
use thiserror::Error;

use crate::encoding::to_hex;

/// A fault and where it is. The place and the fault are one message; what lies under it is the fault's.
#[derive(Debug)]
pub struct BlocksError {
    pub file: String,
    /// From 1.
    pub line: u64,
    pub fault: Box<Fault>,
}

impl fmt::Display for BlocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, fault } = self;
        write!(f, "{file}:{line}: {fault}")
    }
}

impl std::error::Error for BlocksError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.source()
    }
}

impl Coded for BlocksError {
    fn code(&self) -> Code {
        self.fault.code()
    }
}

#[derive(Debug, Error)]
pub enum Fault {
    // What one line tells.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    #[error(
        "the line is longer than {limit_bytes} bytes, the most that one block may have; is this a blocks \
         file?"
    )]
    LineTooLong { limit_bytes: usize },
    #[error("the line is blank; each line is a block or a reorg, so remove it")]
    BlankLine,
    #[error("column {column}: the line is not UTF-8; is this a blocks file?")]
    NotUtf8 { column: usize },
    #[error(
        "the line is truncated: it ends after {bytes} bytes in the midst of its JSON; record the block again, all of it \
         on one line"
    )]
    Truncated { bytes: usize },
    #[error("column {column}: {text}; a line is the JSON of a block or a reorg, as it was recorded")]
    BadJson { column: usize, text: String },
    #[error(
        "the line is neither a block nor a reorg: a block has \"block\", with \"chain_id\", \"segments\", \"pre\" and \
         \"post\" where provers need them, or is a node's answer, or its block alone; a reorg has \"reorg\" alone"
    )]
    NeitherBlockNorReorg,
    #[error("unknown field `{name}`; what may stand in a line is in docs/blocks.md")]
    UnknownField { name: String },
    #[error("the node answered with an error: {text}; ask it again")]
    NodeError { text: String },
    #[error("the node answered that it has no such block (its result is null); ask for one that it has")]
    NodeHasNone,
    #[error(
        "the block is pending: its {field} is null, so it is not on the chain yet; ask for it by its number, once the \
         node's latest block is as high"
    )]
    Pending { field: &'static str },
    #[error("missing field `{field}`: a block has its number, hash, parentHash, timestamp and transactions")]
    MissingField { field: &'static str },
    #[error(
        "block {height}: missing field `{field}`, so that its header cannot be hashed as Ethereum's are{}; {WAY_OUT}",
        shown(unknown)
    )]
    NoHeaderField { height: u64, field: &'static str, unknown: Vec<String> },
    #[error(
        "block {height}: the header's hash is {} but the file says {}{}; {WAY_OUT}",
        to_hex(computed),
        to_hex(said),
        shown(unknown)
    )]
    WrongHash { height: u64, computed: [u8; 32], said: [u8; 32], unknown: Vec<String> },
    #[error(
        "block {height} names no segments, and stage {stage} has a task for each of them; write \"segments\" beside \
         the block, or have the stage not split \"block\""
    )]
    NoSegments { height: u64, stage: String },
    #[error(
        "block {height} has no `{field}`, by which stage {stage} closes its cuts; name a field that each block has, as \
         its node names it"
    )]
    NoField { height: u64, field: String, stage: String },
    #[error(
        "block {height}: its `{field}` is {value:?}, which is no number, and stage {stage} sums it up; name a field \
         that is a number"
    )]
    NoNumber { height: u64, field: String, stage: String, value: String },
    #[error(
        "block {height}: transaction {index} says that it is in another block or at another index; record \
         the block again"
    )]
    StrayTransaction { height: u64, index: usize },
    #[error("block {height}: it has {found} segments but must have 1 to {limit}; cut it again")]
    SegmentCount { height: u64, found: usize, limit: usize },
    #[error(
        "block {height}: segment {index} is {from}..{to} but must begin at {begin}, end after that and not \
         beyond the block's {transactions} transactions; cut it again"
    )]
    SegmentRange { height: u64, index: usize, from: u32, to: u32, begin: u32, transactions: u32 },
    #[error("block {height}: its segments end at transaction {end} but it has {transactions}; cut it again")]
    SegmentsShort { height: u64, end: u32, transactions: u32 },

    // What only the file tells.
    #[error("the file holds no block; record some")]
    NoBlocks,
    #[error("the file holds more than {limit} blocks; split it")]
    TooManyBlocks { limit: usize },
    #[error(
        "block {height} is of chain {found} but the file began with chain {expected}; use one file for each \
         chain"
    )]
    OtherChain { height: u64, found: u64, expected: u64 },
    #[error(
        "block {height} ({}) is here again, it is at line {first_line} already; remove this line",
        to_hex(hash)
    )]
    Duplicate { height: u64, hash: [u8; 32], first_line: u64 },
    #[error(
        "a gap: block {height} comes after block {tip_height}, so {} missing; record what is missing and \
         put it before this line",
        missing(*.tip_height, *.height)
    )]
    Gap { height: u64, tip_height: u64 },
    #[error(
        "block {height} has parent {}, which is not above this line; the block to go on from is {} \
         (height {tip_height}); record the blocks of its branch and put them before this line",
        to_hex(parent),
        to_hex(tip)
    )]
    UnknownParent { height: u64, parent: [u8; 32], tip: [u8; 32], tip_height: u64 },
    #[error(
        "block {found} has a parent of height {parent_height}, so it must have the next; record the block \
         again"
    )]
    WrongHeight { found: u64, parent_height: u64 },
    #[error(
        "block {height} begins in state {} but its parent at line {parent_line} ends in {}; compute the \
         file's states again",
        to_hex(pre),
        to_hex(expected)
    )]
    StateLink { height: u64, pre: [u8; 32], expected: [u8; 32], parent_line: u64 },
    #[error(
        "a fork without a reorg line: block {height} at line {fork_line} is not on the branch that {}; put \
         {{\"reorg\":\"{}\"}} after the fork's last block if the chain went there, or remove the fork's \
         blocks",
        if *.ended { "the file ends on" } else { "goes on here" }, to_hex(last)
    )]
    ForkWithoutReorg { height: u64, fork_line: u64, last: [u8; 32], ended: bool },
    #[error(
        "the reorg names {}, which is no block above this line; put the new branch's blocks before it",
        to_hex(hash)
    )]
    UnknownReorgTarget { hash: [u8; 32] },
    #[error("the reorg names {}, which is the tip already; remove this line", to_hex(hash))]
    ReorgToTip { hash: [u8; 32] },
    #[error(
        "the reorg names {}, but block {height} at line {fork_line} is above it on another branch that no \
         reorg took; name the new branch's last block, or remove that line",
        to_hex(hash)
    )]
    ReorgLeavesFork { hash: [u8; 32], height: u64, fork_line: u64 },
}

impl Coded for Fault {
    fn code(&self) -> Code {
        match self {
            Self::Read(_) => Code::BlocksUnreadable,
            Self::LineTooLong { .. }
            | Self::BlankLine
            | Self::NotUtf8 { .. }
            | Self::Truncated { .. }
            | Self::BadJson { .. }
            | Self::NeitherBlockNorReorg
            | Self::UnknownField { .. } => Code::BadLine,
            Self::NodeError { .. } | Self::NodeHasNone | Self::Pending { .. } | Self::MissingField { .. } => {
                Code::NoWholeBlock
            }
            Self::NoHeaderField { .. } | Self::WrongHash { .. } => Code::WrongHash,
            Self::NoSegments { .. } | Self::NoField { .. } | Self::NoNumber { .. } => Code::BlockLacksField,
            Self::StrayTransaction { .. }
            | Self::SegmentCount { .. }
            | Self::SegmentRange { .. }
            | Self::SegmentsShort { .. } => Code::BadSegments,
            Self::NoBlocks | Self::TooManyBlocks { .. } => Code::BlockCount,
            Self::OtherChain { .. } => Code::MixedChains,
            Self::Duplicate { .. }
            | Self::Gap { .. }
            | Self::UnknownParent { .. }
            | Self::WrongHeight { .. } => Code::BlockOrder,
            Self::StateLink { .. } => Code::StateLink,
            Self::ForkWithoutReorg { .. }
            | Self::UnknownReorgTarget { .. }
            | Self::ReorgToTip { .. }
            | Self::ReorgLeavesFork { .. } => Code::BadReorg,
        }
    }
}

/// What to do about a header that does not hash as it should.
const WAY_OUT: &str = "record the block again, or, if this chain hashes its headers otherwise, write header = \
                       \"trusted\" under [chain] in the pipeline file, and its hashes are taken as they are said";

fn shown(unknown: &[String]) -> String {
    match unknown {
        [] => String::new(),
        names => format!(" (not understood: {})", names.join(", ")),
    }
}

fn missing(tip_height: u64, height: u64) -> String {
    let (first, last) = (tip_height.saturating_add(1), height.saturating_sub(1));
    if first == last { format!("block {first} is") } else { format!("blocks {first} to {last} are") }
}

impl Fault {
    pub(crate) fn at(self, file: &str, line: u64) -> BlocksError {
        BlocksError { file: file.to_owned(), line, fault: Box::new(self) }
    }
}
