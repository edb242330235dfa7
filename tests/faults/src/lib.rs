//! Real yards under faults: helpers for tests that run the `proofyard` command, break something, and look at it from
//! outside (sink files, processes, exit codes) and from inside (its state, read after it died).
//!
//! - [`Place`]: a folder with a pipeline of toy provers, a blocks file, sinks and a data directory; [`RunningYard`];
//! - [`processes`]: what a yard left running, found by a mark in its environment;
//! - [`State`]: everything that a dead yard's database holds; [`replay`]: what its out logs say;
//! - [`Witness`]: remembers what was seen, and checks every promise again after each fault.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod blocks;
mod pipeline;
mod place;
pub mod processes;
pub mod replay;
mod state;
mod toy;
mod witness;
mod yard;

pub use blocks::{BlocksFile, final_chain};
pub use pipeline::ToyPipeline;
pub use place::Place;
pub use state::State;
pub use witness::Witness;
pub use yard::{Ended, RunningYard, program};

use std::time::{Duration, Instant};

/// No test waits longer for anything that must happen, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits for a condition that must come true.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(LOOK);
    }
}
