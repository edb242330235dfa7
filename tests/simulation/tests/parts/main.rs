//! The simulation's own parts, of which a run would not say that they are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod edits;
mod executor;
mod reduction;
mod run;
mod store;
