//! Which workers a job of AWS Batch registered, so that its end, when Batch tells it, ends them at once.
//!
//! What Batch tells is a hint like any other: a worker that lives although its job is said to be over starts again under
//! a new id, and what it proved meanwhile is welcome. A job whose end nobody tells, or told before its last worker
//! registered, leaves an item that nobody reads any more: these alone expire. (A dead worker's own items are deleted by
//! whoever ends it.)

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::LocalBoxFuture;
use proofyard_core::error::Error;
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::port::{Key, Port};
use proofyard_core::transaction::{Item, read, read_many, read_range, transact};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::home::Home;
use crate::jobs::{JobError, Listed, PoolJobs};
use crate::submissions::{Found, StartTrouble, Submissions};

/// Ids kept of one job; beyond these, leases run out by themselves.
const MAX_IDS: usize = 64;
/// A judge that runs for so long has started.
const STARTED_AFTER_MS: u64 = 60_000;
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
        // Before what says so is gone.
        self.job_registered(job).await?;
        transact(&self.yard.port, async |tx| {
            if tx.check::<JobWorkers>(&JobWorkers::key_of(job)).await?.is_some() {
                tx.delete(JobWorkers::key_of(job));
            }
            Ok(())
        })
        .await
    }

    /// Remembers of a job that a worker of it registered, where that is still asked.
    async fn job_registered(&self, job: &str) -> Result<(), Error> {
        let all = read_range::<_, Submissions>(&self.yard.port, &Submissions::all()).await?;
        for (key, _, _) in all.into_iter().filter(|(_, _, known)| known.knows(job)) {
            transact(&self.yard.port, async |tx| {
                if let Some(mut known) = tx.check::<Submissions>(&key).await? {
                    known.registered(job);
                    tx.put(&known)?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Whether something is to be found out of jobs that were submitted for a pool.
    pub(crate) async fn has_unsettled_jobs(&self, pool: &str) -> Result<bool, Error> {
        let known: Option<Submissions> = read(&self.yard.port, &Submissions::key_of(pool)).await?;
        Ok(known.is_some_and(|known| known != Submissions::of(pool)))
    }

    /// Finds out which of them registered and which ended before they did.
    pub(crate) async fn settle_jobs(
        &self,
        pool: &str,
        jobs: &PoolJobs,
        listed: &Listed,
    ) -> Result<(), SettleError> {
        let key = Submissions::key_of(pool);
        let Some(known) = read::<_, Submissions>(&self.yard.port, &key).await? else { return Ok(()) };
        let unlisted = self.jobs.ends(jobs, &known.unlisted(listed)).await?;
        // After they were seen to be over, so that whoever registered before is found.
        let unregistered = known.unregistered();
        let keys: Vec<Key> = unregistered.iter().map(|job| JobWorkers::key_of(job)).collect();
        let found = read_many::<_, JobWorkers>(&self.yard.port, &keys).await?;
        let mut registered: BTreeSet<String> = found.into_iter().flatten().map(|found| found.job).collect();
        if pool == JUDGE_POOL {
            // A judge registers nowhere: one that runs for a while has started.
            let since_ms = self.yard.port.now_ms().saturating_sub(STARTED_AFTER_MS);
            registered.extend(listed.running_since(since_ms).cloned());
        }
        let found = Found { unlisted, registered };
        let trouble = transact(&self.yard.port, async |tx| {
            let Some(mut known) = tx.check::<Submissions>(&key).await? else { return Ok(None) };
            let before = known.clone();
            known.settle(listed, &found, self.yard.port.now_ms());
            if known != before {
                tx.put(&known)?;
            }
            Ok(known.trouble().filter(|trouble| before.trouble() != Some(trouble)).cloned())
        })
        .await?;
        if let Some(StartTrouble { rounds, jobs, reason, .. }) = trouble {
            warn!(pool, rounds, jobs, reason, "workers end before they register");
        }
        Ok(())
    }

    /// Why pools have no workers although they are submitted, by pool.
    pub fn start_troubles(&self) -> LocalBoxFuture<'_, Result<BTreeMap<String, StartTrouble>, Error>> {
        Box::pin(async move {
            let all = read_range::<_, Submissions>(&self.yard.port, &Submissions::all()).await?;
            let troubles = all
                .into_iter()
                .filter_map(|(_, _, known)| Some((known.pool().to_owned(), known.trouble()?.clone())));
            Ok(troubles.collect())
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    #[error(transparent)]
    Yard(#[from] Error),
    #[error(transparent)]
    Jobs(#[from] JobError),
}
