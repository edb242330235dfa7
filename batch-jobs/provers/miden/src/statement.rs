//! The statements that proofs are about, and their public values as canonical bytes.

use miden_core::Word;

use crate::error::Error;
use crate::word::{word_from_bytes, word_to_hex};

/// Applying the transactions `from` to `to` - 1 of this block to `pre` gives `post`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentStatement {
    pub chain_id: u64,
    pub height: u64,
    pub from: u32,
    pub to: u32,
    pub pre: Word,
    pub post: Word,
    pub transactions_digest: Word,
}

impl SegmentStatement {
    pub const BYTES: usize = 8 + 8 + 4 + 4 + 3 * 32;

    /// chain id u64 BE, height u64 BE, from u32 BE, to u32 BE, pre, post, transactions digest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend(self.chain_id.to_be_bytes());
        bytes.extend(self.height.to_be_bytes());
        bytes.extend(self.from.to_be_bytes());
        bytes.extend(self.to.to_be_bytes());
        bytes.extend([self.pre, self.post, self.transactions_digest].iter().flat_map(Word::as_bytes));
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Result<Self, Error> {
        let mut fields = Fields(bytes);
        Ok(Self {
            chain_id: u64::from_be_bytes(fields.take()?),
            height: u64::from_be_bytes(fields.take()?),
            from: u32::from_be_bytes(fields.take()?),
            to: u32::from_be_bytes(fields.take()?),
            pre: word_from_bytes(&fields.take()?)?,
            post: word_from_bytes(&fields.take()?)?,
            transactions_digest: word_from_bytes(&fields.take()?)?,
        })
    }

    /// Refuses a statement that is not the expected one, naming the first field that differs.
    pub fn expect(&self, expected: &Self) -> Result<(), Error> {
        expect("chain id", self.chain_id, expected.chain_id)?;
        expect("height", self.height, expected.height)?;
        expect("from", self.from, expected.from)?;
        expect("to", self.to, expected.to)?;
        expect_word("pre-state", &self.pre, &expected.pre)?;
        expect_word("post-state", &self.post, &expected.post)?;
        expect_word("transactions digest", &self.transactions_digest, &expected.transactions_digest)
    }
}

/// All the transactions of this block take `pre` to `post`, proved segment by segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockStatement {
    pub chain_id: u64,
    pub height: u64,
    pub pre: Word,
    pub post: Word,
    pub transactions_digest: Word,
}

impl BlockStatement {
    pub const BYTES: usize = 8 + 8 + 3 * 32;

    /// chain id u64 BE, height u64 BE, pre, post, transactions digest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend(self.chain_id.to_be_bytes());
        bytes.extend(self.height.to_be_bytes());
        bytes.extend([self.pre, self.post, self.transactions_digest].iter().flat_map(Word::as_bytes));
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Result<Self, Error> {
        let mut fields = Fields(bytes);
        Ok(Self {
            chain_id: u64::from_be_bytes(fields.take()?),
            height: u64::from_be_bytes(fields.take()?),
            pre: word_from_bytes(&fields.take()?)?,
            post: word_from_bytes(&fields.take()?)?,
            transactions_digest: word_from_bytes(&fields.take()?)?,
        })
    }

    /// Refuses a statement that is not the expected one, naming the first field that differs.
    pub fn expect(&self, expected: &Self) -> Result<(), Error> {
        expect("chain id", self.chain_id, expected.chain_id)?;
        expect("height", self.height, expected.height)?;
        expect_word("pre-state", &self.pre, &expected.pre)?;
        expect_word("post-state", &self.post, &expected.post)?;
        expect_word("transactions digest", &self.transactions_digest, &expected.transactions_digest)
    }
}

fn expect<T: PartialEq + std::fmt::Display>(what: &str, found: T, expected: T) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::OtherStatement(format!("{what} is {found}, expected {expected}")))
}

fn expect_word(what: &str, found: &Word, expected: &Word) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (word_to_hex(found), word_to_hex(expected));
    Err(Error::OtherStatement(format!("{what} is {found}, expected {expected}")))
}

/// Takes fixed-size fields off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| Error::Artifact("public values are too short".into()))?;
        self.0 = rest;
        Ok(*field)
    }
}
