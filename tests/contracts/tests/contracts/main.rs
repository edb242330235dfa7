//! What the project proves and says, as contracts on a real EVM take it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside of test functions may fail a test too"
)]

mod range_proofs;
