//! The runner against real processes: the toy prover with its faults, and small shell scripts for what it cannot do.

mod faults;
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod files;
mod guard;
mod stream;
mod support;
