//! AWS Batch: workers are jobs. How many a pool may have, and that there are some when work waits.
//!
//! A job names no task: it claims what comes first when it runs. So submitting one too many costs a start, and one too
//! few a tick; nothing is lost either way.

use futures_util::future::{BoxFuture, try_join_all};
use std::collections::BTreeMap;

use aws_sdk_batch::Client;
use aws_sdk_batch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_batch::types::{JobStatus, JobSummary};
use serde::Deserialize;

use crate::trouble::{Trouble, trouble_of};

/// Jobs submitted in one go; the next tick brings more.
const MAX_SUBMITS: u32 = 16;
/// States of a job that is not over, those before it runs first.
const COMING: [JobStatus; 4] =
    [JobStatus::Submitted, JobStatus::Pending, JobStatus::Runnable, JobStatus::Starting];

/// The jobs' share identifiers: a queue with a scheduling policy refuses a job without one, and one without a policy
/// ignores it. The same as in `infra/spec`.
const WARM: &str = "warm";
const BURST: &str = "burst";

/// How a pool's workers are started; from `infra/spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PoolJobs {
    pub job_queue: String,
    pub job_definition: String,
    /// Of workers that stay, also where there is no work.
    #[serde(default)]
    pub warm_job_definition: String,
    pub max_workers: u32,
    /// So many of them stay.
    #[serde(default)]
    pub warm_workers: u32,
    /// Each worker ends after so many tasks; 0: it stays while there is work.
    #[serde(default)]
    pub max_tasks: u64,
}

/// By pool.
pub type Pools = BTreeMap<String, PoolJobs>;

#[derive(Debug, thiserror::Error)]
#[error("AWS Batch, job queue {job_queue}: {reason}")]
pub struct JobError {
    job_queue: String,
    reason: String,
}

/// Jobs of one pool that are not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alive {
    /// Submitted, and not running yet.
    pub coming: u32,
    pub running: u32,
    /// Of both, those that stay.
    pub warm: u32,
    /// When the job that waits for a machine longest was submitted.
    pub runnable_since_ms: Option<u64>,
}

/// Workers to submit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// Those that stay.
    pub warm: u32,
    pub burst: u32,
}

/// How many more workers to submit where so many slots' worth of tasks wait. Those that run are believed to take what
/// waits, unless it still waits `at_leisure`: then a tick has passed.
pub fn more_workers(pool: &PoolJobs, alive: Alive, wanted: u32, at_leisure: bool) -> More {
    let room = pool.max_workers.saturating_sub(alive.running + alive.coming).min(MAX_SUBMITS);
    let warm = pool.warm_workers.saturating_sub(alive.warm).min(room);
    let one_task_each = pool.max_tasks > 0;
    if alive.running > 0 && !one_task_each && !at_leisure {
        return More { warm, burst: 0 };
    }
    More { warm, burst: wanted.saturating_sub(alive.coming + warm).min(room - warm) }
}

#[derive(Clone)]
pub struct Jobs {
    client: Client,
}

impl Jobs {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// No further than one page of each state, which is more workers than any pool has.
    pub fn alive<'a>(&'a self, pool: &'a PoolJobs) -> BoxFuture<'a, Result<Alive, JobError>> {
        Box::pin(async move {
            let states = COMING.into_iter().chain([JobStatus::Running]);
            // Side by side: a tick has little time.
            let listed = try_join_all(states.map(async |status| {
                let list = self.client.list_jobs().job_queue(&pool.job_queue).job_status(status.clone());
                let listed = list.send().await.map_err(|error| failed(&pool.job_queue, &error))?;
                Ok::<_, JobError>((status, listed.job_summary_list.unwrap_or_default()))
            }));
            let mut alive = Alive::default();
            for (status, jobs) in listed.await? {
                alive.count(&status, &jobs);
            }
            Ok(alive)
        })
    }

    /// Submits workers under names that begin with `name`.
    pub fn submit<'a>(
        &'a self,
        pool: &'a PoolJobs,
        name: &'a str,
        more: More,
    ) -> BoxFuture<'a, Result<(), JobError>> {
        Box::pin(async move {
            let warm = (0..more.warm).map(|_| (WARM, &pool.warm_job_definition));
            let burst = (0..more.burst).map(|_| (BURST, &pool.job_definition));
            for (share, definition) in warm.chain(burst) {
                let submit = self.client.submit_job().job_queue(&pool.job_queue).job_definition(definition);
                let submit = submit.job_name(format!("{name}-{share}")).share_identifier(share);
                submit.send().await.map_err(|error| failed(&pool.job_queue, &error))?;
            }
            Ok(())
        })
    }
}

impl Alive {
    fn count(&mut self, status: &JobStatus, jobs: &[JobSummary]) {
        let count = |jobs: usize| u32::try_from(jobs).unwrap_or(u32::MAX);
        match status {
            JobStatus::Running => self.running += count(jobs.len()),
            _ => self.coming += count(jobs.len()),
        }
        let stays =
            |job: &&JobSummary| job.job_name().is_some_and(|name| name.ends_with(&format!("-{WARM}")));
        self.warm += count(jobs.iter().filter(stays).count());
        if *status == JobStatus::Runnable {
            let created = jobs.iter().filter_map(|job| u64::try_from(job.created_at?).ok());
            self.runnable_since_ms = created.min();
        }
    }
}

fn failed<E, R>(job_queue: &str, error: &SdkError<E, R>) -> JobError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let (Trouble::Passing(reason) | Trouble::Unknown(reason) | Trouble::Lasting(reason)) = trouble_of(error);
    JobError { job_queue: job_queue.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(max_tasks: u64, warm_workers: u32) -> PoolJobs {
        PoolJobs {
            job_queue: "q".into(),
            job_definition: "d".into(),
            warm_job_definition: "d-warm".into(),
            max_workers: 4,
            warm_workers,
            max_tasks,
        }
    }

    fn alive(coming: u32, running: u32) -> Alive {
        Alive { coming, running, ..Alive::default() }
    }

    #[test]
    fn workers_come_when_none_is_there_and_more_when_work_still_waits() {
        let burst = |pool: &PoolJobs, alive, wanted, at_leisure| {
            let more = more_workers(pool, alive, wanted, at_leisure);
            assert_eq!(more.warm, 0);
            more.burst
        };
        let stay = pool(0, 0);
        assert_eq!(burst(&stay, alive(0, 0), 2, false), 2);
        assert_eq!(burst(&stay, alive(0, 0), 9, false), 4);
        assert_eq!(burst(&stay, alive(2, 0), 2, false), 0);
        assert_eq!(burst(&stay, alive(0, 1), 2, false), 0);
        assert_eq!(burst(&stay, alive(0, 1), 2, true), 2);
        assert_eq!(burst(&stay, alive(1, 2), 9, true), 1);
        assert_eq!(burst(&stay, alive(0, 1), 0, true), 0);
        let one_each = pool(1, 0);
        assert_eq!(burst(&one_each, alive(0, 2), 3, false), 2);
        assert_eq!(burst(&one_each, alive(2, 2), 3, false), 0);
    }

    #[test]
    fn so_many_workers_stay_as_the_pool_keeps_warm() {
        let warm = pool(0, 2);
        assert_eq!(more_workers(&warm, alive(0, 0), 0, true), More { warm: 2, burst: 0 });
        assert_eq!(more_workers(&warm, alive(0, 0), 3, true), More { warm: 2, burst: 1 });
        let there = Alive { warm: 2, ..alive(1, 1) };
        assert_eq!(more_workers(&warm, there, 0, true), More::default());
        // Those that come and go do not count for those that stay, but they fill the pool.
        assert_eq!(more_workers(&warm, alive(0, 3), 0, true), More { warm: 1, burst: 0 });
        assert_eq!(more_workers(&warm, alive(0, 4), 9, true), More::default());
    }

    #[test]
    fn jobs_are_counted_by_what_they_are() {
        let job = |name: &str, created_ms| {
            JobSummary::builder().job_id("i").job_name(name).created_at(created_ms).build()
        };
        let mut alive = Alive::default();
        alive.count(&JobStatus::Runnable, &[job("y-cpu-burst", 9), job("y-cpu-warm", 7)]);
        alive.count(&JobStatus::Running, &[job("y-cpu-warm", 1)]);
        assert_eq!(alive, Alive { coming: 2, running: 1, warm: 2, runnable_since_ms: Some(7) });
    }
}
