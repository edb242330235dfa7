//! A yard on the local AWS whose notifier's messages a test takes by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proofyard_aws::AwsHome;
use proofyard_aws::queues::Incoming;
use proofyard_aws_tests::driver::{Driver, PIPELINE, block};
use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::named;
use proofyard_notifier::Notifying;
use proofyard_telling::Sinks;

pub struct ToldYard {
    pub aws: LocalAws,
    pub driver: Driver,
    /// As the function has it.
    pub notifier: AwsHome,
}

impl ToldYard {
    /// With these tables in the pipeline, and these blocks proved.
    pub async fn with(sinks: &str, blocks: u64) -> Self {
        Self::of(LocalAws::without_functions(), sinks, blocks).await
    }

    /// The same yard with another pipeline.
    pub async fn again(self, sinks: &str, blocks: u64) -> Self {
        Self::of(self.aws, sinks, blocks).await
    }

    async fn of(aws: LocalAws, sinks: &str, blocks: u64) -> Self {
        let driver = Driver::with_pipeline(&aws, &format!("{PIPELINE}\n{sinks}")).await;
        let notifier = notifier(&driver.home);
        driver.register("w").await;
        for height in 1..=blocks {
            driver.home.yard.record_block(&named("c"), &block(height, "a", "a")).await.unwrap();
        }
        driver.take_steps().await.unwrap();
        driver.work_all("w").await;
        assert_eq!(driver.committed("c").await.len() as u64, blocks, "nobody waits for who is told");
        Self { aws, driver, notifier }
    }

    pub async fn received(&self) -> Vec<Incoming> {
        self.notifier.queues.receive(&self.notifier.names.notify_queue(), 0).await.unwrap()
    }

    /// Takes what is on the notifier's queue until it is empty.
    pub async fn tell(&self) {
        tell_by(&self.notifier).await;
    }

    /// A tick of the sweeper.
    pub async fn sweep(&self) {
        self.driver.home.yard.sweep().await.unwrap();
        self.driver.take_steps().await.unwrap();
    }

    pub async fn next_sequence(&self, sink: &str) -> u64 {
        self.driver.home.yard.sink_cursor(&named("c"), sink, "commits").await.unwrap().next_sequence
    }
}

/// A function that is new.
pub fn notifier(home: &AwsHome) -> AwsHome {
    let sinks = Arc::new(Sinks::by(Notifying::of(home)));
    sinks.begin(Instant::now() + Duration::from_secs(600));
    home.with_notifier(sinks)
}

pub async fn tell_by(notifier: &AwsHome) {
    let queue = notifier.names.notify_queue();
    loop {
        let messages = notifier.queues.receive(&queue, 0).await.unwrap();
        if messages.is_empty() {
            return;
        }
        let until = Instant::now() + Duration::from_secs(60);
        let again = notifier.take_batch(&queue, &messages, until).await;
        assert_eq!(again, [""; 0]);
        notifier.queues.delete(&queue, &messages.iter().collect::<Vec<_>>()).await.unwrap();
    }
}
