//! A yard on a local AWS that a test drives by hand: it sends messages, takes what is on the queues, and proves with a
//! prover of the test's making.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use proofyard_aws::AwsHome;
use proofyard_aws::clients::names::Names;
use proofyard_aws::pools::jobs::Pools;
use proofyard_aws::store::port::AwsPort;
use proofyard_core::claim::{ClaimOutcome, ClaimRequest};
use proofyard_core::error::{Error, with_causes};
use proofyard_core::heartbeat::WorkerRegistration;
use proofyard_core::port::Port;
use proofyard_core::state::{ArtifactRef, Block};
use proofyard_core::work::{Assignment, AttemptError, Executor, Performed, Proved};
use proofyard_core::yard::Yard;
use sha2::{Digest, Sha256};

use crate::http::Breakable;
use crate::local::LocalAws;
use crate::named;

/// Every block is one task, and its proof commits it.
pub const PIPELINE: &str = r#"
[chain]
name = "c"
start_height = 1
window = 8

[stage.prove]
strategy = "match"
from = "block"
prover = "p"
pool = "cpu"

[prover.p]
command = ["prover"]

[pool.cpu]
slots = 1

[sink.file]
file = "out.jsonl"
"#;

pub const LEASE_MS: u64 = 600_000;

/// A yard over a client that breaks on demand.
pub struct Driver {
    pub home: AwsHome,
    pub http: Breakable,
    pub config: SdkConfig,
}

/// The SDK reads credentials from the environment of its process; tests share that, and not their AWS.
async fn configured(http: &Breakable, endpoint: &str) -> SdkConfig {
    let credentials = aws_sdk_dynamodb::config::Credentials::new("test", "test", None, None, "test");
    proofyard_aws::clients::sdk::over(http.clone())
        .await
        .into_builder()
        .endpoint_url(endpoint)
        .region(aws_config::Region::new("us-east-1"))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(credentials))
        .build()
}

async fn assumed(config: &SdkConfig, aws: &LocalAws, role: &str) -> [String; 3] {
    let account = aws.bucket().rsplit('-').next().unwrap();
    let role = format!("arn:aws:iam::{account}:role/proofyard-{}-{role}", aws.yard);
    let assume = aws_sdk_sts::Client::new(config).assume_role().role_arn(role).role_session_name("test");
    let got = assume.send().await.unwrap().credentials.unwrap();
    [got.access_key_id, got.secret_access_key, got.session_token]
}

impl Driver {
    /// Of an AWS that is not there: every answer is the test's.
    pub async fn detached() -> Self {
        let http = Breakable::default();
        let config = configured(&http, "http://127.0.0.1:1").await;
        let home = AwsHome::new(Names::of("test").unwrap(), &config, "bucket".to_owned(), Pools::new());
        Self { home, http, config }
    }

    /// Under the credential of a role of the yard.
    pub async fn in_role(aws: &LocalAws, role: &str) -> Self {
        let http = Breakable::default();
        let plain = configured(&http, aws.endpoint()).await;
        let [key, secret, token] = assumed(&plain, aws, role).await;
        let credentials = aws_sdk_dynamodb::config::Credentials::new(key, secret, Some(token), None, "test");
        let credentials = aws_sdk_dynamodb::config::SharedCredentialsProvider::new(credentials);
        let config = plain.into_builder().credentials_provider(credentials).build();
        let home =
            AwsHome::new(Names::of(&aws.yard).unwrap(), &config, aws.bucket().to_owned(), Pools::new());
        Self { home, http, config }
    }

    /// That role's key, secret and token, for a program.
    pub async fn credentials_of(&self, aws: &LocalAws, role: &str) -> [String; 3] {
        assumed(&self.config, aws, role).await
    }

    /// As the functions of a yard with a judge.
    pub fn judged(self) -> Self {
        Self { home: self.home.with_judge(true), ..self }
    }

    pub async fn new(aws: &LocalAws) -> Self {
        Self::at(aws, aws.endpoint()).await
    }

    /// It submits these pools' workers.
    pub async fn with_pools(aws: &LocalAws, pools: Pools) -> Self {
        let driver = Self::new(aws).await;
        driver.http.batch_is_at(&aws.environment["AWS_ENDPOINT_URL_BATCH"]);
        let names = Names::of(&aws.yard).unwrap();
        let home = AwsHome::new(names, &driver.config, aws.bucket().to_owned(), pools);
        Self { home, ..driver }
    }

    /// Only its table may be used: DynamoDB may be elsewhere than all the rest.
    pub async fn of_the_table(aws: &LocalAws) -> Self {
        Self::at(aws, aws.table_endpoint()).await
    }

    async fn at(aws: &LocalAws, endpoint: &str) -> Self {
        let http = Breakable::default();
        let config = configured(&http, endpoint).await;
        let home =
            AwsHome::new(Names::of(&aws.yard).unwrap(), &config, aws.bucket().to_owned(), Pools::new());
        Self { home, http, config }
    }

    /// Waits for its calls as long as the local AWS needs, which takes one at a time.
    pub fn patient(self, aws: &LocalAws) -> Self {
        let patience = aws_config::timeout::TimeoutConfig::disabled();
        let config = self.config.into_builder().timeout_config(patience).build();
        let home =
            AwsHome::new(Names::of(&aws.yard).unwrap(), &config, aws.bucket().to_owned(), Pools::new());
        Self { home, config, ..self }
    }

    /// With the pipeline in force.
    pub async fn with_pipeline(aws: &LocalAws, text: &str) -> Self {
        let driver = Self::new(aws).await;
        driver.home.yard.record_pipeline(text).await.unwrap();
        driver.take_steps().await.unwrap();
        driver
    }

    pub async fn take_steps(&self) -> Result<(), Error> {
        self.home.take_steps_until(Instant::now() + Duration::from_secs(60)).await
    }

    /// Takes what is on a queue until it is empty, as its function does; answers how many messages came.
    pub async fn drain(&self, queue: &str) -> usize {
        let mut taken = 0;
        loop {
            let messages = self.home.queues.receive(queue, 0).await.unwrap();
            if messages.is_empty() {
                return taken;
            }
            let until = Instant::now() + Duration::from_secs(60);
            let again = self.home.take_batch(queue, &messages, until).await;
            let done: Vec<_> = messages.iter().filter(|message| !again.contains(&message.id)).collect();
            taken += done.len();
            self.home.queues.delete(queue, &done).await.unwrap();
        }
    }

    /// Blocks and results, until nothing is left.
    pub async fn drain_all(&self) {
        loop {
            let blocks = self.drain(&self.home.names.blocks_queue()).await;
            let results = self.drain(&self.home.names.results_queue()).await;
            if blocks + results == 0 {
                return;
            }
        }
    }

    pub async fn register(&self, worker: &str) {
        let registration = WorkerRegistration {
            worker: worker.into(),
            pool: "cpu".into(),
            slots: 1,
            alone: false,
            lease_ms: LEASE_MS,
            isolation: None,
        };
        self.home.yard.register_worker(&registration).await.unwrap();
    }

    /// Claims one task and proves it; says whether there was one. Its steps are left in the outbox.
    pub async fn work(&self, worker: &str) -> Result<bool, Error> {
        self.work_on(&self.home.begin().home.yard, worker).await
    }

    async fn work_on(&self, yard: &Yard<AwsPort>, worker: &str) -> Result<bool, Error> {
        let claim = format!("{:016x}", yard.port.random());
        let request = ClaimRequest { worker: worker.into(), slot: 0, claim };
        let task = match yard.claim(&request).await? {
            ClaimOutcome::Claimed(task) => *task,
            ClaimOutcome::SlotHolds(held) => {
                yard.record_release(&worker.into(), 0, &held.claim, &held.task).await?;
                return Ok(true);
            }
            ClaimOutcome::Nothing | ClaimOutcome::Quarantined { .. } => return Ok(false),
        };
        let assignment = yard.assignment(&request, task).await?;
        match yard.perform(&mut Prover { home: &self.home }, &assignment).await? {
            Performed::Recorded(_) | Performed::Released | Performed::HostFault { .. } => Ok(true),
            Performed::Failed { message, .. } => panic!("{message}"),
        }
    }

    /// Works until nothing is listed.
    pub async fn work_all(&self, worker: &str) {
        loop {
            while self.work(worker).await.unwrap() {
                self.take_steps().await.unwrap();
            }
            self.drain_all().await;
            if self.home.yard.waiting_tasks("cpu", 1).await.unwrap() == 0 {
                return;
            }
        }
    }

    /// Hashes of the out log's proofs, in order of sequence, each checked to be the next height.
    pub async fn committed(&self, chain: &str) -> Vec<(u64, String)> {
        let chain = &named(chain);
        let committed = self.home.yard.committed(chain, &(0..=u64::MAX)).await.unwrap();
        let mut blocks = Vec::new();
        for entry in committed {
            let proofs = self.home.yard.committed_proofs(chain, &entry).await.unwrap();
            blocks.extend(proofs.into_iter().map(|proof| (entry.from, proof.proof.artifact.sha256)));
        }
        blocks
    }
}

/// A block of a chain of the test's making; `branch` tells two of one height apart.
pub fn block(height: u64, branch: &str, parent_branch: &str) -> Block {
    let hash =
        |height: u64, branch: &str| format!("0x{}", hex::encode(Sha256::digest(format!("{height}{branch}"))));
    Block {
        height,
        hash: hash(height, branch).into(),
        parent: hash(height - 1, parent_branch).into(),
        timestamp_s: 1_700_000_000 + height,
        segments: 1,
        fields: BTreeMap::new(),
        payload: ArtifactRef { sha256: "0".repeat(64), bytes: 0 },
    }
}

/// Proves by naming the task's block, and puts the proof in the bucket.
struct Prover<'a> {
    home: &'a AwsHome,
}

impl Executor for Prover<'_> {
    type Output = Vec<u8>;

    async fn prove(&mut self, assignment: &Assignment) -> Result<Proved<Vec<u8>>, AttemptError> {
        Ok(Proved {
            output: assignment.task.id().scope.to_string().into_bytes(),
            claimed_public_values: None,
            verification_key: None,
            proof_system: None,
            security_bits: None,
            trusted_setup: None,
            cycles: None,
            list: None,
            fields: BTreeMap::new(),
            proving: None,
        })
    }

    async fn verify(&mut self, _: &Assignment, proved: &Proved<Vec<u8>>) -> Result<String, AttemptError> {
        Ok(hex::encode(&proved.output))
    }

    async fn store(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<Vec<u8>>,
    ) -> Result<ArtifactRef, AttemptError> {
        let artifact = ArtifactRef {
            sha256: hex::encode(Sha256::digest(&proved.output)),
            bytes: proved.output.len() as u64,
        };
        let put = self.home.objects.put_bytes(&artifact, proved.output.clone()).await;
        put.map_err(|error| AttemptError::HostFault { message: with_causes(&error).to_string() })?;
        // For the calls' number: nobody takes it up here.
        let left = self.home.objects.put_made(assignment.task.id(), b"{}".to_vec()).await;
        left.map_err(|error| AttemptError::HostFault { message: with_causes(&error).to_string() })?;
        Ok(artifact)
    }
}
