//! Recorded Ethereum blocks: a file of JSON lines, and the check that it is one chain.
//!
//! A line is a block, or an explicit change of branch:
//!
//! ```text
//! {"chain_id":31337,"block":{…},"pre":"0x…","post":"0x…","segments":[{"from":0,"to":8}, …]}
//! {"reorg":"0x…"}
//! ```
//!
//! - `block` is the node's own answer to `eth_getBlockByNumber`, unchanged.
//! - `pre` and `post` are the states before and after the block.
//! - `segments` cut its transactions into parts that prove independently: `from` is in, `to` is not.
//! - `reorg` names the new tip. The blocks of its branch stand above that line.
//!
//! [`parse_line`] checks what one line can tell: the header hashes to the block's hash, the segments cover
//! the transactions. [`check_file`] checks what only the file can tell: each block's parent is
//! there, no height is left out, no block comes twice, a fork is settled by a reorg line, and the states go
//! on from the parent's. A reader that must take nothing of a bad file runs it first.
//!
//! Not checked: that the transactions are those under the header's `transactionsRoot` (only that both are
//! empty or neither is), and the states, which are the prover's business.

mod block;
mod encoding;
mod fault;
mod line;
mod linkage;
mod reader;

use std::collections::BTreeMap;

pub use fault::{BlocksError, Fault};
pub use line::{MAX_SEGMENTS, parse_line};
pub use linkage::{MAX_BLOCKS, Summary, check_file};
pub use reader::{LINE_LIMIT_BYTES, Reader};

/// A block as the file holds it, its hash recomputed from its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBlock {
    pub chain_id: u64,
    pub height: u64,
    pub hash: [u8; 32],
    pub parent: [u8; 32],
    pub timestamp_s: u64,
    pub transactions: u32,
    pub gas_used: u64,
    pub segments: u32,
    /// The state before the block.
    pub state_pre: [u8; 32],
    /// The state after the block.
    pub state_post: [u8; 32],
    /// Facts of the header that a pipeline may cut or budget by: numbers in decimal, bytes as 0x and hex.
    pub fields: BTreeMap<String, String>,
    /// The line as it stands in the file, without its newline: what provers are given.
    pub payload: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Block(RecordedBlock),
    /// The chain's tip is this block from here on.
    Reorg {
        hash: [u8; 32],
    },
}
