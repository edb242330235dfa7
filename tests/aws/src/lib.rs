//! Yards on AWS for tests: a local AWS of each test's own, an HTTP client that breaks on demand and counts, and a yard
//! that a test drives by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

pub mod driver;
pub mod http;
pub mod local;
pub mod metadata;
pub mod relay;
pub mod toy;
pub mod usage;

use std::time::{Duration, Instant};

use proofyard_core::state::ChainName;

/// No test waits longer for anything that must happen, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The chain that is called so.
pub fn named(chain: &str) -> ChainName {
    chain.parse().expect("a chain's name")
}

/// Waits for a condition that must come true.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
