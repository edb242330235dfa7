//! AWS as a yard's home: the domain's handlers over its port, and the services they need. There is one in a process; each
//! message is handled through an [`crate::invocation::Invocation`] of it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use proofyard_core::Yard;
use proofyard_core::error::{Cause, Code, Coded, Error, with_causes};
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::pipeline::{Pipeline, SinkTarget};
use proofyard_core::state::{ChainName, PoolTasks, WorkerId};
use tracing::error;

use crate::clients::call_fault::CallFault;
use crate::clients::host::system_random;
use crate::clients::names::{BadYardName, Names};
use crate::clients::sdk::sdk_config;
use crate::clients::secrets::Secret;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::objects::s3::S3Bucket;
use crate::pools::deployed::{NotDeployed, check_deployed};
use crate::pools::job_workers;
use crate::pools::jobs::{Jobs, Pools};
use crate::pools::submissions::FailedStarts;
use crate::pools::supply::Supply;
use crate::queues::{QueueError, Queues};
use crate::store::format::{NewerFormat, newer_format, raise_format};
use crate::store::port::AwsPort;
use crate::store::table::Table;

/// Says whether there is a judge; set by the deployment.
const JUDGE: &str = "PROOFYARD_JUDGE";
/// The sweep interval where no chain has a shorter tick.
const QUIET_TICK_MS: u64 = 15_000;

/// Delivers to sinks other than files, and runs tasks of stages with an action. Separate functions implement it, so that their
/// dependencies and keys are in no other function.
pub trait Notifier: Send + Sync {
    /// Whether it delivers to sinks of this kind.
    fn tells(&self, target: &SinkTarget) -> bool;

    /// The SQS queue that triggers it.
    fn queue(&self, names: &Names) -> String;

    /// Delivers the next entry to one sink; if more may follow, puts a wake into the home's outbox.
    fn tell<'a>(
        &'a self,
        home: &'a AwsHome,
        chain: &'a ChainName,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<(), Error>>;

    /// Whether it does tasks of stages with an action.
    fn acts(&self) -> bool {
        false
    }

    /// Does what is listed for an action's pool, and leaves a wake in the home's outbox where there may be more.
    fn act<'a>(&'a self, home: &'a AwsHome, pool: &'a str) -> LocalBoxFuture<'a, Result<(), Error>> {
        let _ = (home, pool);
        Box::pin(async { Ok(()) })
    }
}

/// A chain that follows a node, with its pipeline in force.
pub type FollowedChain = (ChainName, Arc<Pipeline>);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    BadName(#[from] BadYardName),
    #[error("environment variable PROOFYARD_YARD is not set; it names the yard")]
    NoYard,
    #[error("environment variable PROOFYARD_POOLS cannot be read; the functions that infra/ deploys have it")]
    BadPools(#[source] serde_json::Error),
    #[error("environment variable PROOFYARD_JUDGE is {0:?}; it says true or false")]
    BadJudge(String),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(
        "the account cannot be asked for, which names the bucket; set PROOFYARD_BUCKET to name it yourself"
    )]
    NoAccount(#[source] Cause),
    #[error(transparent)]
    Newer(#[from] NewerFormat),
}

impl Coded for ConnectError {
    fn code(&self) -> Code {
        match self {
            Self::BadName(_) => Code::BadYardName,
            Self::NoYard => Code::YardNotNamed,
            Self::BadPools(_) | Self::BadJudge(_) => Code::BadVariable,
            Self::Queue(error) => error.code(),
            Self::NoAccount(_) => Code::NoAccount,
            Self::Newer(error) => error.code(),
        }
    }
}

pub struct AwsHome {
    pub names: Names,
    pub yard: Yard<AwsPort>,
    pub queues: Queues,
    pub objects: Objects,
    pub(crate) supply: Arc<Supply>,
    pub(crate) metrics: Arc<Metrics>,
    /// In the functions that tell sinks.
    pub(crate) notifier: Option<Arc<dyn Notifier>>,
    config: aws_config::SdkConfig,
}

impl AwsHome {
    /// As the environment of a function or of a job names it.
    pub fn from_environment() -> LocalBoxFuture<'static, Result<Self, ConnectError>> {
        Box::pin(async move {
            let yard = env::var("PROOFYARD_YARD").map_err(|_| ConnectError::NoYard)?;
            Self::connect(&yard).await
        })
    }

    /// Reads the yard's format and, where no variable says it, the AWS account id.
    pub fn connect(yard: &str) -> LocalBoxFuture<'_, Result<Self, ConnectError>> {
        Box::pin(async move {
            let names = Names::of(yard)?;
            let pools = match env::var("PROOFYARD_POOLS") {
                Ok(pools) => serde_json::from_str(&pools).map_err(ConnectError::BadPools)?,
                Err(_) => Pools::new(),
            };
            let config = sdk_config().await;
            let bucket = match env::var("PROOFYARD_BUCKET") {
                Ok(bucket) => bucket,
                Err(_) => names.bucket(&account(&config).await?),
            };
            let judged = judge_in_environment()?.unwrap_or(false);
            let home = Self::new(names, &config, bucket, pools).with_judge(judged);
            // A failure to read the format is ignored here: the next call reports it.
            match home.newer_format().await {
                Ok(Some(newer)) => Err(newer.into()),
                Ok(None) | Err(_) => Ok(home),
            }
        })
    }

    /// A home whose clients are configured by `config`. Another object store is put in here.
    pub fn new(names: Names, config: &aws_config::SdkConfig, bucket: String, pools: Pools) -> Self {
        let table = Table::new(aws_sdk_dynamodb::Client::new(config), names.table());
        let jobs = Jobs::new(aws_sdk_batch::Client::new(config));
        Self {
            // An action's calls are the proposer's, also where a pool of that name is deployed.
            yard: Yard::new(AwsPort::new(table)).taking(PoolTasks::Proofs),
            queues: Queues::new(aws_sdk_sqs::Client::new(config), Arc::new(system_random)),
            objects: Objects::new(S3Bucket::new(config, bucket)),
            supply: Arc::new(Supply::new(names.table(), jobs, pools)),
            metrics: Arc::new(Metrics::of(names.yard())),
            notifier: None,
            config: config.clone(),
            names,
        }
    }

    /// The same home over another port to its table.
    pub(crate) fn over(&self, port: AwsPort) -> Self {
        Self {
            names: self.names.clone(),
            yard: self.yard.over(port),
            queues: self.queues.clone(),
            objects: self.objects.clone(),
            supply: Arc::clone(&self.supply),
            metrics: Arc::clone(&self.metrics),
            notifier: self.notifier.clone(),
            config: self.config.clone(),
        }
    }

    /// The same, for a program on a host whose clock is not the yard's: a worker, or an operator's command.
    pub fn on_a_host_of_its_own(self) -> Self {
        self.over(self.yard.port.clone().on_a_host_of_its_own())
    }

    /// The home as the notifier or proposer function uses it.
    pub fn with_notifier(&self, notifier: Arc<dyn Notifier>) -> Self {
        let home = self.over(self.yard.port.clone());
        let yard = match notifier.acts() {
            true => home.yard.taking(PoolTasks::Calls),
            false => home.yard,
        };
        Self { notifier: Some(notifier), yard, ..home }
    }

    /// What clients of other services are made from.
    pub fn config(&self) -> &aws_config::SdkConfig {
        &self.config
    }

    /// With a judge that verifies what is to be handed on, or without.
    pub fn with_judge(self, is_judged: bool) -> Self {
        Self { yard: self.yard.with_judge(is_judged), ..self }
    }

    /// For programs that advance or explain: where the environment does not say whether there is a judge, looks for the judge's
    /// queue.
    pub fn with_judge_found(self) -> LocalBoxFuture<'static, Result<Self, ConnectError>> {
        Box::pin(async move {
            if judge_in_environment()?.is_some() {
                return Ok(self);
            }
            let is_there = self.queues.exists(&self.names.wake_queue(JUDGE_POOL)).await?;
            Ok(self.with_judge(is_there))
        })
    }

    /// A secret of Secrets Manager, by its name; nothing is asked of AWS yet.
    pub fn secret(&self, id: String) -> Secret {
        Secret::new(&self.config, id)
    }

    /// The yard's format, where it is one that this program does not know.
    pub fn newer_format(&self) -> LocalBoxFuture<'_, Result<Option<NewerFormat>, Error>> {
        Box::pin(newer_format(&self.yard.port, self.names.yard()))
    }

    /// Raises the yard's format to this program's: from now on items may be written in it.
    pub fn raise_format(&self) -> LocalBoxFuture<'_, Result<(), Error>> {
        Box::pin(raise_format(&self.yard.port))
    }

    /// Rejects a pipeline whose pools are not deployed, but for those of `own_workers`, whose workers the operator runs.
    pub fn check_deployed<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        own_workers: &'a BTreeSet<String>,
    ) -> LocalBoxFuture<'a, Result<(), NotDeployed>> {
        Box::pin(check_deployed(&self.names, (&self.supply.jobs, &self.queues), pipeline, own_workers))
    }

    /// Called before a worker of this AWS Batch job registers under this id.
    pub fn remember_worker<'a>(
        &'a self,
        job: &'a str,
        worker: &'a WorkerId,
    ) -> LocalBoxFuture<'a, Result<(), Error>> {
        Box::pin(job_workers::remember_worker(&self.yard.port, job, worker))
    }

    /// Pools whose submitted workers ended before they registered, with the reason.
    pub fn failed_starts(&self) -> LocalBoxFuture<'_, Result<BTreeMap<String, FailedStarts>, Error>> {
        Box::pin(job_workers::failed_starts(&self.yard.port))
    }

    /// The shortest tick of the yard's chains.
    pub async fn shortest_tick_ms(&self) -> Result<u64, Error> {
        Ok(shortest_tick_ms(&self.pipelines_of(self.yard.chains().await?).await?))
    }

    /// The same, of the chains that a pool serves.
    pub async fn tick_of_pool_ms(&self, pool: &str) -> Result<u64, Error> {
        Ok(shortest_tick_ms(&self.pipelines_of(self.yard.chains_of_pool(pool).await?).await?))
    }

    /// The chains that follow a node.
    pub fn followed_chains(&self) -> LocalBoxFuture<'_, Result<Vec<FollowedChain>, Error>> {
        Box::pin(async move {
            let mut followed = Vec::new();
            for chain in self.yard.chains().await? {
                match self.yard.chain(&chain).await {
                    Ok((_, pipeline)) if pipeline.node.is_some() => followed.push((chain, pipeline)),
                    Ok(_) => {}
                    Err(error) if error.passes() => return Err(error),
                    // The other chains' nodes are followed all the same.
                    Err(error) => {
                        error!(%chain, code = %error.code(), error = %with_causes(&error), "this chain cannot be read")
                    }
                }
            }
            Ok(followed)
        })
    }

    /// The pipelines in force of these chains, but for those that cannot be read.
    pub(crate) async fn pipelines_of(&self, chains: Vec<ChainName>) -> Result<Vec<Arc<Pipeline>>, Error> {
        let mut pipelines = Vec::new();
        for chain in chains {
            match self.yard.chain(&chain).await {
                Ok((_, pipeline)) => pipelines.push(pipeline),
                Err(error) if error.passes() => return Err(error),
                // An unreadable chain does not affect the others.
                Err(error) => {
                    error!(%chain, code = %error.code(), error = %with_causes(&error), "this chain cannot be read, and nothing is done for it")
                }
            }
        }
        Ok(pipelines)
    }
}

pub(crate) fn shortest_tick_ms(pipelines: &[Arc<Pipeline>]) -> u64 {
    pipelines.iter().map(|pipeline| pipeline.chain.tick_ms).fold(QUIET_TICK_MS, u64::min)
}

/// What the environment says of a judge; `None` where it says nothing.
fn judge_in_environment() -> Result<Option<bool>, ConnectError> {
    match env::var(JUDGE).as_deref() {
        Ok("true") => Ok(Some(true)),
        Ok("false") => Ok(Some(false)),
        Ok(other) => Err(ConnectError::BadJudge(other.to_owned())),
        Err(_) => Ok(None),
    }
}

async fn account(config: &aws_config::SdkConfig) -> Result<String, ConnectError> {
    let sts = aws_sdk_sts::Client::new(config);
    let answer = sts.get_caller_identity().send().await;
    let answer = answer.map_err(|error| ConnectError::NoAccount(CallFault::of(error).into()))?;
    answer.account.ok_or_else(|| ConnectError::NoAccount("the answer names none".into()))
}
