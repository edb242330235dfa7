//! Which items expire: those that say which workers a job of AWS Batch registered. When a job's end is never reported,
//! nobody reads its item again, and nobody else would delete it.

use proofyard_core::port::Key;

/// How the partition of such an item begins; the job's id follows. It is one of the workers' keys, which are all that a
/// worker's role may write.
pub(crate) const JOB_WORKERS: &str = "W#job:";
/// Longer than a job lives. The leases of a longer one's workers run out by themselves.
const KEPT_S: u64 = 30 * 24 * 3_600;

/// When DynamoDB may delete an item with this key that is written now, in seconds since the Unix epoch; `None`: never.
pub(super) fn expires_s(key: &Key, now_s: u64) -> Option<u64> {
    key.partition.starts_with(JOB_WORKERS).then(|| now_s + KEPT_S)
}
