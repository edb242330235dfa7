//! What the project proves and says, as contracts on a real EVM take it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod evm;
mod range_proofs;
