//! Yards that follow a node, as a whole: `proofyard run PIPELINE` where the pipeline has `[source.node]`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bad_nodes;
mod chain;
mod engine;
mod examples;
mod witness_programs;
mod witnesses;
