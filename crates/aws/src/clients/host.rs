//! Clock and randomness of the machine that this runs on; tests give others.

use std::sync::Arc;

pub use proofyard_worker::host::{system_now_ms, system_random};

/// Where time or randomness comes from.
pub type Source = Arc<dyn Fn() -> u64 + Send + Sync>;
