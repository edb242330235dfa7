//! STARK proofs of blocks by Miden VM: of segments, of whole blocks, and of proofs.
//!
//! Four programs ([`programs`]) are proved: `segment` and `block` compute the statement of `proofyard-statement` inside
//! the virtual machine; `merge` and `range` run Miden's own verifier inside it, and bind what the inner proofs state to
//! what they state themselves. A program's hash is its verification key.

mod assembly;
pub mod bundle;
mod commands;
pub mod programs;
pub mod recursion;
mod vm;
mod words;

pub use commands::run;
pub use vm::{Machine, ProofHash, Statement, security_bits};
