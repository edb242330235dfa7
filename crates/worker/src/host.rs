//! The clock and the randomness of the host that a port runs on.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 where the clock is before that.
pub fn system_now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// SipHash under keys that the system chose at random and that no two calls share.
pub fn system_random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
