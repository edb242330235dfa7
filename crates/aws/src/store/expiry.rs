//! Which items expire: those that say which workers a job of AWS Batch registered. When a job's end is never reported,
//! nothing reads its item again, and nothing else deletes it.

use proofyard_core::port::Key;
use proofyard_core::state::KeyFamily;

/// Longer than a job lives. The leases of a longer one's workers run out by themselves.
const KEPT_S: u64 = 30 * 24 * 3_600;

/// When DynamoDB may delete an item with this key that is written now, in seconds since the Unix epoch; `None`: never.
pub(super) fn expires_s(key: &Key, now_s: u64) -> Option<u64> {
    (KeyFamily::of(key) == Some(KeyFamily::JobWorkers)).then(|| now_s + KEPT_S)
}
