//! Public values as canonical bytes: integers big-endian, digests as they are. Two proofs of a block, by any of the
//! provers, agree if these bytes are equal.

use crate::digest::{Digest, bytes_to_hex};
use crate::error::Error;

/// The transactions `from` to `to` - 1 of this block take the digest `before` to `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentValues {
    pub chain_id: u64,
    pub height: u64,
    pub from: u32,
    pub to: u32,
    pub before: Digest,
    pub after: Digest,
}

/// A block whose transactions have this digest takes `pre` to `post`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockValues {
    pub chain_id: u64,
    pub height: u64,
    pub pre: Digest,
    pub post: Digest,
    pub transactions: Digest,
}

/// The blocks `from` to `to`, both included, take `pre` to `post`. A state binds all transactions before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeValues {
    pub chain_id: u64,
    pub from: u64,
    pub to: u64,
    pub pre: Digest,
    pub post: Digest,
}

impl SegmentValues {
    pub const BYTES: usize = 8 + 8 + 4 + 4 + 2 * 32;

    pub fn to_bytes(&self) -> Vec<u8> {
        let place = [self.chain_id.to_be_bytes(), self.height.to_be_bytes()];
        let range = [self.from.to_be_bytes(), self.to.to_be_bytes()];
        [place.as_flattened(), range.as_flattened(), &self.before, &self.after].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::of(bytes, Self::BYTES)?;
        Ok(Self {
            chain_id: fields.u64()?,
            height: fields.u64()?,
            from: fields.u32()?,
            to: fields.u32()?,
            before: fields.take()?,
            after: fields.take()?,
        })
    }

    /// Refuses values that are not the expected ones, naming the first field that differs.
    pub fn expect(&self, expected: &Self) -> Result<(), Error> {
        expect("chain id", self.chain_id, expected.chain_id)?;
        expect("height", self.height, expected.height)?;
        expect("from", self.from, expected.from)?;
        expect("to", self.to, expected.to)?;
        expect_digest("digest before", &self.before, &expected.before)?;
        expect_digest("digest after", &self.after, &expected.after)
    }
}

impl BlockValues {
    pub const BYTES: usize = 8 + 8 + 3 * 32;

    pub fn to_bytes(&self) -> Vec<u8> {
        let place = [self.chain_id.to_be_bytes(), self.height.to_be_bytes()];
        [place.as_flattened(), &self.pre, &self.post, &self.transactions].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::of(bytes, Self::BYTES)?;
        Ok(Self {
            chain_id: fields.u64()?,
            height: fields.u64()?,
            pre: fields.take()?,
            post: fields.take()?,
            transactions: fields.take()?,
        })
    }

    /// Refuses values that are not the expected ones, naming the first field that differs.
    pub fn expect(&self, expected: &Self) -> Result<(), Error> {
        expect("chain id", self.chain_id, expected.chain_id)?;
        expect("height", self.height, expected.height)?;
        expect_digest("pre-state", &self.pre, &expected.pre)?;
        expect_digest("post-state", &self.post, &expected.post)?;
        expect_digest("transactions digest", &self.transactions, &expected.transactions)
    }
}

impl RangeValues {
    pub const BYTES: usize = 3 * 8 + 2 * 32;

    pub fn to_bytes(&self) -> Vec<u8> {
        let place = [self.chain_id.to_be_bytes(), self.from.to_be_bytes(), self.to.to_be_bytes()];
        [place.as_flattened(), &self.pre, &self.post].concat()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::of(bytes, Self::BYTES)?;
        Ok(Self {
            chain_id: fields.u64()?,
            from: fields.u64()?,
            to: fields.u64()?,
            pre: fields.take()?,
            post: fields.take()?,
        })
    }

    /// Reads the values of a block's or of a range's proof: their lengths differ.
    pub fn from_either(bytes: &[u8]) -> Result<Self, Error> {
        match bytes.len() {
            BlockValues::BYTES => Ok(BlockValues::from_bytes(bytes)?.into()),
            _ => Self::from_bytes(bytes),
        }
    }

    /// What ranges in this order come to: one chain, each where the one before ended.
    pub fn join(parts: &[Self]) -> Result<Self, Error> {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Err(Error::Join("there are none".into()));
        };
        for (index, pair) in parts.windows(2).enumerate() {
            let [one, next] = pair else { continue };
            let number = index + 1;
            if next.chain_id != one.chain_id {
                return Err(Error::Join(format!("proof {number} is of another chain than proof {index}")));
            }
            if one.to.checked_add(1) != Some(next.from) {
                return Err(Error::Join(format!(
                    "proof {number} starts at height {}, and proof {index} ends at {}",
                    next.from, one.to
                )));
            }
            if next.pre != one.post {
                return Err(Error::Join(format!(
                    "proof {number} does not start in the state that proof {index} ends in"
                )));
            }
        }
        Ok(Self { to: last.to, post: last.post, ..first.clone() })
    }

    /// Refuses values that are not the expected ones, naming the first field that differs.
    pub fn expect(&self, expected: &Self) -> Result<(), Error> {
        expect("chain id", self.chain_id, expected.chain_id)?;
        expect("first height", self.from, expected.from)?;
        expect("last height", self.to, expected.to)?;
        expect_digest("pre-state", &self.pre, &expected.pre)?;
        expect_digest("post-state", &self.post, &expected.post)
    }
}

/// A block is a range of one.
impl From<BlockValues> for RangeValues {
    fn from(block: BlockValues) -> Self {
        let BlockValues { chain_id, height, pre, post, .. } = block;
        Self { chain_id, from: height, to: height, pre, post }
    }
}

fn expect<T: PartialEq + std::fmt::Display>(what: &str, found: T, expected: T) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::OtherStatement(format!("{what} is {found}, expected {expected}")))
}

fn expect_digest(what: &str, found: &Digest, expected: &Digest) -> Result<(), Error> {
    expect(what, bytes_to_hex(found), bytes_to_hex(expected))
}

/// Takes fixed-size fields off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(bytes: &'a [u8], length: usize) -> Result<Self, Error> {
        if bytes.len() == length {
            return Ok(Self(bytes));
        }
        Err(Error::ProofFile(format!("its public values have {} bytes, expected {length}", bytes.len())))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let too_short = || Error::ProofFile("its public values are too short".into());
        let (field, rest) = self.0.split_first_chunk().ok_or_else(too_short)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(height: u64) -> BlockValues {
        let state = |height: u64| [height as u8; 32];
        BlockValues {
            chain_id: 5,
            height,
            pre: state(height - 1),
            post: state(height),
            transactions: [9; 32],
        }
    }

    #[test]
    fn bytes_come_back_and_have_one_length() {
        let values = block(7);
        assert_eq!(values.to_bytes().len(), BlockValues::BYTES);
        assert_eq!(BlockValues::from_bytes(&values.to_bytes()).unwrap(), values);
        let range = RangeValues::join(&[block(7).into(), block(8).into()]).unwrap();
        assert_eq!(range.to_bytes().len(), RangeValues::BYTES);
        assert_eq!(RangeValues::from_either(&range.to_bytes()).unwrap(), range);
        assert_eq!(RangeValues::from_either(&values.to_bytes()).unwrap(), values.into());
        let segment =
            SegmentValues { chain_id: 1, height: 2, from: 3, to: 4, before: [5; 32], after: [6; 32] };
        assert_eq!(segment.to_bytes().len(), SegmentValues::BYTES);
        assert_eq!(SegmentValues::from_bytes(&segment.to_bytes()).unwrap(), segment);
        assert!(RangeValues::from_bytes(&segment.to_bytes()[1..]).is_err());
    }

    #[test]
    fn only_what_follows_joins() {
        let join = |blocks: &[BlockValues]| {
            let parts: Vec<RangeValues> = blocks.iter().cloned().map(RangeValues::from).collect();
            RangeValues::join(&parts)
        };
        let range = join(&[block(7), block(8), block(9)]).unwrap();
        assert_eq!((range.from, range.to, range.pre, range.post), (7, 9, [6; 32], [9; 32]));
        let reason = |blocks: &[BlockValues]| join(blocks).unwrap_err().to_string();
        assert!(reason(&[block(8), block(7)]).contains("starts at height 7"));
        assert!(reason(&[block(7), block(9)]).contains("starts at height 9"));
        assert!(reason(&[block(7), BlockValues { chain_id: 6, ..block(8) }]).contains("another chain"));
        assert!(reason(&[block(7), BlockValues { pre: [0; 32], ..block(8) }]).contains("state"));
        assert!(reason(&[]).contains("none"));
    }
}
