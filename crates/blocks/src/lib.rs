//! Recorded Ethereum blocks: a file of JSON lines, and the check that it is one chain.
//!
//! A line is a block, alone or with what its provers need, or an explicit change of branch:
//!
//! ```text
//! {"number":"0x1","hash":"0x…",…}
//! {"jsonrpc":"2.0","id":1,"result":{"number":"0x1","hash":"0x…",…}}
//! {"block":{"number":"0x1","hash":"0x…",…},"chain_id":31337,"pre":"0x…","post":"0x…","segments":[{"from":0,"to":8}, …]}
//! {"reorg":"0x…"}
//! ```
//!
//! - the block is the node's own answer to `eth_getBlockByNumber`, unchanged.
//! - `pre` and `post`, if there, are the states before and after the block.
//! - `segments`, if there, cut its transactions into parts that prove independently: `from` is in, `to` is not.
//! - `new_payload`, if there, holds the parameters of the engine API's call that brought the block; provers read it.
//! - `reorg` names the new tip. The blocks of its branch stand above that line.
//!
//! [`parse_line`] checks what one line can tell: the header hashes to the block's hash (unless the chain's hashes are
//! trusted), the segments cover the transactions. [`check_file`] checks what only the file can tell: each block's parent
//! is there, no height is left out, no block comes twice, a fork is settled by a reorg line, the states go on from the
//! parent's, and each block has the fields that the pipeline's cuts need. A reader that must take nothing of a bad file
//! runs it first. [`Taking`] says of each line whether it was taken before, so that a file that grew, or the next
//! one, goes on.
//!
//! Not checked: that the transactions are those under the header's `transactionsRoot`, and the states, which are the
//! prover's business. `docs/blocks.md` tells all of it.

mod block;
mod encoding;
mod fault;
mod line;
mod linkage;
mod object;
mod reader;
mod rules;
mod taken;

use std::collections::BTreeMap;

use proofyard_core::state::{ArtifactRef, Block, NamedBlock};

use encoding::to_hex;
pub use fault::{BlocksError, Fault};
pub use line::{MAX_SEGMENTS, parse_line};
pub use linkage::{MAX_BLOCKS, Summary, check_file};
pub use reader::{LINE_LIMIT_BYTES, Reader};
pub use rules::{Rules, Wanted};
pub use taken::{Step, Taken, Taking, TakingError, check_goes_on};

/// A block as the file holds it, checked as its chain's rule for headers asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBlock {
    pub chain_id: Option<u64>,
    pub height: u64,
    pub hash: [u8; 32],
    pub parent: [u8; 32],
    pub timestamp_s: u64,
    pub transactions: u32,
    /// 0 where the line names none.
    pub segments: u32,
    /// The state before the block.
    pub state_pre: Option<[u8; 32]>,
    /// The state after the block.
    pub state_post: Option<[u8; 32]>,
    /// Of the node's fields, those that the pipeline's cuts need, under the node's names.
    pub fields: BTreeMap<String, String>,
    /// Fields of the node's JSON that are none of Ethereum's.
    pub not_understood: Vec<String>,
    /// What provers are given: the line as it stands in the file, without its newline; of a block without anything
    /// beside it, `{"block":…}`.
    pub payload: Vec<u8>,
}

impl RecordedBlock {
    pub fn named(&self) -> NamedBlock {
        NamedBlock { height: self.height, hash: (&self.hash).into() }
    }

    /// The event that tells of this block, whose payload is stored.
    pub fn event(&self, payload: ArtifactRef) -> Block {
        Block {
            height: self.height,
            hash: to_hex(&self.hash).into(),
            parent: to_hex(&self.parent).into(),
            timestamp_s: self.timestamp_s,
            segments: self.segments,
            fields: self.fields.clone(),
            payload,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Block(Box<RecordedBlock>),
    /// The chain's tip is this block from here on.
    Reorg {
        hash: [u8; 32],
    },
}
