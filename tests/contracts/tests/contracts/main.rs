//! What the project proves and says, as contracts on a real EVM take it.

#![allow(clippy::unwrap_used)]

mod range_proofs;
