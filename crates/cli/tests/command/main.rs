//! The real command with a prover that proves nothing: what an operator types, sees and gets back.

#![allow(clippy::unwrap_used, clippy::panic)] // Clippy knows tests by their functions, not their helpers.

mod bad_usage;
mod bench;
mod codes;
mod feeding;
mod keep;
mod keys;
mod on_aws;
mod plan;
mod prover_check;
mod push0;
mod report;
mod running;
mod stopped;
mod support;
mod verify;
