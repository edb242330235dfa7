//! Which workers a job of AWS Batch registered, so that its end, when Batch reports it, ends them at once.
//!
//! What Batch reports is a hint like any other: a worker that lives although its job is said to be over registers again
//! under a new id, and its proofs are welcome. When a job's end is never reported, or is reported before its last worker
//! registered, its item is read by nobody any more: these items alone expire (`store::expiry`). A dead worker's own items
//! are deleted by whoever ends it.

use std::collections::{BTreeMap, BTreeSet};

use proofyard_core::error::Error;
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::port::{Key, Port};
use proofyard_core::state::KeyFamily;
use proofyard_core::transaction::{Item, read, read_many, read_range, transact};
use proofyard_core::yard::Yard;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::jobs::{JobError, Jobs, Listed, PoolJobs};
use super::submissions::{Found, StartTrouble, Submissions};
use crate::store::port::AwsPort;

/// Ids kept of one job; beyond these, leases run out by themselves.
const MAX_IDS: usize = 64;
/// A judge that runs for so long has started.
const STARTED_AFTER_MS: u64 = 60_000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct JobWorkers {
    job: String,
    ids: Vec<String>,
}

impl JobWorkers {
    /// One of the workers' keys, which are all that a worker's role may write.
    fn key_of(job: &str) -> Key {
        KeyFamily::JobWorkers.key(format_args!("job:{job}"))
    }
}

impl Item for JobWorkers {
    fn key(&self) -> Key {
        Self::key_of(&self.job)
    }
}

/// Before a worker of this job registers under this id.
pub(crate) async fn remember_worker(port: &AwsPort, job: &str, worker: &str) -> Result<(), Error> {
    transact(port, async |tx| {
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
pub(crate) async fn job_ended(yard: &Yard<AwsPort>, job: &str) -> Result<(), Error> {
    let port = &yard.port;
    let Some(known) = read::<_, JobWorkers>(port, &JobWorkers::key_of(job)).await? else {
        return Ok(());
    };
    for worker in &known.ids {
        yard.expire_worker(worker, true).await?;
        info!(job, worker, "its job is over");
    }
    // Before the item that shows it is deleted.
    note_registered(port, job).await?;
    transact(port, async |tx| {
        if tx.check::<JobWorkers>(&JobWorkers::key_of(job)).await?.is_some() {
            tx.delete(JobWorkers::key_of(job));
        }
        Ok(())
    })
    .await
}

/// Notes that a worker of the job registered, where a pool's submissions still list the job.
async fn note_registered(port: &AwsPort, job: &str) -> Result<(), Error> {
    let all = read_range::<_, Submissions>(port, &Submissions::all()).await?;
    for (key, _, _) in all.into_iter().filter(|(_, _, known)| known.knows(job)) {
        transact(port, async |tx| {
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

/// Whether a pool has submitted jobs of which it is not known yet whether they registered or ended.
pub(super) async fn has_unsettled_jobs(port: &AwsPort, pool: &str) -> Result<bool, Error> {
    let known: Option<Submissions> = read(port, &Submissions::key_of(pool)).await?;
    Ok(known.is_some_and(|known| known != Submissions::of(pool)))
}

/// Finds out which of them registered and which ended before they did.
pub(super) async fn settle_jobs(
    port: &AwsPort,
    batch: &Jobs,
    pool: &str,
    jobs: &PoolJobs,
    listed: &Listed,
) -> Result<(), SettleError> {
    let key = Submissions::key_of(pool);
    let Some(known) = read::<_, Submissions>(port, &key).await? else { return Ok(()) };
    let unlisted = batch.ends(jobs, &known.unlisted(listed)).await?;
    // After they were seen to be over, so that whoever registered before is found.
    let unregistered = known.unregistered();
    let keys: Vec<Key> = unregistered.iter().map(|job| JobWorkers::key_of(job)).collect();
    let found = read_many::<_, JobWorkers>(port, &keys).await?;
    let mut registered: BTreeSet<String> = found.into_iter().flatten().map(|found| found.job).collect();
    if pool == JUDGE_POOL {
        // A judge registers nowhere: one that runs for a while has started.
        let since_ms = port.now_ms().saturating_sub(STARTED_AFTER_MS);
        registered.extend(listed.running_since(since_ms).cloned());
    }
    let found = Found { unlisted, registered };
    let new_trouble = transact(port, async |tx| {
        let Some(mut known) = tx.check::<Submissions>(&key).await? else { return Ok(None) };
        let before = known.clone();
        known.settle(listed, &found, port.now_ms());
        if known != before {
            tx.put(&known)?;
        }
        Ok(known.trouble().filter(|trouble| before.trouble() != Some(trouble)).cloned())
    })
    .await?;
    if let Some(StartTrouble { rounds, jobs, reason, .. }) = new_trouble {
        warn!(pool, rounds, jobs, reason, "workers end before they register");
    }
    Ok(())
}

/// Why pools have no workers although they are submitted, by pool.
pub(crate) async fn start_troubles(port: &AwsPort) -> Result<BTreeMap<String, StartTrouble>, Error> {
    let all = read_range::<_, Submissions>(port, &Submissions::all()).await?;
    let troubles =
        all.into_iter().filter_map(|(_, _, known)| Some((known.pool().to_owned(), known.trouble()?.clone())));
    Ok(troubles.collect())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    #[error(transparent)]
    Yard(#[from] Error),
    #[error(transparent)]
    Jobs(#[from] JobError),
}
