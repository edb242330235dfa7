//! The runner against real processes: the toy prover with its faults, and small shell scripts for what it cannot do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod example;
mod faults;
mod files;
mod guard;
mod paths;
mod stream;
mod support;
mod winding_up;
