//! A block's segment proofs in one file, checked together: as large as they are, and there at once.

use std::path::Path;

use proofyard_statement::digest::{close, start};
use proofyard_statement::proof_file::{expect_canonical, read_bounded, split_header, with_header};
use proofyard_statement::{Block, BlockValues, Error, ProofFile};
use serde::{Deserialize, Serialize};

use crate::programs::{MAX_PROOF_BYTES, SEGMENT_FORMAT, SegmentProgram};

const FORMAT: &str = "proofyard-miden-bundle-2";

/// The largest file of a block.
const MAX_BYTES: usize = 1 << 30;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub segments: Vec<ProofFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    segment_bytes: Vec<usize>,
}

impl Bundle {
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let segments = self.segments.iter().map(ProofFile::to_bytes).collect::<Result<Vec<_>, _>>()?;
        let header = Header { format: FORMAT.into(), segment_bytes: segments.iter().map(Vec::len).collect() };
        let bytes = with_header(&header, &segments.concat())?;
        if bytes.len() > MAX_BYTES {
            return Err(Error::ProofFile(format!("it would be larger than {MAX_BYTES} bytes")));
        }
        Ok(bytes)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header, mut rest) = split_header::<Header>(bytes, FORMAT)?;
        let mut segments = Vec::new();
        for (index, size) in header.segment_bytes.into_iter().enumerate() {
            let ends = || Error::ProofFile(format!("it ends inside segment {index}"));
            let (segment, after) = rest.split_at_checked(size).ok_or_else(ends)?;
            let read = ProofFile::from_bytes(segment, SEGMENT_FORMAT, MAX_PROOF_BYTES);
            segments.push(read.map_err(|error| error.of(format_args!("segment {index}")))?);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(Error::ProofFile(format!("{} bytes follow its last segment", rest.len())));
        }
        let read = Self { segments };
        expect_canonical(&read.to_bytes()?, bytes)?;
        Ok(read)
    }

    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_bytes(&read_bounded(path, MAX_BYTES)?)
    }

    /// Checks every segment proof, and that they are the block's, in order; answers what they come to.
    pub fn verify(&self, program: &SegmentProgram, block: &Block) -> Result<BlockValues, Error> {
        if self.segments.len() != block.segments.len() {
            let (found, expected) = (self.segments.len(), block.segments.len());
            return Err(Error::Join(format!("{found} proofs for a block of {expected} segments")));
        }
        let mut transactions = start(block.chain_id, block.height);
        for (index, file) in self.segments.iter().enumerate() {
            let verified = program.verify(file, block, index);
            let values = verified.map_err(|error| error.of(format_args!("segment {index}")))?;
            if values.before != transactions {
                return Err(Error::Join(format!(
                    "segment {index} does not begin where the one before ended"
                )));
            }
            transactions = values.after;
        }
        let (chain_id, height, pre) = (block.chain_id, block.height, block.pre);
        let values = BlockValues { chain_id, height, pre, post: close(pre, transactions), transactions };
        values.expect(&block.checked_values()?)?;
        Ok(values)
    }
}
