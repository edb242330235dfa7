//! `proofyard-contract`, and yards whose sinks it serves, on a real EVM: anvil, with contracts that count what they are called
//! with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod cut;
mod examples;
mod keys;
mod ledger;
mod program;
mod reorgs;
mod trouble;
mod yard;
