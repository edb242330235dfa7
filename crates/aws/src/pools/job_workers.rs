//! Which workers each AWS Batch job has registered, so that they are expired at once when Batch reports the job's end.
//!
//! Batch's report is a hint like any other: a worker that runs although its job was reported to have ended registers again
//! under a new id, and its proofs are accepted. If a job's end is never reported, or before its last worker has registered,
//! nothing reads or deletes its item any more: these items alone expire (`store::expiry`). A dead worker's own items are
//! deleted when it is expired.

use std::collections::{BTreeMap, BTreeSet};

use proofyard_core::error::Error;
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::port::{Key, Port};
use proofyard_core::state::{KeyFamily, WorkerId};
use proofyard_core::transaction::{Item, read, read_many, read_range, transact};
use proofyard_core::yard::Yard;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::jobs::{JobError, Jobs, Listed, PoolJobs};
use super::submissions::{FailedStarts, Found, Submissions};
use crate::store::port::AwsPort;

/// How many worker ids are kept of one job; further workers are expired by their leases alone.
const MAX_IDS: usize = 64;
/// A judge registers nowhere: one that has run for so long counts as started.
const STARTED_AFTER_MS: u64 = 60_000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct JobWorkers {
    job: String,
    ids: Vec<WorkerId>,
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

/// Called before a worker of this job registers under this id.
pub(crate) async fn remember_worker(port: &AwsPort, job: &str, worker: &WorkerId) -> Result<(), Error> {
    transact(port, async |tx| {
        let known: Option<JobWorkers> = tx.check(&JobWorkers::key_of(job)).await?;
        let mut known = known.unwrap_or_else(|| JobWorkers { job: job.to_owned(), ids: Vec::new() });
        if known.ids.len() < MAX_IDS && !known.ids.iter().any(|id| id == worker) {
            known.ids.push(worker.clone());
        }
        tx.put(&known)
    })
    .await
}

/// Expires the workers of a job that Batch reports to have ended.
pub(crate) async fn job_ended(yard: &Yard<AwsPort>, job: &str) -> Result<(), Error> {
    let port = &yard.port;
    let Some(known) = read::<JobWorkers>(port, &JobWorkers::key_of(job)).await? else {
        return Ok(());
    };
    for worker in &known.ids {
        yard.expire_worker(worker, true).await?;
        info!(job, worker = worker.as_str(), "its job is over");
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
    let all = read_range::<Submissions>(port, &Submissions::all()).await?;
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

/// Whether a pool has submitted jobs that may be starting: neither a registration nor an end is known of them.
pub(super) async fn has_starting_jobs(port: &AwsPort, pool: &str) -> Result<bool, Error> {
    let known: Option<Submissions> = read(port, &Submissions::key_of(pool)).await?;
    Ok(known.is_some_and(|known| known != Submissions::of(pool)))
}

/// Finds out which submitted jobs have registered a worker, and which have ended before.
pub(super) async fn update_jobs(
    port: &AwsPort,
    batch: &Jobs,
    pool: &str,
    jobs: &PoolJobs,
    listed: &Listed,
) -> Result<(), UpdateError> {
    let key = Submissions::key_of(pool);
    let Some(known) = read::<Submissions>(port, &key).await? else { return Ok(()) };
    let unlisted = batch.ends(jobs, &known.unlisted(listed)).await?;
    // Read after the jobs' ends, so that a worker that registered before its job ended is found.
    let unregistered = known.unregistered();
    let keys: Vec<Key> = unregistered.iter().map(|job| JobWorkers::key_of(job)).collect();
    let found = read_many::<JobWorkers>(port, &keys).await?;
    let mut registered: BTreeSet<String> = found.into_iter().flatten().map(|found| found.job).collect();
    if pool == JUDGE_POOL {
        // Judges register nowhere.
        let since_ms = port.now_ms().saturating_sub(STARTED_AFTER_MS);
        registered.extend(listed.running_since(since_ms).cloned());
    }
    let found = Found { unlisted, registered };
    let new_failures = transact(port, async |tx| {
        let Some(mut known) = tx.check::<Submissions>(&key).await? else { return Ok(None) };
        let before = known.clone();
        known.update(listed, &found, port.now_ms());
        if known != before {
            tx.put(&known)?;
        }
        Ok(known.failed_starts().filter(|failed| before.failed_starts() != Some(failed)).cloned())
    })
    .await?;
    if let Some(FailedStarts { rounds, jobs, reason, .. }) = new_failures {
        warn!(pool, rounds, jobs, reason, "workers end before they register");
    }
    Ok(())
}

/// Why pools have no workers although they are submitted, by pool.
pub(crate) async fn failed_starts(port: &AwsPort) -> Result<BTreeMap<String, FailedStarts>, Error> {
    let all = read_range::<Submissions>(port, &Submissions::all()).await?;
    let failed = all
        .into_iter()
        .filter_map(|(_, _, known)| Some((known.pool().to_owned(), known.failed_starts()?.clone())));
    Ok(failed.collect())
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    #[error(transparent)]
    Yard(#[from] Error),
    #[error(transparent)]
    Jobs(#[from] JobError),
}
