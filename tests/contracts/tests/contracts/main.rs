//! What the project proves and says, as contracts on a real EVM take it: verifiers, and sinks that call contracts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod acting;
mod checkpoints;
mod cut;
mod evm;
mod examples;
mod gaps;
mod interval;
mod keys;
mod kills;
mod ledger;
mod program;
mod range_proofs;
mod reorgs;
mod trouble;
mod yard;
