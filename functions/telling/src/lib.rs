//! What the functions have in common that tell sinks: one step of one sink at a time, as every home takes it
//! ([`proofyard_sinks`]).
//!
//! A sink that hangs holds up nothing else: wakes come by the function's own queue, on which each sink is a group. It is tried
//! again by the time that the state says, which the sweeper wakes. Keys, and URLs that have one in them, are in a secret of
//! the function's own. Tasks of stages with an action ([`Acting`]) come by the same queue, on which each such pool is a group.

mod outside;
mod variables;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use proofyard_aws::AwsHome;
use proofyard_aws::clients::names::Names;
use proofyard_aws::home::Notifier;
use proofyard_aws::pools::deployed::MOST_MESSAGE_MS;
use proofyard_aws::queues::Incoming;
use proofyard_core::error::{Error, with_causes};
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::port::{Port, Wake};
use proofyard_core::state::{ArtifactRef, ChainName};
use proofyard_function::{messages_of, run, take, until};
use proofyard_sinks::{Message, Outcome, SinkOf, Teller};
use tracing::warn;

pub use crate::outside::{FetchError, Secrets, fetched, stored};
pub use crate::variables::Variables;

/// Fetching a proof that is sent, and writing down how a message went.
const AROUND_A_MESSAGE: Duration = Duration::from_secs(15);

/// From when a handler should have ended until Lambda has surely ended it.
const BEHIND_THE_END: Duration = Duration::from_secs(2);

/// One function's way to its sinks, with the connections that it keeps from one message to the next.
pub trait Way: Send + Sync + 'static {
    /// Whether sinks of this kind are this function's.
    fn tells(&self, target: &SinkTarget) -> bool;

    /// Its own queue.
    fn queue(&self, names: &Names) -> String;

    fn tell<'a>(&'a self, sink: ToldSink<'a>, message: &'a Message) -> LocalBoxFuture<'a, Outcome>;

    /// The way to do tasks of stages with an action, where the function does them.
    fn acting(&self) -> Option<&dyn Acting> {
        None
    }
}

/// Does tasks of stages with an action.
pub trait Acting {
    /// Does listed tasks of an action's pool, and begins none any more once `is_over` says so; answers whether there may be more.
    fn act<'a>(
        &'a self,
        home: &'a AwsHome,
        pool: &'a str,
        is_over: &'a dyn Fn() -> bool,
    ) -> LocalBoxFuture<'a, Result<bool, Error>>;
}

/// A sink that is told.
#[derive(Clone, Copy)]
pub struct ToldSink<'a> {
    pub home: &'a AwsHome,
    pub chain: &'a ChainName,
    pub name: &'a str,
    pub target: &'a SinkTarget,
}

impl ToldSink<'_> {
    /// In all yards of an account.
    pub fn full_name(&self) -> String {
        format!("{}:{}:{}", self.home.names.yard(), self.chain, self.name)
    }
}

/// Runs such a function until Lambda ends it.
pub fn run_telling<W: Way>(way: impl Fn(&AwsHome) -> W) -> Result<(), proofyard_function::Error> {
    let kept = OnceCell::new();
    run(async move |home, event| {
        let (sinks, home, queue) = kept.get_or_init(|| {
            let way = way(home);
            let queue = way.queue(&home.names);
            let sinks = Arc::new(Sinks::by(way));
            (Arc::clone(&sinks), home.with_notifier(sinks), queue)
        });
        let (ends, messages) = (until(&event.context), messages_of(event.payload));
        hide_until(home, queue, &messages, ends).await;
        let until = begins_until(ends);
        sinks.begin(until);
        Ok(take(home, queue, &messages, until).await)
    })
}

/// From now on its messages are hidden for as long as the invocation may run, and no longer: where it is ended in the middle, they come
/// again then. The queue hides them for six times as long, for as long as Lambda may take to begin.
pub async fn hide_until(home: &AwsHome, queue: &str, messages: &[Incoming], ends: Instant) {
    let left = ends.saturating_duration_since(Instant::now()) + BEHIND_THE_END;
    let left_s = u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    let hidden: Vec<_> = messages.iter().map(|message| (message, left_s)).collect();
    if let Err(error) = home.queues.retry_after(queue, &hidden).await {
        warn!(error = %with_causes(&error), "should this function be ended, its messages come again later than they should");
    }
}

/// When no other message is begun in an invocation that must be over then: one that is under way has all its time.
fn begins_until(until: Instant) -> Instant {
    let now = Instant::now();
    let left = until.saturating_duration_since(now);
    now + left.saturating_sub(Duration::from_millis(MOST_MESSAGE_MS) + AROUND_A_MESSAGE)
}

/// Sinks that are told by one way.
pub struct Sinks<W> {
    way: W,
    /// When no other message is begun.
    until: Mutex<Instant>,
}

impl<W: Way> Sinks<W> {
    pub fn by(way: W) -> Self {
        Self { way, until: Mutex::new(Instant::now()) }
    }

    /// An invocation begins: from then on no message does.
    pub fn begin(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn is_over(&self) -> bool {
        Instant::now() >= *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Way> Notifier for Sinks<W> {
    fn tells(&self, target: &SinkTarget) -> bool {
        self.way.tells(target)
    }

    fn queue(&self, names: &Names) -> String {
        self.way.queue(names)
    }

    fn tell<'a>(
        &'a self,
        home: &'a AwsHome,
        chain: &'a ChainName,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // Reads the table anew: the last message may have taken half a minute, and the pipeline may have changed.
            let step = home.begin();
            let home = &step.home;
            let (_, pipeline) = home.yard.chain(chain).await?;
            let Some(sink) = pipeline.sinks.get(name).filter(|sink| self.tells(&sink.target)) else {
                return Ok(());
            };
            let told = ToldSink { home, chain, name, target: &sink.target };
            let mut telling = Telling { sinks: self, told };
            // Who needs the block, or what a stage came to, fetches it.
            let (is_level, results) = (sink.is_level(), &BTreeSet::new());
            let sink = SinkOf { chain, name, is_level, results, names_block: false };
            if sink.step(&home.yard, &mut telling).await? {
                home.yard.port.send(&[Wake::Sink { chain: chain.clone(), sink: name.to_owned() }]).await;
            }
            Ok(())
        })
    }

    fn acts(&self) -> bool {
        self.way.acting().is_some()
    }

    fn act<'a>(&'a self, home: &'a AwsHome, pool: &'a str) -> LocalBoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if let Some(acting) = self.way.acting()
                && acting.act(home, pool, &|| self.is_over()).await?
            {
                home.yard.port.send(&[Wake::Pool { pool: pool.to_owned() }]).await;
            }
            Ok(())
        })
    }
}

/// One step's way to a sink.
struct Telling<'a, W> {
    sinks: &'a Sinks<W>,
    told: ToldSink<'a>,
}

impl<W: Way> Teller for Telling<'_, W> {
    async fn tell(&mut self, message: &Message) -> Outcome {
        self.sinks.way.tell(self.told, message).await
    }

    fn place_of(&self, artifact: &ArtifactRef) -> PathBuf {
        PathBuf::from(self.told.home.objects.address(artifact))
    }

    fn is_stopped(&self) -> bool {
        self.sinks.is_over()
    }

    fn log(&self, message: String) {
        warn!(chain = %self.told.chain, sink = self.told.name, "{message}");
    }
}
