//! A yard on the local AWS whose follower's ticks a test makes by hand, and what was handed on of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proofyard_aws_tests::driver::{Driver, PIPELINE};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::state::{EndpointState, Following};
use proofyard_follow_tests::anvil::Anvil;
use proofyard_follower::{LookError, Looks, NodesOfYard};
use serde_json::Value;
use tokio::runtime::Runtime;

pub struct FollowingYard {
    pub aws: LocalAws,
    pub runtime: Runtime,
    pub driver: Driver,
    pub looks: Looks,
}

/// What a yard handed on.
pub struct HandedOn {
    /// Heights that stand, with their hashes, after what was taken back was taken away.
    pub blocks: BTreeMap<u64, String>,
    pub retracts: usize,
    pub entries: usize,
    /// When each block was first committed, by its hash.
    pub committed_ms: BTreeMap<String, u64>,
}

/// A pipeline that follows a node, with these lines in `[source.node]`.
pub fn pipeline(node: &str) -> String {
    let source = format!("[source.node]\npoll_ms = 200\nchain_id = 31337\n{node}\n\n[stage.prove]");
    PIPELINE.replace("window = 8", "window = 8\nreal_time = true").replace("[stage.prove]", &source)
}

pub fn rpc(anvil: &Anvil) -> String {
    format!("rpc = [{:?}]", anvil.url())
}

impl FollowingYard {
    pub fn of(anvil: &Anvil) -> Self {
        Self::with(&rpc(anvil))
    }

    pub fn with(node: &str) -> Self {
        let aws = LocalAws::without_functions();
        let runtime = Runtime::new().unwrap();
        let driver = runtime.block_on(Driver::with_pipeline(&aws, &pipeline(node)));
        runtime.block_on(driver.register("w"));
        let looks = Looks::new(NodesOfYard::new(&driver.home));
        Self { aws, runtime, driver, looks }
    }

    /// One tick.
    pub fn try_look(&self) -> Result<(), LookError> {
        let until = Instant::now() + Duration::from_secs(30);
        self.runtime.block_on(self.looks.look(&self.driver.home, until))
    }

    pub fn look(&self) {
        self.try_look().unwrap();
    }

    /// Everything that follows from what was recorded.
    pub fn prove(&self) {
        self.runtime.block_on(async {
            self.driver.drain_all().await;
            self.driver.work_all("w").await;
        });
    }

    pub fn tip(&self) -> Option<(u64, String)> {
        self.runtime
            .block_on(self.driver.home.yard.tip(&named("c")))
            .unwrap()
            .head
            .map(|(height, hash)| (height, hash.into()))
    }

    pub fn following(&self) -> Following {
        self.runtime.block_on(self.driver.home.yard.following(&named("c"))).unwrap().unwrap()
    }

    pub fn state_of_node(&self) -> EndpointState {
        self.following().endpoints[0].state
    }

    pub fn expect_tip_of(&self, anvil: &Anvil) {
        let newest = anvil.height();
        assert_eq!(self.tip(), Some((newest, anvil.hash(newest))), "{:?}", self.following());
    }

    /// Exactly the node's chain is handed on, each height once, in order.
    pub fn expect_chain_of(&self, anvil: &Anvil) -> HandedOn {
        let handed = self.runtime.block_on(handed_on(&self.aws, &self.driver));
        let newest = anvil.height();
        assert_eq!(handed.blocks.len() as u64, newest);
        for (height, hash) in &handed.blocks {
            assert_eq!(*hash, anvil.hash(*height), "{height}");
        }
        handed
    }
}

/// What is in the sink's folder of the bucket.
pub async fn handed_on(aws: &LocalAws, driver: &Driver) -> HandedOn {
    let config = aws_sdk_s3::config::Builder::from(&driver.config).force_path_style(true);
    let s3 = aws_sdk_s3::Client::from_conf(config.build());
    let (blocks, committed_ms) = (BTreeMap::new(), BTreeMap::new());
    let mut handed = HandedOn { blocks, retracts: 0, entries: 0, committed_ms };
    let mut after = None;
    loop {
        let list = s3.list_objects_v2().bucket(aws.bucket()).prefix("sinks/c/").set_start_after(after);
        let listed = list.send().await.unwrap();
        let keys: Vec<String> =
            listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect();
        let Some(last) = keys.last() else { return handed };
        after = Some(last.clone());
        for key in keys {
            let got = s3.get_object().bucket(aws.bucket()).key(key).send().await.unwrap();
            let content = got.body.collect().await.unwrap().to_vec();
            handed.take(&serde_json::from_slice(&content).unwrap());
        }
    }
}

impl HandedOn {
    fn take(&mut self, entry: &Value) {
        assert_eq!(entry["sequence"], self.entries, "each once, in order: {entry}");
        self.entries += 1;
        let (from, to) = (entry["from"].as_u64().unwrap(), entry["to"].as_u64().unwrap());
        if entry["kind"] == "retract" {
            self.retracts += 1;
            assert_eq!(self.blocks.keys().next_back(), Some(&to), "{entry}");
            self.blocks.retain(|height, _| *height < from);
            return;
        }
        let next = self.blocks.keys().next_back().map_or(1, |height| height + 1);
        assert_eq!((from, to), (next, next), "{entry}");
        let hash = entry["hash"].as_str().unwrap().to_owned();
        self.committed_ms.entry(hash.clone()).or_insert(entry["at_ms"].as_u64().unwrap());
        self.blocks.insert(from, hash);
    }
}
