//! Proof files: a header line of JSON, then the proof, whose length the header gives.
//!
//! Nothing in a header is trusted: the public values count only once the proof was verified with them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::Error;

/// Headers are short; a bundle's names the length of each of its parts.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// A proof with its header's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Which kind of proof this is, such as `proofyard-miden-segment-2`.
    pub format: &'static str,
    pub verification_key: Vec<u8>,
    pub public_values: Vec<u8>,
    pub proof: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    verification_key: String,
    public_values: String,
    proof_bytes: usize,
}

impl ProofFile {
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let header = Header {
            format: self.format.into(),
            verification_key: hex::encode(&self.verification_key),
            public_values: hex::encode(&self.public_values),
            proof_bytes: self.proof.len(),
        };
        with_header(&header, &self.proof)
    }

    /// Reads a proof of this format, with at most `max_proof_bytes` after its header.
    pub fn from_bytes(bytes: &[u8], format: &'static str, max_proof_bytes: usize) -> Result<Self, Error> {
        let (header, proof) = split_header::<Header>(bytes, format)?;
        if proof.len() != header.proof_bytes || proof.len() > max_proof_bytes {
            let (found, said) = (proof.len(), header.proof_bytes);
            return Err(Error::ProofFile(format!(
                "its proof has {found} bytes, not {said}, or more than {max_proof_bytes}"
            )));
        }
        let bytes_of = |name: &str, text: &str| {
            hex::decode(text).map_err(|_| Error::ProofFile(format!("its {name} is not hexadecimal")))
        };
        let read = Self {
            format,
            verification_key: bytes_of("verification key", &header.verification_key)?,
            public_values: bytes_of("public values", &header.public_values)?,
            proof: proof.to_vec(),
        };
        expect_canonical(&read.to_bytes()?, bytes)?;
        Ok(read)
    }

    pub fn read(path: &Path, format: &'static str, max_proof_bytes: usize) -> Result<Self, Error> {
        Self::from_bytes(&read_bounded(path, max_proof_bytes + MAX_HEADER_BYTES)?, format, max_proof_bytes)
    }
}

/// The format that a file says it has.
pub fn format_of(bytes: &[u8]) -> Result<String, Error> {
    let (line, _) = header_line(bytes)?;
    let found: AnyFormat = serde_json::from_slice(line).map_err(wrong_header)?;
    Ok(found.format)
}

/// A header line, then a body.
pub fn with_header(header: &impl Serialize, body: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec(header).map_err(|e| Error::ProofFile(e.to_string()))?;
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// Takes the header line, of this format, off a file's bytes.
pub fn split_header<'a, H: Deserialize<'a>>(bytes: &'a [u8], format: &str) -> Result<(H, &'a [u8]), Error> {
    let (line, body) = header_line(bytes)?;
    // The format is checked first, so that the error for a file of another kind names that, and not its fields.
    let found: RawFormat<'_> = serde_json::from_slice(line).map_err(wrong_header)?;
    if found.format.get() != format!("{format:?}") {
        return Err(Error::ProofFile(format!("its format is {}, expected {format:?}", found.format)));
    }
    Ok((serde_json::from_slice(line).map_err(wrong_header)?, body))
}

/// A file has one canonical form, so that nobody can make another file of a proof by writing its header differently.
pub fn expect_canonical(canonical: &[u8], bytes: &[u8]) -> Result<(), Error> {
    if canonical == bytes {
        return Ok(());
    }
    Err(Error::ProofFile("its header is not in its canonical form".into()))
}

/// Reads a file of at most this many bytes.
pub fn read_bounded(path: &Path, limit_bytes: usize) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(format!("reading {}", path.display()), e);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(limit_bytes as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > limit_bytes {
        return Err(Error::ProofFile(format!("it is larger than {limit_bytes} bytes")));
    }
    Ok(bytes)
}

fn header_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let start = bytes.get(..MAX_HEADER_BYTES).unwrap_or(bytes);
    let end = start.iter().position(|byte| *byte == b'\n');
    let (line, rest) = bytes.split_at(end.ok_or_else(|| Error::ProofFile("it has no header line".into()))?);
    Ok((line, rest.get(1..).unwrap_or_default()))
}

fn wrong_header(error: serde_json::Error) -> Error {
    Error::ProofFile(format!("its header: {error}"))
}

#[derive(Deserialize)]
struct RawFormat<'a> {
    #[serde(borrow)]
    format: &'a RawValue,
}

#[derive(Deserialize)]
struct AnyFormat {
    format: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ProofFile {
        ProofFile {
            format: "test-1",
            verification_key: vec![1, 2],
            public_values: vec![3],
            proof: b"a\nproof".to_vec(),
        }
    }

    #[test]
    fn bytes_come_back() {
        let bytes = file().to_bytes().unwrap();
        assert_eq!(ProofFile::from_bytes(&bytes, "test-1", 100).unwrap(), file());
        assert_eq!(format_of(&bytes).unwrap(), "test-1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bytes = file().to_bytes().unwrap();
        let reason = |bytes: &[u8], format: &'static str, most: usize| {
            ProofFile::from_bytes(bytes, format, most).unwrap_err().to_string()
        };
        assert!(reason(&bytes, "test-2", 100).contains(r#"its format is "test-1", expected "test-2""#));
        assert!(reason(&bytes[..bytes.len() - 1], "test-1", 100).contains("its proof has 6 bytes, not 7"));
        assert!(reason(&[&bytes[..], b"x"].concat(), "test-1", 100).contains("its proof has 8 bytes, not 7"));
        assert!(reason(&bytes, "test-1", 3).contains("more than 3"));
        assert!(reason(b"{}", "test-1", 100).contains("no header line"));
        assert!(reason(b"{}\n", "test-1", 100).contains("missing field"));
        assert!(reason(&[b" ", &bytes[..]].concat(), "test-1", 100).contains("canonical"));
    }
}
