//! AWS as the home of a worker.
//!
//! One [`JobHost`] per process. A [`JobHome`] wraps it: the worker's own reads the table on every call, and the one of a task (from
//! its claim to its last step) caches its reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proofyard_aws::AwsHome;
use proofyard_aws::clients::block_on;
use proofyard_aws::invocation::Invocation;
use proofyard_aws::metrics::emf::{line, print};
use proofyard_aws::objects::artifacts::ObjectArtifacts;
use proofyard_core::cadence::WORKER_STEPS_MS;
use proofyard_core::error::{Error, with_causes};
use proofyard_core::port::{Port, Wake};
use proofyard_core::state::WorkerId;
use proofyard_core::yard::Yard;
use proofyard_worker::bell::Bell;
use proofyard_worker::{Finished, WorkerHome};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::price::KnownPrice;

const STEPS: Duration = Duration::from_millis(WORKER_STEPS_MS);

pub(crate) struct JobHost {
    pub aws: AwsHome,
    pub artifacts: Arc<ObjectArtifacts>,
    pub runtime: Handle,
    pub bell: Bell,
    /// The job of AWS Batch that this is, if it is one.
    pub job: Option<String>,
    pub pool: String,
    /// The worker takes the steps that follow its results itself.
    pub advances: bool,
    /// How often an idle slot polls its pool without a wake.
    pub idle_look: Duration,
    pub price: KnownPrice,
}

pub(crate) struct JobHome {
    pub host: Arc<JobHost>,
    invocation: Option<Invocation>,
}

impl JobHome {
    pub fn new(host: JobHost) -> Self {
        Self { host: Arc::new(host), invocation: None }
    }

    /// The home on AWS: this invocation's, if it is one.
    pub fn aws(&self) -> &AwsHome {
        self.invocation.as_ref().map_or(&self.host.aws, |invocation| &invocation.home)
    }

    pub fn print_metrics(&self, metrics: &[(&str, &str, Value)]) {
        let dimensions = [("Yard", self.aws().names.yard()), ("Pool", &self.host.pool)];
        print(&line(self.aws().yard.port.now_ms(), &dimensions, metrics));
    }
}

impl WorkerHome for JobHome {
    type Artifacts = ObjectArtifacts;

    fn yard(&self) -> &Yard {
        &self.aws().yard
    }

    fn artifacts(&self) -> &Arc<ObjectArtifacts> {
        &self.host.artifacts
    }

    fn bell(&self) -> &Bell {
        &self.host.bell
    }

    fn idle_look(&self) -> Duration {
        self.host.idle_look
    }

    fn block_on<F: Future>(&self, handler: F) -> F::Output {
        block_on(&self.host.runtime, handler)
    }

    fn invocation<T>(&self, work: impl FnOnce(&Self) -> T) -> T {
        work(&Self { host: Arc::clone(&self.host), invocation: Some(self.host.aws.begin()) })
    }

    fn will_register(&self, worker: &WorkerId) -> Result<(), Error> {
        match &self.host.job {
            Some(job) => self.block_on(self.aws().remember_worker(job, worker)),
            None => Ok(()),
        }
    }

    fn price_microusd_per_hour(&self) -> Option<u64> {
        self.host.price.get()
    }

    fn take_steps(&self, wake: &Wake) {
        self.block_on(self.aws().yard.port.send(std::slice::from_ref(wake)));
        if !self.host.advances {
            return self.block_on(self.aws().deliver());
        }
        let until = Instant::now() + STEPS;
        let taken = match &self.invocation {
            Some(invocation) => self.block_on(invocation.take_steps_until(until)),
            None => self.block_on(self.host.aws.take_steps_until(until)),
        };
        if let Err(error) = taken {
            // The scope stays due: the sweeper retries.
            self.log_error("advance", &error);
        }
        // This worker's other slots may claim what was listed.
        self.host.bell.ring();
    }

    fn log_error(&self, what: &str, error: &dyn std::error::Error) {
        warn!(pool = self.host.pool, what, error = %with_causes(error), "trouble that the worker goes on after");
    }

    fn recorded(&self, finished: Finished<'_>) {
        let (task, sample) = (finished.assignment.task.id(), &finished.sample);
        let overhead_ms = (sample.claiming + sample.working).as_secs_f64() * 1_000.0;
        let (chain, height, attempt) =
            (task.chain(), finished.assignment.task.height(), finished.assignment.attempt);
        info!(%chain, height, scope = task.scope.as_str(), task = %task, attempt, outcome = ?finished.outcome, "recorded");
        self.print_metrics(&[("TaskOverhead", "Milliseconds", json!(overhead_ms))]);
    }
}
