//! Telling sinks on AWS that are no files: one step of one sink at a time, as every home takes it ([`proofyard_sinks`]).
//!
//! A sink that hangs holds up nothing else: its wakes come by a queue of their own, on which each sink is a group. It is tried
//! again by the time that the state says, which the sweeper wakes. Keys, and URLs that have one in them, are in the yard's
//! secret for sinks.
//!
//! - [`http`]: webhooks and servers with the API of Ethproofs, by `proofyard-notify`;
//! - [`services`]: queues, topics and event buses of AWS.

mod http;
mod services;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use proofyard_aws::AwsHome;
use proofyard_aws::invocation::Notifier;
use proofyard_aws::pools::deployed::MOST_MESSAGE_MS;
use proofyard_core::error::Error;
use proofyard_core::pipeline::{Sink, SinkTarget};
use proofyard_core::port::{Port, Wake};
use proofyard_core::state::ArtifactRef;
use proofyard_sinks::{Message, Outcome, SinkOf, Teller};
use tracing::warn;

use crate::http::Http;
use crate::services::Services;

/// Fetching a proof that is sent, and writing down how a message went.
const AROUND_A_MESSAGE: Duration = Duration::from_secs(15);

/// When no other message is begun in an invocation that must be over then: one that is under way has all its time.
pub fn begins_until(until: Instant) -> Instant {
    let now = Instant::now();
    let left = until.saturating_duration_since(now);
    now + left.saturating_sub(Duration::from_millis(MOST_MESSAGE_MS) + AROUND_A_MESSAGE)
}

/// The connections that this process has, from one message to the next.
pub struct Sinks {
    http: Http,
    services: Services,
    /// When no other message is begun.
    until: Mutex<Instant>,
}

impl Sinks {
    pub fn of(home: &AwsHome) -> Self {
        Self {
            http: Http::of(home),
            services: Services::of(home.config()),
            until: Mutex::new(Instant::now()),
        }
    }

    /// An invocation begins: from then on no message does.
    pub fn begin(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = until;
    }

    fn is_over(&self) -> bool {
        Instant::now() >= *self.until.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Notifier for Sinks {
    fn tell<'a>(
        &'a self,
        home: &'a AwsHome,
        chain: &'a str,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // Reads the table anew: the last message may have taken half a minute, and the pipeline may have changed.
            let step = home.begin();
            let home = &step.home;
            let (_, pipeline) = home.yard.chain(chain).await?;
            // What became a file is handed on by others, whom the sweeper wakes.
            let is_file = |sink: &&Sink| matches!(sink.target, SinkTarget::File { .. });
            let Some(sink) = pipeline.sinks.get(name).filter(|sink| !is_file(sink)) else { return Ok(()) };
            let mut telling = Telling { sinks: self, home, chain, name, target: &sink.target };
            let sink = SinkOf {
                chain,
                name,
                is_level: sink.is_level(),
                results: &BTreeSet::new(),
                names_block: false,
            };
            if sink.step(&home.yard, &mut telling).await? {
                home.yard.port.send(&[Wake::Sink { chain: chain.to_owned(), sink: name.to_owned() }]).await;
            }
            Ok(())
        })
    }
}

/// One step's way to a sink.
struct Telling<'a> {
    sinks: &'a Sinks,
    home: &'a AwsHome,
    chain: &'a str,
    name: &'a str,
    target: &'a SinkTarget,
}

impl Teller for Telling<'_> {
    async fn tell(&mut self, message: &Message) -> Outcome {
        match self.target {
            SinkTarget::Aws(target) => {
                let sink = format!("{}:{}:{}", self.home.names.yard(), self.chain, self.name);
                self.sinks.services.tell(target, &sink, message).await
            }
            target => self.sinks.http.tell(self.home, target, message).await,
        }
    }

    fn place_of(&self, artifact: &ArtifactRef) -> PathBuf {
        PathBuf::from(self.home.objects.address(artifact))
    }

    fn is_stopped(&self) -> bool {
        self.sinks.is_over()
    }

    fn log(&self, message: String) {
        warn!(chain = self.chain, sink = self.name, "{message}");
    }
}
