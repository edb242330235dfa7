//! Proof files: a header line of JSON, then bytes whose number the header gives.
//!
//! A segment's file holds its STARK proof; a block's file holds the files of its segments, one after the other.
//! Nothing in a header is believed: the public values count only once the STARK proof was checked with them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use miden_core::Word;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::block::MAX_SEGMENTS;
use crate::error::Error;
use crate::statement::{BlockStatement, SegmentStatement};
use crate::word::{bytes_from_hex, bytes_to_hex, word_from_hex, word_to_hex};

const SEGMENT_FORMAT: &str = "proofyard-miden-segment-1";
const BLOCK_FORMAT: &str = "proofyard-miden-block-1";

/// Headers are short: a block's holds a size for each of its segments.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// A proof of the largest segment is well below this.
pub const MAX_SEGMENT_PROOF_BYTES: usize = 2 << 20;

/// The largest file of a block.
pub const MAX_BLOCK_PROOF_BYTES: usize = 1 << 30;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentHeader {
    format: String,
    program: String,
    public_values: String,
    proof_bytes: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockHeader {
    format: String,
    public_values: String,
    segment_bytes: Vec<usize>,
}

/// The proof of one segment, as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentProof {
    pub program: Word,
    pub statement: SegmentStatement,
    pub stark_proof: Vec<u8>,
}

impl SegmentProof {
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let header = SegmentHeader {
            format: SEGMENT_FORMAT.into(),
            program: word_to_hex(&self.program),
            public_values: bytes_to_hex(&self.statement.to_bytes()),
            proof_bytes: self.stark_proof.len(),
        };
        let mut bytes = header_line(&header)?;
        bytes.extend_from_slice(&self.stark_proof);
        Ok(bytes)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header, proof) = split_header::<SegmentHeader>(bytes, SEGMENT_FORMAT)?;
        if proof.len() != header.proof_bytes || proof.len() > MAX_SEGMENT_PROOF_BYTES {
            return Err(Error::Artifact(format!(
                "its proof has {} bytes, not {}",
                proof.len(),
                header.proof_bytes
            )));
        }
        let public_values = bytes_from_hex(&header.public_values).map_err(in_file)?;
        let read = Self {
            program: word_from_hex(&header.program).map_err(in_file)?,
            statement: SegmentStatement::from_bytes(&public_values).map_err(in_file)?,
            stark_proof: proof.to_vec(),
        };
        expect_canonical(&read.to_bytes()?, bytes)?;
        Ok(read)
    }

    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_bytes(&read_bounded(path, MAX_SEGMENT_PROOF_BYTES + MAX_HEADER_BYTES)?)
    }
}

/// A block's segment proofs in one file, with what they come to together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProof {
    pub statement: BlockStatement,
    pub segments: Vec<SegmentProof>,
}

impl BlockProof {
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let segments = self.segments.iter().map(SegmentProof::to_bytes).collect::<Result<Vec<_>, _>>()?;
        let header = BlockHeader {
            format: BLOCK_FORMAT.into(),
            public_values: bytes_to_hex(&self.statement.to_bytes()),
            segment_bytes: segments.iter().map(Vec::len).collect(),
        };
        let mut bytes = header_line(&header)?;
        bytes.extend(segments.into_iter().flatten());
        if bytes.len() > MAX_BLOCK_PROOF_BYTES {
            return Err(Error::Artifact(format!("it would be larger than {MAX_BLOCK_PROOF_BYTES} bytes")));
        }
        Ok(bytes)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (header, mut rest) = split_header::<BlockHeader>(bytes, BLOCK_FORMAT)?;
        if header.segment_bytes.len() > MAX_SEGMENTS {
            return Err(Error::Artifact(format!("it has more than {MAX_SEGMENTS} segments")));
        }
        let mut segments = Vec::with_capacity(header.segment_bytes.len());
        for (index, size) in header.segment_bytes.into_iter().enumerate() {
            let (segment, after) = rest
                .split_at_checked(size)
                .ok_or_else(|| Error::Artifact(format!("it ends inside segment {index}")))?;
            segments.push(
                SegmentProof::from_bytes(segment)
                    .map_err(|e| Error::Artifact(format!("segment {index}: {e}")))?,
            );
            rest = after;
        }
        if !rest.is_empty() {
            return Err(Error::Artifact(format!("{} bytes follow its last segment", rest.len())));
        }
        let public_values = bytes_from_hex(&header.public_values).map_err(in_file)?;
        let statement = BlockStatement::from_bytes(&public_values).map_err(in_file)?;
        let read = Self { statement, segments };
        expect_canonical(&read.to_bytes()?, bytes)?;
        Ok(read)
    }

    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_bytes(&read_bounded(path, MAX_BLOCK_PROOF_BYTES)?)
    }
}

fn header_line(header: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut line = serde_json::to_vec(header).map_err(|e| Error::Artifact(e.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

fn split_header<'a, H: Deserialize<'a>>(bytes: &'a [u8], format: &str) -> Result<(H, &'a [u8]), Error> {
    let start = bytes.get(..MAX_HEADER_BYTES).unwrap_or(bytes);
    let end = start.iter().position(|byte| *byte == b'\n');
    let (line, rest) = bytes.split_at(end.ok_or_else(|| Error::Artifact("it has no header line".into()))?);
    let wrong = |e: serde_json::Error| Error::Artifact(format!("its header: {e}"));
    // The format is looked at first: a file of another kind is called that, not a list of wrong fields.
    let found: Format<'_> = serde_json::from_slice(line).map_err(wrong)?;
    if found.format.get() != format!("{format:?}") {
        return Err(Error::Artifact(format!("its format is {}, expected {format:?}", found.format)));
    }
    Ok((serde_json::from_slice(line).map_err(wrong)?, rest.get(1..).unwrap_or_default()))
}

/// A header has one form only, so that nobody can make other files of a proof by respelling it.
fn expect_canonical(canonical: &[u8], bytes: &[u8]) -> Result<(), Error> {
    if canonical == bytes {
        return Ok(());
    }
    Err(Error::Artifact("its header is not in its canonical form".into()))
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow)]
    format: &'a RawValue,
}

fn in_file(error: Error) -> Error {
    Error::Artifact(error.to_string())
}

fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(format!("reading the proof {}", path.display()), e);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > limit {
        return Err(Error::Artifact(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}
