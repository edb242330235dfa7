//! AWS as the home of a worker.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proofyard_aws::artifacts::BucketArtifacts;
use proofyard_aws::home::Home as Aws;
use proofyard_aws::metrics::{line, tell};
use proofyard_aws::port::AwsPort;
use proofyard_core::error::Error;
use proofyard_core::port::{Port, Wake};
use proofyard_core::yard::Yard;
use proofyard_worker::bell::Bell;
use proofyard_worker::{Finished, WorkerHome};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tracing::{info, warn};

/// Steps that one result calls for are taken within this, or left to the collector.
const STEPS: Duration = Duration::from_secs(10);

pub(crate) struct JobHome {
    pub aws: Aws,
    pub artifacts: Arc<BucketArtifacts>,
    pub runtime: Handle,
    pub bell: Bell,
    /// The job of AWS Batch that this is, if it is one.
    pub job: Option<String>,
    pub pool: String,
    /// Takes a result's steps itself.
    pub advances: bool,
    /// How often an idle slot looks at the pool without having been told.
    pub idle_look: Duration,
}

impl JobHome {
    pub fn tell(&self, metrics: &[(&str, &str, Value)]) {
        let dimensions = [("Yard", self.aws.names.yard()), ("Pool", &self.pool)];
        tell(&line(self.aws.yard.port.now_ms(), &dimensions, metrics));
    }
}

impl WorkerHome for JobHome {
    type Port = AwsPort;
    type Artifacts = BucketArtifacts;

    fn yard(&self) -> &Yard<AwsPort> {
        &self.aws.yard
    }

    fn artifacts(&self) -> &Arc<BucketArtifacts> {
        &self.artifacts
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }

    fn idle_look(&self) -> Duration {
        self.idle_look
    }

    /// On this thread, while the runtime's own threads watch the network.
    fn block_on<F: Future>(&self, handler: F) -> F::Output {
        let _inside = self.runtime.enter();
        pollster::block_on(handler)
    }

    fn errand<T>(&self, work: impl FnOnce() -> T) -> T {
        self.aws.blocking_errand(work)
    }

    fn will_register(&self, worker: &str) -> Result<(), Error> {
        match &self.job {
            Some(job) => self.block_on(self.aws.remember_worker(job, worker)),
            None => Ok(()),
        }
    }

    fn step(&self, wake: &Wake) {
        self.block_on(self.aws.yard.port.send(std::slice::from_ref(wake)));
        if !self.advances {
            return self.block_on(self.aws.deliver());
        }
        if let Err(error) = self.block_on(self.aws.settle(Instant::now() + STEPS)) {
            // It stays due: the sweeper tries again.
            self.complain("advance", &error);
        }
        // What was listed may be for this worker's other slots.
        self.bell.ring();
    }

    fn complain(&self, what: &str, error: &dyn Display) {
        warn!(pool = self.pool, what, %error, "trouble that the worker goes on after");
    }

    fn recorded(&self, finished: Finished<'_>) {
        let (task, sample) = (&finished.assignment.task.id, &finished.sample);
        let overhead_ms = (sample.claiming + sample.working).as_secs_f64() * 1_000.0;
        let (chain, height, attempt) =
            (task.chain(), finished.assignment.task.height, finished.assignment.attempt);
        info!(chain, height, scope = task.scope, task = %task, attempt, outcome = ?finished.outcome, "recorded");
        self.tell(&[("TaskOverhead", "Milliseconds", json!(overhead_ms))]);
    }
}
