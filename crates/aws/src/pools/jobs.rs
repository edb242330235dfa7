//! AWS Batch: each worker is a job. How many a pool may have, and how many more are needed when tasks wait.
//!
//! A job names no task: it claims the task of lowest rank when it runs. So one job too few costs a tick, and nothing is
//! lost. [`super::submissions`] makes sure that all submitters together submit none too many.

use futures_util::future::{BoxFuture, try_join_all};
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_batch::Client;
use aws_sdk_batch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_batch::types::{JobDetail, JobStatus, JobSummary, ResourceType};
use proofyard_core::error::{Code, Coded};
use serde::Deserialize;

use crate::clients::call_fault::CallFault;

/// How many jobs are submitted at once; the next tick submits more.
const MAX_SUBMITS: u32 = 16;
/// How many jobs AWS Batch describes in one call.
const MAX_DESCRIBED: usize = 100;
/// How many pages of one state's jobs are read, of a hundred each: more than any pool has.
const MAX_PAGES: usize = 20;
/// The states of a job before it runs.
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
    /// The job definition of workers that stay, also without work.
    #[serde(default)]
    pub warm_job_definition: String,
    pub max_workers: u32,
    /// How many workers stay.
    #[serde(default)]
    pub warm_workers: u32,
    /// How many tasks a worker takes before it ends; 0: it stays while there is work.
    #[serde(default)]
    pub max_tasks: u64,
}

/// How workers are started, by pool.
pub type Pools = BTreeMap<String, PoolJobs>;

#[derive(Debug, thiserror::Error)]
#[error("AWS Batch, job queue {job_queue}")]
pub struct JobError {
    job_queue: String,
    source: CallFault,
}

impl Coded for JobError {
    fn code(&self) -> Code {
        Code::BatchFault
    }
}

/// What a worker of a pool has, as it is deployed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub gpus: u32,
}

/// Jobs of one pool that are not over, as AWS Batch lists them, which may be some seconds old.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    ids: BTreeSet<String>,
    alive: Alive,
    /// Since when each running job has been running.
    started_ms: BTreeMap<String, u64>,
}

/// Jobs of one pool that are not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alive {
    /// Submitted, and not running yet.
    pub coming: u32,
    pub running: u32,
    /// How many of both stay.
    pub warm: u32,
    /// When the job was submitted that has waited longest for a machine.
    pub runnable_since_ms: Option<u64>,
}

/// Workers to submit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// Workers that stay.
    pub warm: u32,
    pub burst: u32,
}

/// How many more workers to submit, where waiting tasks would keep `wanted` of them busy. Running workers are expected to
/// take the waiting tasks, unless this is called `on_tick`: then the tasks have waited for a tick.
pub fn more_workers(pool: &PoolJobs, alive: Alive, wanted: u32, on_tick: bool) -> More {
    let room = pool.max_workers.saturating_sub(alive.running + alive.coming).min(MAX_SUBMITS);
    let warm = pool.warm_workers.saturating_sub(alive.warm).min(room);
    let one_task_each = pool.max_tasks > 0;
    if alive.running > 0 && !one_task_each && !on_tick {
        return More { warm, burst: 0 };
    }
    More { warm, burst: wanted.saturating_sub(alive.coming + warm).min(room - warm) }
}

/// Jobs' ids, each with whether it stays.
pub(crate) type SubmittedJobs = Vec<(String, bool)>;

#[derive(Clone)]
pub struct Jobs {
    client: Client,
}

impl Jobs {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) fn listed<'a>(&'a self, pool: &'a PoolJobs) -> BoxFuture<'a, Result<Listed, JobError>> {
        Box::pin(async move {
            let states = COMING.into_iter().chain([JobStatus::Running]);
            // In parallel: a tick has little time.
            let of_states = try_join_all(states.map(async |status| {
                let jobs = self.in_state(&pool.job_queue, &status).await?;
                Ok::<_, JobError>((status, jobs))
            }));
            let mut listed = Listed::default();
            for (status, jobs) in of_states.await? {
                listed.count(&status, jobs);
            }
            Ok(listed)
        })
    }

    async fn in_state(&self, job_queue: &str, status: &JobStatus) -> Result<Vec<JobSummary>, JobError> {
        let (mut jobs, mut from) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let list = self.client.list_jobs().job_queue(job_queue).job_status(status.clone());
            let page = list.set_next_token(from).send().await.map_err(|error| failed(job_queue, error))?;
            jobs.extend(page.job_summary_list.unwrap_or_default());
            from = page.next_token;
            if from.is_none() {
                break;
            }
        }
        Ok(jobs)
    }

    /// How these jobs ended; `None` of one that is not over. What AWS Batch does not know is left out.
    pub(crate) fn ends<'a>(
        &'a self,
        pool: &'a PoolJobs,
        jobs: &'a [&'a str],
    ) -> BoxFuture<'a, Result<BTreeMap<String, Option<String>>, JobError>> {
        Box::pin(async move {
            let mut ends = BTreeMap::new();
            for some in jobs.chunks(MAX_DESCRIBED) {
                let ids = some.iter().map(|job| (*job).to_owned()).collect();
                let described = self.client.describe_jobs().set_jobs(Some(ids)).send().await;
                let described = described.map_err(|error| failed(&pool.job_queue, error))?;
                let described = described.jobs.unwrap_or_default().into_iter();
                ends.extend(described.filter_map(|job| Some((job.job_id()?.to_owned(), how_it_ended(&job)))));
            }
            Ok(ends)
        })
    }

    /// What workers of a pool have that is deployed; `None` where it is not.
    pub(crate) fn deployed<'a>(
        &'a self,
        job_definition: &'a str,
    ) -> BoxFuture<'a, Result<Option<Shape>, JobError>> {
        Box::pin(async move {
            let describe = self.client.describe_job_definitions().job_definition_name(job_definition);
            let described = describe.status("ACTIVE").send().await;
            let described = described.map_err(|error| failed(job_definition, error))?;
            let all = described.job_definitions.unwrap_or_default();
            let newest = all.into_iter().max_by_key(|definition| definition.revision());
            Ok(newest.map(|newest| {
                let needs = newest.container_properties.and_then(|container| container.resource_requirements);
                let gpus = needs
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|need| need.r#type == Some(ResourceType::Gpu));
                Shape { gpus: gpus.filter_map(|need| need.value?.parse::<u32>().ok()).sum() }
            }))
        })
    }

    /// Submits workers under names that begin with `name`; answers their ids, each with whether it stays, and what went
    /// wrong, if something did.
    pub(crate) fn submit<'a>(
        &'a self,
        pool: &'a PoolJobs,
        name: &'a str,
        more: More,
    ) -> BoxFuture<'a, (SubmittedJobs, Result<(), JobError>)> {
        Box::pin(async move {
            let warm = (0..more.warm).map(|_| (WARM, &pool.warm_job_definition));
            let burst = (0..more.burst).map(|_| (BURST, &pool.job_definition));
            let mut submitted = Vec::new();
            for (share, definition) in warm.chain(burst) {
                let submit = self.client.submit_job().job_queue(&pool.job_queue).job_definition(definition);
                let submit = submit.job_name(format!("{name}-{share}")).share_identifier(share);
                match submit.send().await {
                    Ok(job) => submitted.extend(job.job_id.map(|id| (id, share == WARM))),
                    Err(error) => return (submitted, Err(failed(&pool.job_queue, error))),
                }
            }
            (submitted, Ok(()))
        })
    }
}

impl Listed {
    pub fn has(&self, job: &str) -> bool {
        self.ids.contains(job)
    }

    pub fn alive(&self) -> Alive {
        self.alive
    }

    /// Those that run since before then.
    pub fn running_since(&self, at_ms: u64) -> impl Iterator<Item = &String> {
        self.started_ms.iter().filter(move |(_, started_ms)| **started_ms <= at_ms).map(|(job, _)| job)
    }

    fn count(&mut self, status: &JobStatus, jobs: Vec<JobSummary>) {
        // A job that changes its state between two calls is listed twice.
        let new = |job: &JobSummary| job.job_id().is_some_and(|id| !self.ids.contains(id));
        let jobs: Vec<JobSummary> = jobs.into_iter().filter(new).collect();
        self.alive.count(status, &jobs);
        let running = jobs.iter().filter(|_| *status == JobStatus::Running);
        self.started_ms.extend(
            running.filter_map(|job| Some((job.job_id.clone()?, u64::try_from(job.started_at?).ok()?))),
        );
        self.ids.extend(jobs.into_iter().filter_map(|job| job.job_id));
    }

    #[cfg(test)]
    pub fn running(jobs: &[&str]) -> Self {
        let job = |id: &&str| JobSummary::builder().job_id(*id).job_name("y-cpu-burst").build();
        let mut listed = Self::default();
        listed.count(&JobStatus::Running, jobs.iter().map(job).collect());
        listed
    }
}

/// How a job ended, in AWS Batch's words; `None` for one that is not over.
fn how_it_ended(job: &JobDetail) -> Option<String> {
    let status = job.status().filter(|status| [JobStatus::Failed, JobStatus::Succeeded].contains(status))?;
    let last = job.attempts().last().and_then(|attempt| attempt.container());
    let exit_code = last.and_then(|container| container.exit_code()).map(|code| format!("exit code {code}"));
    let reason = last.and_then(|container| container.reason()).map(str::to_owned);
    let said = job.status_reason().map(str::to_owned);
    let said: Vec<String> = [said, reason, exit_code].into_iter().flatten().collect();
    Some(if said.is_empty() { status.as_str().to_owned() } else { said.join("; ") })
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

fn failed<E, R>(job_queue: &str, error: SdkError<E, R>) -> JobError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    JobError { job_queue: job_queue.to_owned(), source: CallFault::of(error) }
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
        let burst = |pool: &PoolJobs, alive, wanted, on_tick| {
            let more = more_workers(pool, alive, wanted, on_tick);
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
