//! Hostile provers against the real `proofyard run`: each would have false proofs committed, or worse, in every situation
//! in which a yard may run. `cargo test --release -p proofyard-hostile -- --nocapture` prints what each reached.
//!
//! The provers are in `provers/`. Where nothing isolates them the attacks must succeed: else they would show nothing
//! where something does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod forging;
mod reaching;
mod situation;
mod strict;
mod yard;
