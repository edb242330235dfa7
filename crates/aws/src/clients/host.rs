//! Clock and randomness of the machine that this runs on; tests give others.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where time or randomness comes from.
pub type Source = Arc<dyn Fn() -> u64 + Send + Sync>;

pub fn system_now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// SipHash under keys that the system chose at random and that no two calls share.
pub fn system_random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}
