//! Submits workers to AWS Batch where listed tasks wait for workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::cadence::{COUNT_WORKERS_EVERY_MS, MAX_WAITING_TASKS};
use proofyard_core::error::{Error, with_causes};
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::port::Port;
use proofyard_core::transaction::transact;
use proofyard_core::yard::Yard;
use tracing::{error, info};

use super::job_workers::{failed_starts, has_starting_jobs, update_jobs};
use super::jobs::{JobError, Jobs, More, PoolJobs, Pools};
use super::submissions::{Look, Submissions};
use crate::store::port::AwsPort;

/// For how long a list of jobs is used; much shorter than submitted jobs are remembered.
const LISTED_FOR: Duration = Duration::from_secs(30);

/// The pools whose workers this process may submit.
pub struct Supply {
    /// Jobs' names begin with it.
    name: String,
    pub(crate) jobs: Jobs,
    pools: Pools,
    /// When each pool's workers were last counted, after tasks were listed and by the sweeper.
    counted_ms: Mutex<HashMap<(String, bool), u64>>,
}

/// How one pool's workers stand, for metrics.
pub(crate) struct PoolGauges {
    pub running: u32,
    pub coming: u32,
    /// How long the job that waits longest for a machine has waited.
    pub runnable_ms: u64,
    /// How many times in a row submitted workers ended before they registered.
    pub failed_starts: u32,
}

impl Supply {
    pub fn new(name: String, jobs: Jobs, pools: Pools) -> Self {
        Self { name, jobs, pools, counted_ms: Mutex::default() }
    }

    /// Whether this process may submit workers of the pool.
    pub(crate) fn submits(&self, pool: &str) -> bool {
        self.pools.contains_key(pool)
    }

    /// Called by the sweeper: also where workers run, since tasks that still wait have waited for a tick.
    pub(crate) async fn ensure_all_workers(&self, yard: &Yard<AwsPort>) {
        for pool in self.pools.keys() {
            self.ensure_workers(yard, pool, true).await;
        }
    }

    /// Submits what a pool lacks; what fails is logged, and the next tick tries again.
    pub(crate) async fn ensure_workers(&self, yard: &Yard<AwsPort>, pool: &str, on_tick: bool) {
        let Some(jobs) = self.pools.get(pool) else { return };
        if !self.is_time_to_count(pool, on_tick, yard.port.now_ms()) {
            return;
        }
        match self.submit_workers(yard, pool, jobs, on_tick).await {
            Ok(more) if more == More::default() => {}
            Ok(more) => info!(pool, workers = more.burst, that_stay = more.warm, "workers submitted"),
            Err(error) => {
                error!(pool, error = %with_causes(error.as_ref()), "no worker can be submitted; the next tick tries again")
            }
        }
    }

    fn is_time_to_count(&self, pool: &str, on_tick: bool, now_ms: u64) -> bool {
        let mut counted = self.counted_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let last_ms = counted.entry((pool.to_owned(), on_tick)).or_default();
        let is_time = last_ms.saturating_add(COUNT_WORKERS_EVERY_MS) <= now_ms;
        if is_time {
            *last_ms = now_ms;
        }
        is_time
    }

    async fn submit_workers(
        &self,
        yard: &Yard<AwsPort>,
        pool: &str,
        jobs: &PoolJobs,
        on_tick: bool,
    ) -> Result<More, Box<dyn std::error::Error>> {
        let Some(wanted) = wanted(yard, pool, on_tick).await? else { return Ok(More::default()) };
        let unsettled = on_tick && has_starting_jobs(&yard.port, pool).await?;
        if wanted == 0 && jobs.warm_workers == 0 && !unsettled {
            return Ok(More::default());
        }
        let (looked, listed) = (Instant::now(), self.jobs.listed(jobs).await?);
        if unsettled {
            update_jobs(&yard.port, &self.jobs, pool, jobs, &listed).await?;
        }
        let id = yard.port.random();
        let more = transact(&yard.port, async |tx| {
            let known = tx.check(&Submissions::key_of(pool)).await?;
            let mut known: Submissions = known.unwrap_or_else(|| Submissions::of(pool));
            let look = Look { listed: &listed, wanted, on_tick, now_ms: yard.port.now_ms() };
            // An old list does not show what other processes have submitted since.
            let more =
                if looked.elapsed() < LISTED_FOR { known.reserve(id, jobs, &look) } else { More::default() };
            if more != More::default() {
                tx.put(&known)?;
            }
            Ok(more)
        })
        .await?;
        if more == More::default() {
            return Ok(more);
        }
        let (submitted, ended) = self.jobs.submit(jobs, &format!("{}-{pool}", self.name), more).await;
        let kept = transact(&yard.port, async |tx| {
            let known: Option<Submissions> = tx.check(&Submissions::key_of(pool)).await?;
            let mut known = known.unwrap_or_else(|| Submissions::of(pool));
            known.submitted(id, &submitted, yard.port.now_ms());
            tx.put(&known)
        });
        kept.await?;
        ended?;
        Ok(more)
    }

    /// How each pool's workers stand; an error where AWS Batch cannot be asked. Nothing is asked where there are no pools.
    pub(crate) async fn gauges(
        &self,
        yard: &Yard<AwsPort>,
    ) -> Result<Vec<(&str, Result<PoolGauges, JobError>)>, Error> {
        let failed = if self.pools.is_empty() { BTreeMap::new() } else { failed_starts(&yard.port).await? };
        let mut gauges = Vec::new();
        for (pool, jobs) in &self.pools {
            let failed_starts = failed.get(pool).map_or(0, |failed| failed.rounds);
            let of_pool = self.jobs.listed(jobs).await.map(|listed| {
                let (alive, now_ms) = (listed.alive(), yard.port.now_ms());
                PoolGauges {
                    running: alive.running,
                    coming: alive.coming,
                    runnable_ms: alive
                        .runnable_since_ms
                        .map_or(0, |since_ms| now_ms.saturating_sub(since_ms)),
                    failed_starts,
                }
            });
            gauges.push((pool.as_str(), of_pool));
        }
        Ok(gauges)
    }
}

/// How many workers the waiting tasks would keep busy; `None` for a pool that no pipeline has, whose workers would have
/// nothing to do.
async fn wanted(yard: &Yard<AwsPort>, pool: &str, on_tick: bool) -> Result<Option<u32>, Error> {
    if pool == JUDGE_POOL {
        // A wake asks for one judge. Wakes are repeated while a judgement is missing, and a running judge handles them all.
        return Ok(Some(u32::from(!on_tick)));
    }
    let Some(declared) = yard.pool(pool).await? else { return Ok(None) };
    let waiting = yard.waiting_tasks(pool, MAX_WAITING_TASKS).await?;
    Ok(Some(u32::try_from(waiting).unwrap_or(u32::MAX).div_ceil(declared.slots.max(1))))
}
