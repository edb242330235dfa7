//! Which workers a job of AWS Batch registered, so that its end, when Batch tells it, ends them at once.
//!
//! What Batch tells is a hint like any other: a worker that lives although its job is said to be over starts again under
//! a new id, and what it proved meanwhile is welcome. A job whose end nobody tells, or told before its last worker
//! registered, leaves an item that nobody reads any more: these alone expire. (A dead worker's own items are deleted by
//! whoever ends it.)

use proofyard_core::error::Error;
use proofyard_core::port::Key;
use proofyard_core::transaction::{Item, read, transact};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::home::Home;

/// Ids kept of one job; beyond these, leases run out by themselves.
const MAX_IDS: usize = 64;
const PARTITION: &str = "W#job:";
/// Longer than a job lives. Of one that lives longer, the leases run out by themselves.
const KEPT_S: u64 = 30 * 24 * 3_600;

/// How long an item with this key is kept after it was written; `None`: for ever.
pub(crate) fn kept_s(key: &Key) -> Option<u64> {
    key.partition.starts_with(PARTITION).then_some(KEPT_S)
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct JobWorkers {
    job: String,
    ids: Vec<String>,
}

impl JobWorkers {
    /// Among the workers' keys, which are all that a worker may write.
    fn key_of(job: &str) -> Key {
        Key::new(format!("{PARTITION}{job}"), "ids")
    }
}

impl Item for JobWorkers {
    fn key(&self) -> Key {
        Self::key_of(&self.job)
    }
}

impl Home {
    /// Before a worker of this job registers under this id.
    pub async fn remember_worker(&self, job: &str, worker: &str) -> Result<(), Error> {
        transact(&self.yard.port, async |tx| {
            let known: Option<JobWorkers> = tx.check(&JobWorkers::key_of(job)).await?;
            let mut known = known.unwrap_or_else(|| JobWorkers { job: job.to_owned(), ids: Vec::new() });
            if known.ids.len() < MAX_IDS && !known.ids.iter().any(|id| id == worker) {
                known.ids.push(worker.to_owned());
            }
            tx.put(&known)
        })
        .await
    }

    /// Ends the workers of a job that is said to be over.
    pub(crate) async fn job_ended(&self, job: &str) -> Result<(), Error> {
        let Some(known) = read::<_, JobWorkers>(&self.yard.port, &JobWorkers::key_of(job)).await? else {
            return Ok(());
        };
        for worker in &known.ids {
            self.yard.expire_worker(worker, true).await?;
            info!(job, worker, "its job is over");
        }
        transact(&self.yard.port, async |tx| {
            if tx.check::<JobWorkers>(&JobWorkers::key_of(job)).await?.is_some() {
                tx.delete(JobWorkers::key_of(job));
            }
            Ok(())
        })
        .await
    }
}
