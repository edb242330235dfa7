//! The domain over a port in memory: pipeline files, cuts, an operator's words, what people read of the state.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod block_fields;
mod budgets;
mod checkpoints;
mod clocks;
mod common;
mod cuts;
mod damaged;
mod edits;
mod forged;
mod look;
mod opening;
mod operator;
mod pipeline_files;
mod pipeline_mistakes;
mod pipeline_mutations;
mod pool_tasks;
mod port_example;
mod results;
mod signals;
mod sinks;
mod spaced;
mod starving;
mod taking_up;
