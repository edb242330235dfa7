//! What a user of blocks files relies on: sound files are read as the node said them, bad ones are refused
//! by name.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on fails

mod bad_chains;
mod bad_lines;
mod chains;
mod common;
mod forms;
mod mutations;
mod recorded;
