//! A yard on AWS, as the command's verbs reach it.

use std::path::Path;
use std::sync::Arc;

use proofyard_aws::AwsHome;
use proofyard_aws::clients::block_on;
use proofyard_aws::objects::artifacts::ObjectArtifacts;
use proofyard_cli::failure::Failure;
use proofyard_cli::yard::{FailedStarts, YardAccess};
use proofyard_core::Yard;
use proofyard_core::error::Code;
use proofyard_core::operation::{Answer, Operation};
use tokio::runtime::Runtime;

/// Kept at once of what is fetched from AWS to be looked at.
const MAX_FETCHED_BYTES: u64 = 4 << 30;

pub struct OnAws {
    pub name: String,
    pub home: AwsHome,
    /// Its threads watch the network.
    pub runtime: Runtime,
}

impl OnAws {
    pub fn named(name: Option<&str>) -> Result<Self, Failure> {
        let name = name.ok_or_else(|| {
            Failure::usage_as(
                Code::YardNotNamed,
                "name the yard with --aws; `proofyard` reaches yards on this machine",
            )
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| {
            Failure::work_as(Code::ProcessFault, "no threads can be started").caused_by(&error)
        })?;
        let home = block_on(runtime.handle(), AwsHome::connect(name)).map_err(Failure::usage)?;
        let home = block_on(runtime.handle(), home.with_judge_found()).map_err(Failure::work)?;
        Ok(Self { name: name.to_owned(), home: home.on_a_host_of_its_own(), runtime })
    }
}

impl YardAccess for OnAws {
    type Artifacts = ObjectArtifacts;

    fn block_on<F: Future>(&self, handler: F) -> F::Output {
        block_on(self.runtime.handle(), handler)
    }

    fn look(&self) -> Result<Box<Yard>, Failure> {
        Ok(Box::new(self.home.yard.over(self.home.yard.port.clone())))
    }

    fn artifacts(&self, scratch: &Path) -> Result<Arc<ObjectArtifacts>, Failure> {
        let (bucket, handle) = (self.home.objects.clone(), self.runtime.handle().clone());
        let store = ObjectArtifacts::new(bucket, scratch, MAX_FETCHED_BYTES, handle);
        store.map(Arc::new).map_err(Failure::work)
    }

    fn store(&self, scratch: &Path) -> Result<Arc<ObjectArtifacts>, Failure> {
        self.artifacts(scratch)
    }

    fn carry_out(&self, operation: &Operation) -> Result<Answer, Failure> {
        let answer = self.block_on(self.home.yard.operate(operation))?;
        // What follows is for whoever is there; if the wakes are lost, the sweeper finds it.
        self.block_on(self.home.deliver());
        Ok(answer)
    }

    fn is_running(&self) -> Option<bool> {
        None
    }

    fn failed_starts(&self) -> Result<Vec<FailedStarts>, Failure> {
        let failures = self.block_on(self.home.failed_starts())?;
        let failed = failures.into_iter().map(|(pool, failed)| FailedStarts {
            pool,
            workers: failed.jobs,
            rounds: failed.rounds,
            reason: failed.reason,
            next_ms: failed.next_ms,
        });
        Ok(failed.collect())
    }

    fn name(&self) -> String {
        format!("{} on AWS", self.name)
    }

    fn has_no_chain(&self) -> String {
        let name = &self.name;
        format!("yard {name} on AWS has no chain yet; `proofyard run PIPELINE --aws {name}` gives it one")
    }
}
