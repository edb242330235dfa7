//! The one statement that all provers here prove, so that their proofs of a block can be compared.
//!
//! A chain's state is 32 bytes. A block takes *pre* to *post* by the digest of its transactions' hashes:
//!
//! ```text
//! digest = chain id (u64), height (u64), 16 zero bytes           where every block begins
//! digest = keyed(digest, hashes of the next two transactions)    again and again; the last may be alone
//! post   = keyed(pre, digest)
//! ```
//!
//! `keyed` is BLAKE3's keyed hash of at most 64 bytes, which is one run of its compression function: the cheapest
//! standard hash that a STARK zkVM over a 64-bit field and circuits over 255-bit fields can all compute. Each prover
//! computes it inside its proof; this crate computes it natively, reads blocks and writes the canonical public values.

pub mod block;
pub mod complete;
pub mod compression;
pub mod digest;
pub mod error;
pub mod inputs;
pub mod proof_file;
pub mod values;

pub use block::Block;
pub use digest::{Digest, TransactionHash};
pub use error::Error;
pub use proof_file::ProofFile;
pub use values::{BlockValues, RangeValues, SegmentValues};
