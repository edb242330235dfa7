//! Whole yards under faults. `cargo test --release -p proofyard-faults -- --nocapture` shows what was hit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bad_input;
mod bad_provers;
mod harm;
mod kills;
mod power_loss;
