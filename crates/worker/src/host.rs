//! This host's clock and randomness.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 where the clock is before that.
pub fn system_now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A random number: SipHash under a new key that the standard library draws for each call.
pub fn system_random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
