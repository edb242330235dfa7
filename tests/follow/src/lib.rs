//! A real node ([`anvil`]), what stands between it and the yard ([`between`]), the yard that follows it ([`yard`]), and what
//! the yard handed on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is for tests")]

pub mod anvil;
pub mod between;
pub mod engine;
pub mod http;
pub mod yard;

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is there.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
