//! The input of EIP-8025's guest program, from a payload and its witness: what a zkVM is given that proves the block.
//!
//! As execution-specs has it for Amsterdam: a schema id of two bytes, big endian, whose first byte is the fork, then the SSZ
//! encoding of `StatelessInput`. SSZ's progressive lists and containers are written as its ordinary ones; they differ in their
//! roots alone.
//!
//! ```text
//! 0x1501 │ offset of the payload request │ offset of the witness │ chain id │ offset of the public keys │ request │ witness │ keys
//! ```
//!
//! The request is what came of the consensus client, and is in memory as its call was. The witness is read from its file once for
//! the lengths of its parts, which stand before the parts, and once for each of its lists, so that one part is in memory at a time.

mod request;
mod witness;

use std::fs::File;
use std::io::{self, Write};

use alloy_primitives::B256;

use self::request::{PublicKeys, Request};
use self::witness::Witness;

/// Of Amsterdam, the 21st fork, in its first form.
const SCHEMA_ID: [u8; 2] = [0x15, 0x01];
/// Two offsets, the chain id, one more offset.
const FIXED_BYTES: usize = 4 + 4 + 8 + 4;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum GuestInputError {
    /// It will be the same with every witness.
    #[error("the block cannot be a guest's input: {0}")]
    Block(String),
    /// Another node may give one that can be.
    #[error("the witness cannot be a guest's: {0}")]
    Witness(String),
    #[error("the guest's input cannot be kept")]
    Io(#[from] io::Error),
}

/// What a guest is given of a block, whichever witness comes with it.
pub struct GuestBlock {
    request: Vec<u8>,
    keys: PublicKeys,
    parent: B256,
}

impl GuestBlock {
    /// Of a line of blocks that came as a payload.
    ///
    /// # Errors
    /// Where it is not such that the guest can take it.
    pub fn of_line(line: &[u8]) -> Result<Self, GuestInputError> {
        let request = Request::of_line(line)?;
        Ok(Self { keys: request.public_keys()?, parent: request.parent(), request: request.ssz() })
    }
}

/// Writes the input of a block of whose `witness` this is the file, in the form of `debug_executionWitness`. Answers its bytes.
///
/// # Errors
/// Where the witness is not such that the guest can take it.
pub fn write_guest_input(
    block: &GuestBlock,
    witness: &File,
    chain_id: u64,
    output: &mut impl Write,
) -> Result<u64, GuestInputError> {
    let GuestBlock { request, keys, parent } = block;
    let witness = Witness::measure(witness, *parent)?;
    let request_at = FIXED_BYTES as u64;
    let witness_at = request_at + request.len() as u64;
    let keys_at = witness_at + witness.bytes();
    let end = keys_at + keys.bytes();
    // The last offset says that all others fit as well.
    offset(end)?;
    output.write_all(&SCHEMA_ID)?;
    output.write_all(&offset(request_at)?)?;
    output.write_all(&offset(witness_at)?)?;
    output.write_all(&chain_id.to_le_bytes())?;
    output.write_all(&offset(keys_at)?)?;
    output.write_all(request)?;
    witness.write(output)?;
    keys.write(output)?;
    output.flush()?;
    Ok(SCHEMA_ID.len() as u64 + end)
}

fn offset(bytes: u64) -> Result<[u8; 4], GuestInputError> {
    u32::try_from(bytes)
        .map(u32::to_le_bytes)
        .map_err(|_| GuestInputError::Witness("with the payload it has more than 4 GiB".to_owned()))
}

/// A hash as errors name it.
fn short(hash: &B256) -> String {
    format!("0x{}…", hex::encode(&hash[..4]))
}

#[cfg(test)]
mod tests;
