//! AWS Batch: workers are jobs. How many a pool may have, and that there are some when work waits.
//!
//! A job names no task: it claims what comes first when it runs. So submitting one too many costs a start, and one too
//! few a tick; nothing is lost either way.

use futures_util::future::BoxFuture;
use std::collections::BTreeMap;

use aws_sdk_batch::Client;
use aws_sdk_batch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_batch::types::JobStatus;
use serde::Deserialize;

use crate::trouble::{Trouble, trouble_of};

/// Jobs submitted in one go; the next tick brings more.
const MAX_SUBMITS: u32 = 16;
/// States of a job that is not over, those before it runs first.
const COMING: [JobStatus; 4] =
    [JobStatus::Submitted, JobStatus::Pending, JobStatus::Runnable, JobStatus::Starting];

/// How a pool's workers are started; from `infra/spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PoolJobs {
    pub job_queue: String,
    pub job_definition: String,
    pub max_workers: u32,
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
}

/// How many more workers to submit where so many slots' worth of tasks wait. Those that run are believed to take what
/// waits, unless it still waits `at_leisure`: then a tick has passed.
pub fn more_workers(pool: &PoolJobs, alive: Alive, wanted: u32, at_leisure: bool) -> u32 {
    let one_task_each = pool.max_tasks > 0;
    if alive.running > 0 && !one_task_each && !at_leisure {
        return 0;
    }
    let room = pool.max_workers.saturating_sub(alive.running + alive.coming);
    wanted.saturating_sub(alive.coming).min(room).min(MAX_SUBMITS)
}

#[derive(Clone)]
pub struct Jobs {
    client: Client,
}

impl Jobs {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    pub fn alive<'a>(&'a self, pool: &'a PoolJobs) -> BoxFuture<'a, Result<Alive, JobError>> {
        Box::pin(async move {
            let mut alive = Alive::default();
            for status in COMING {
                alive.coming += self.count(pool, status).await?;
            }
            alive.running = self.count(pool, JobStatus::Running).await?;
            Ok(alive)
        })
    }

    /// No further than one page, which is more workers than any pool has.
    async fn count(&self, pool: &PoolJobs, status: JobStatus) -> Result<u32, JobError> {
        let listed = self.client.list_jobs().job_queue(&pool.job_queue).job_status(status).send().await;
        let listed = listed.map_err(|error| failed(&pool.job_queue, &error))?;
        Ok(u32::try_from(listed.job_summary_list.unwrap_or_default().len()).unwrap_or(u32::MAX))
    }

    pub fn submit<'a>(&'a self, pool: &'a PoolJobs, name: &'a str) -> BoxFuture<'a, Result<(), JobError>> {
        Box::pin(async move {
            self.client
                .submit_job()
                .job_queue(&pool.job_queue)
                .job_definition(&pool.job_definition)
                .job_name(name)
                .send()
                .await
                .map(|_| ())
                .map_err(|error| failed(&pool.job_queue, &error))
        })
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

    fn pool(max_tasks: u64) -> PoolJobs {
        PoolJobs { job_queue: "q".into(), job_definition: "d".into(), max_workers: 4, max_tasks }
    }

    #[test]
    fn workers_come_when_none_is_there_and_more_when_work_still_waits() {
        let alive = |coming, running| Alive { coming, running };
        let stay = pool(0);
        assert_eq!(more_workers(&stay, alive(0, 0), 2, false), 2);
        assert_eq!(more_workers(&stay, alive(0, 0), 9, false), 4);
        assert_eq!(more_workers(&stay, alive(2, 0), 2, false), 0);
        assert_eq!(more_workers(&stay, alive(0, 1), 2, false), 0);
        assert_eq!(more_workers(&stay, alive(0, 1), 2, true), 2);
        assert_eq!(more_workers(&stay, alive(1, 2), 9, true), 1);
        assert_eq!(more_workers(&stay, alive(0, 1), 0, true), 0);
        let one_each = pool(1);
        assert_eq!(more_workers(&one_each, alive(0, 2), 3, false), 2);
        assert_eq!(more_workers(&one_each, alive(2, 2), 3, false), 0);
    }
}
