//! A yard on AWS: the domain's handlers over its port, and the services they need.

use futures_util::future::LocalBoxFuture;
use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::Yard;
use proofyard_core::error::Error;
use proofyard_core::judge::JUDGE_POOL;
use proofyard_core::port::{Port, Wake};
use proofyard_core::transaction::transact;
use tracing::{error, info, warn};

use crate::bucket::Bucket;
use crate::errand::Errand;
use crate::format::NewerFormat;
use crate::jobs::{Jobs, More, PoolJobs, Pools};
use crate::message::Message;
use crate::names::{BadYardName, Names};
use crate::outbox::Outbox;
use crate::port::AwsPort;
use crate::queues::{Outgoing, QueueError, Queues};
use crate::sdk::sdk_config;
use crate::secrets::Secret;
use crate::submissions::{Look, Submissions};
use crate::table::Table;

/// A pool's workers are counted at most this often by those who list tasks, and by the sweeper.
const COUNT_WORKERS_EVERY_MS: u64 = 3_000;
/// Says whether a judge looks at what is handed on; from whoever deployed it.
const JUDGE: &str = "PROOFYARD_JUDGE";
/// So long what AWS Batch listed may be built upon; much shorter than submitted jobs are remembered.
const LISTED_FOR: Duration = Duration::from_secs(30);
/// Tasks that are counted beyond what a pool's workers could take at once.
const MAX_WAITING: usize = 4_096;

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    BadName(#[from] BadYardName),
    #[error("environment variable PROOFYARD_YARD is not set; it names the yard")]
    NoYard,
    #[error(
        "environment variable PROOFYARD_POOLS cannot be read: {0}; the functions that infra/ deploys have it"
    )]
    BadPools(serde_json::Error),
    #[error("environment variable PROOFYARD_JUDGE is {0:?}; it says true or false")]
    BadJudge(String),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(
        "the account cannot be asked for, which names the bucket: {0}; set PROOFYARD_BUCKET to name it yourself"
    )]
    NoAccount(String),
    #[error(transparent)]
    Newer(#[from] NewerFormat),
}

pub struct Home {
    pub names: Names,
    pub yard: Yard<AwsPort>,
    pub queues: Queues,
    pub bucket: Bucket,
    pub(crate) jobs: Jobs,
    pub(crate) pools: Pools,
    config: aws_config::SdkConfig,
    /// When each pool's workers were counted, by those who list tasks and by the sweeper.
    counted_ms: Mutex<HashMap<(String, bool), u64>>,
    pub(crate) watch: crate::metrics::Watch,
}

impl Home {
    /// As the environment of a function or of a job names it.
    pub fn from_environment() -> LocalBoxFuture<'static, Result<Self, ConnectError>> {
        Box::pin(async move {
            let yard = env::var("PROOFYARD_YARD").map_err(|_| ConnectError::NoYard)?;
            Self::connect(&yard).await
        })
    }

    /// The same, for who runs on a host that AWS does not keep the clock of: a worker, or an operator's command.
    pub fn on_a_host_of_its_own(self) -> Self {
        let (port, is_judged) = (self.yard.port.clone().on_a_host_of_its_own(), self.yard.is_judged());
        Self { yard: Yard::new(port), ..self }.with_judge(is_judged)
    }

    /// Asks AWS whether the yard is one that this program knows, and, where no variable says it, for the account's number.
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
            let home = Self::new(names, &config, bucket, pools).with_judge(judge_told()?.unwrap_or(false));
            // Whoever may not read it, or cannot now, finds out at the next call.
            match home.newer_format().await {
                Ok(Some(newer)) => Err(newer.into()),
                Ok(None) | Err(_) => Ok(home),
            }
        })
    }

    /// Over an AWS that is spoken to as `config` says.
    pub fn new(names: Names, config: &aws_config::SdkConfig, bucket: String, pools: Pools) -> Self {
        let table = Table::new(aws_sdk_dynamodb::Client::new(config), names.table());
        let random = Arc::new(proofyard_worker::host::system_random);
        Self {
            yard: Yard::new(AwsPort::new(table, Arc::new(Outbox::default()))),
            queues: Queues::new(aws_sdk_sqs::Client::new(config), random),
            bucket: Bucket::new(config, bucket),
            jobs: Jobs::new(aws_sdk_batch::Client::new(config)),
            pools,
            config: config.clone(),
            names,
            counted_ms: Mutex::default(),
            watch: crate::metrics::Watch::default(),
        }
    }

    /// Told whether a judge looks at what is handed on.
    pub fn with_judge(self, is_judged: bool) -> Self {
        Self { yard: self.yard.with_judge(is_judged), ..self }
    }

    /// For those who advance, or explain, and whom no deployment told whether a judge looks at what is handed on: it does
    /// if there is a queue to wake it by.
    pub fn with_judge_found(self) -> LocalBoxFuture<'static, Result<Self, ConnectError>> {
        Box::pin(async move {
            if judge_told()?.is_some() {
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

    /// Does `work`, and takes the steps that it leads to, as one errand.
    pub async fn errand<T>(&self, work: impl Future<Output = T>) -> T {
        Errand::run(self.yard.port.outbox(), work).await
    }

    /// The same, of work that blocks.
    pub fn blocking_errand<T>(&self, work: impl FnOnce() -> T) -> T {
        Errand::run_blocking(self.yard.port.outbox(), work)
    }

    fn with_outbox<T>(&self, ask: impl Fn(&Outbox) -> T) -> T {
        Errand::with_outbox(self.yard.port.outbox(), ask)
    }

    /// Takes the steps that wait in the outbox, as long as there is time, and has others take the rest. A step that
    /// fails for good is logged: what it is about stays due, and the sweeper comes back to it.
    pub fn settle(&self, until: Instant) -> LocalBoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.errand(self.take_steps(until)).await })
    }

    async fn take_steps(&self, until: Instant) -> Result<(), Error> {
        Errand::take_over(self.yard.port.outbox());
        let mut passing = None;
        while Instant::now() < until
            && passing.is_none()
            && let Some(step) = self.with_outbox(Outbox::take_step)
        {
            match self.step(&step).await {
                Ok(()) => {}
                Err(trouble) if trouble.passes() => passing = Some(trouble),
                Err(trouble) => error!(?step, %trouble, "a step cannot be taken"),
            }
        }
        self.deliver().await;
        passing.map_or(Ok(()), Err)
    }

    async fn step(&self, step: &Wake) -> Result<(), Error> {
        match step {
            Wake::Sink { chain, sink } => self.hand_on(chain, sink).await,
            step => self.yard.advance(step).await,
        }
    }

    /// Puts all wakes on their queues, none on that of block events, to which only those may write who bring some. What
    /// cannot be sent is lost: the sweeper finds it.
    pub fn deliver(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            let (mut steps, mut to_judge) = (Vec::new(), Vec::new());
            for wake in self.with_outbox(Outbox::take_all) {
                match &wake {
                    Wake::Pool { pool } => {
                        self.tell(&self.names.wake_queue(pool), vec![self.token()]).await;
                        self.ensure_workers(pool, false).await;
                    }
                    Wake::Judge { .. } => {
                        to_judge.push(Outgoing { body: body_of(&wake), ..Outgoing::default() })
                    }
                    Wake::Chain { chain } => steps.push(self.wake_message(chain, &wake)),
                    Wake::Scope { scope } => steps.push(self.wake_message(scope, &wake)),
                    Wake::Sink { chain, sink } => {
                        steps.push(self.wake_message(&format!("{chain}:sink:{sink}"), &wake));
                    }
                }
            }
            self.tell(&self.names.results_queue(), steps).await;
            if !to_judge.is_empty() {
                self.tell(&self.names.wake_queue(JUDGE_POOL), to_judge).await;
                self.ensure_workers(JUDGE_POOL, false).await;
            }
        })
    }

    async fn tell(&self, queue: &str, messages: Vec<Outgoing>) {
        if messages.is_empty() {
            return;
        }
        if let Err(trouble) = self.queues.send(queue, &messages).await {
            warn!(%trouble, lost = messages.len(), "wakes were lost");
        }
    }

    /// Says that there may be work, and nothing else.
    fn token(&self) -> Outgoing {
        Outgoing { body: "{}".to_owned(), ..Outgoing::default() }
    }

    /// Each wake is a message of its own: that two of them say the same does not make them the same.
    fn wake_message(&self, group: &str, wake: &Wake) -> Outgoing {
        Outgoing {
            body: body_of(wake),
            group: Some(group_id(group)),
            deduplication: Some(format!("wake-{:016x}", self.yard.port.random())),
            ..Outgoing::default()
        }
    }

    /// Puts a fact on the queue of its chain, where it is kept until it is recorded.
    pub fn post<'a>(
        &'a self,
        chain: &'a str,
        deduplication: String,
        message: &'a Message,
    ) -> LocalBoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            let queue = self.names.blocks_queue();
            let body = serde_json::to_string(message)
                .map_err(|error| QueueError { queue: queue.clone(), reason: error.to_string() })?;
            let outgoing = Outgoing {
                body,
                group: Some(group_id(chain)),
                deduplication: Some(deduplication),
                ..Outgoing::default()
            };
            self.queues.send(&queue, &[outgoing]).await
        })
    }

    /// Submits workers where tasks wait and nobody is there to take them.
    pub(crate) async fn ensure_workers(&self, pool: &str, at_leisure: bool) {
        let Some(jobs) = self.pools.get(pool) else { return };
        let now_ms = self.yard.port.now_ms();
        {
            let mut counted = self.counted_ms.lock().unwrap_or_else(PoisonError::into_inner);
            let last_ms = counted.entry((pool.to_owned(), at_leisure)).or_default();
            if last_ms.saturating_add(COUNT_WORKERS_EVERY_MS) > now_ms {
                return;
            }
            *last_ms = now_ms;
        }
        match self.submit_workers(pool, jobs, at_leisure).await {
            Ok(more) if more == More::default() => {}
            Ok(more) => info!(pool, workers = more.burst, that_stay = more.warm, "workers submitted"),
            Err(trouble) => error!(pool, %trouble, "no worker can be submitted; the next tick tries again"),
        }
    }

    async fn submit_workers(
        &self,
        pool: &str,
        jobs: &PoolJobs,
        at_leisure: bool,
    ) -> Result<More, Box<dyn std::error::Error>> {
        let wanted = match pool {
            // Who was just woken, or is woken again for what still waits, looks at all there is.
            JUDGE_POOL => u32::from(!at_leisure),
            _ => {
                // What no pipeline has would find nothing to do, and be gone at once.
                let Some(declared) = self.yard.pool(pool).await? else { return Ok(More::default()) };
                let waiting = self.yard.waiting_tasks(pool, MAX_WAITING).await?;
                u32::try_from(waiting).unwrap_or(u32::MAX).div_ceil(declared.slots.max(1))
            }
        };
        let unsettled = at_leisure && self.has_unsettled_jobs(pool).await?;
        if wanted == 0 && jobs.warm_workers == 0 && !unsettled {
            return Ok(More::default());
        }
        let (looked, listed) = (Instant::now(), self.jobs.listed(jobs).await?);
        if unsettled {
            self.settle_jobs(pool, jobs, &listed).await?;
        }
        let id = self.yard.port.random();
        let more = transact(&self.yard.port, async |tx| {
            let known = tx.check(&Submissions::key_of(pool)).await?;
            let mut known: Submissions = known.unwrap_or_else(|| Submissions::of(pool));
            let look = Look { listed: &listed, wanted, at_leisure, now_ms: self.yard.port.now_ms() };
            // What was seen too long ago says nothing of what others submitted since.
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
        let (submitted, ended) =
            self.jobs.submit(jobs, &format!("{}-{pool}", self.names.table()), more).await;
        let kept = transact(&self.yard.port, async |tx| {
            let known: Option<Submissions> = tx.check(&Submissions::key_of(pool)).await?;
            let mut known = known.unwrap_or_else(|| Submissions::of(pool));
            known.submitted(id, &submitted, self.yard.port.now_ms());
            tx.put(&known)
        });
        kept.await?;
        ended?;
        Ok(more)
    }

    pub(crate) async fn ensure_all_workers(&self) {
        for pool in self.pools.keys() {
            self.ensure_workers(pool, true).await;
        }
    }
}

fn judge_told() -> Result<Option<bool>, ConnectError> {
    match env::var(JUDGE).as_deref() {
        Ok("true") => Ok(Some(true)),
        Ok("false") => Ok(Some(false)),
        Ok(other) => Err(ConnectError::BadJudge(other.to_owned())),
        Err(_) => Ok(None),
    }
}

fn body_of(wake: &Wake) -> String {
    serde_json::to_string(&Message::Wake(wake.clone())).unwrap_or_default()
}

/// SQS takes 128 characters for a group: what is longer is named by its hash.
fn group_id(subject: &str) -> String {
    use sha2::{Digest, Sha256};
    let plain = subject.len() <= 128 && subject.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { subject.to_owned() } else { hex::encode(Sha256::digest(subject)) }
}

async fn account(config: &aws_config::SdkConfig) -> Result<String, ConnectError> {
    let sts = aws_sdk_sts::Client::new(config);
    let said = sts.get_caller_identity().send().await;
    let said = said.map_err(|error| {
        ConnectError::NoAccount(match crate::trouble::trouble_of(&error) {
            crate::trouble::Trouble::Passing(reason)
            | crate::trouble::Trouble::Unknown(reason)
            | crate::trouble::Trouble::Lasting(reason) => reason,
        })
    })?;
    said.account.ok_or_else(|| ConnectError::NoAccount("the answer names none".to_owned()))
}
