//! A yard on the local AWS whose proposer's messages a test takes by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proofyard_aws::AwsHome;
use proofyard_aws::queues::Incoming;
use proofyard_aws_tests::PATIENCE;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::http::Fate;
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_core::sinks::SinkWord;
use proofyard_core::state::SinkCursor;
use proofyard_proposer::Proposing;
use proofyard_telling::Sinks;
use tokio::sync::{Barrier, Notify};

use crate::evm::{ACCOUNT, KEY};
use crate::ledger::Ledger;

pub struct ProposingYard {
    pub _aws: LocalAws,
    pub driver: Driver,
    /// As the function has it.
    pub proposer: AwsHome,
}

/// A sink's table: it submits each block to the ledger, by a node at this URL; `keys` are more ones of it.
pub fn submitting(sink: &str, ledger: &Ledger, url: &str, keys: &str) -> String {
    format!(
        "[sink.{sink}]\ncontract = \"{}\"\nrpc = [\"{url}\"]\nchain_id = 31337\nconfirmations = 1\n\
         function = \"submit(uint256 height, bytes proof)\"\narguments = [\"{{to}}\", \"{{proof}}\"]\n\
         errors = [\"Closed(uint256)\"]\n{keys}\n",
        ledger.address
    )
}

pub const OF_SECRET: &str = "key_from = \"KEY\"";

impl ProposingYard {
    /// With these tables in the pipeline, anvil's key in the secret, and these blocks proved.
    pub async fn with(sinks: &str, blocks: u64) -> Self {
        Self::of(&format!("{PIPELINE}\n{sinks}"), blocks).await
    }

    /// The same of a whole pipeline's text.
    pub async fn of(pipeline: &str, blocks: u64) -> Self {
        let aws = LocalAws::without_functions();
        let driver = Driver::with_pipeline(&aws, pipeline).await;
        put_secret(&driver, &format!("{{\"KEY\": \"{KEY}\"}}")).await;
        let proposer = proposer(&driver.home);
        driver.register("w").await;
        let yard = Self { _aws: aws, driver, proposer };
        yard.prove(1..=blocks).await;
        yard
    }

    pub async fn prove(&self, heights: std::ops::RangeInclusive<u64>) {
        let all = *heights.end() as usize;
        for height in heights {
            self.driver.home.yard.record_block(&named("c"), &block(height, "a", "a")).await.unwrap();
        }
        self.driver.take_steps().await.unwrap();
        self.driver.work_all("w").await;
        assert_eq!(self.driver.committed("c").await.len(), all, "nobody waits for who is told");
    }

    pub async fn received(&self) -> Vec<Incoming> {
        let queue = self.proposer.names.propose_queue();
        self.proposer.queues.receive(&queue, 0).await.unwrap()
    }

    /// Takes what is on the proposer's queue until it is empty.
    pub async fn tell(&self) {
        tell_by(&self.proposer).await;
    }

    /// The sink is tried at once, as an operator has it.
    pub async fn resume(&self, sink: &str) {
        self.driver.home.yard.tell_sink(&named("c"), sink, SinkWord::Resume).await.unwrap();
        self.driver.take_steps().await.unwrap();
    }

    /// A tick of the sweeper.
    pub async fn sweep(&self) {
        self.driver.home.yard.sweep().await.unwrap();
        self.driver.take_steps().await.unwrap();
    }

    pub async fn cursor(&self, sink: &str) -> SinkCursor {
        self.driver.home.yard.sink_cursor(&named("c"), sink, "commits").await.unwrap()
    }

    /// The function, and the sweeper, until the sink has so many entries.
    pub async fn until_told(&self, sink: &str, entries: u64) {
        let began = Instant::now();
        while self.cursor(sink).await.next_sequence < entries {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.cursor(sink).await);
            self.sweep().await;
            self.tell().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes what is on the queue, and is ended when it is about to make its call of this number to AWS; answers whether it was.
    /// What it had comes again.
    pub async fn tell_until_killed(&self, call: usize) -> bool {
        let messages = self.received().await;
        let (reached, made) = (Arc::new(Notify::new()), AtomicUsize::new(0));
        // Nobody else ever comes to it.
        let never = Arc::new(Barrier::new(2));
        let say = Arc::clone(&reached);
        self.driver.http.breaks(move |_, _| {
            if made.fetch_add(1, Ordering::Relaxed) != call {
                return Fate::Made;
            }
            say.notify_one();
            Fate::Together(Arc::clone(&never))
        });
        let queue = self.proposer.names.propose_queue();
        let is_killed = tokio::select! {
            _ = self.proposer.take_batch(&queue, &messages, soon()) => false,
            () = reached.notified() => true,
        };
        self.driver.http.works();
        match is_killed {
            true => {
                let again: Vec<_> = messages.iter().map(|message| (message, 0)).collect();
                self.proposer.queues.retry_after(&queue, &again).await.unwrap();
            }
            false => self.proposer.queues.delete(&queue, &messages.iter().collect::<Vec<_>>()).await.unwrap(),
        }
        is_killed
    }
}

pub async fn put_secret(driver: &Driver, value: &str) {
    let secrets = aws_sdk_secretsmanager::Client::new(&driver.config);
    let id = driver.home.names.keys_secret();
    secrets.put_secret_value().secret_id(id).secret_string(value).send().await.unwrap();
}

/// A function that is new.
pub fn proposer(home: &AwsHome) -> AwsHome {
    let sinks = Arc::new(Sinks::by(Proposing::of(home)));
    sinks.begin(soon() + Duration::from_secs(600));
    home.with_notifier(sinks)
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub async fn tell_by(proposer: &AwsHome) {
    let queue = proposer.names.propose_queue();
    loop {
        let messages = proposer.queues.receive(&queue, 0).await.unwrap();
        if messages.is_empty() {
            return;
        }
        let again = proposer.take_batch(&queue, &messages, soon()).await;
        assert_eq!(again, [""; 0]);
        proposer.queues.delete(&queue, &messages.iter().collect::<Vec<_>>()).await.unwrap();
    }
}

/// Transactions of the account that the chain has.
pub fn sent(ledger: &Ledger) -> u64 {
    let count = ledger.anvil.ask("eth_getTransactionCount", &serde_json::json!([ACCOUNT, "latest"]));
    u64::from_str_radix(count.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}
