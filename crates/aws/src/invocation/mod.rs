//! One invocation: the handling of one message, or one round of steps, from its first read to its last send.
//!
//! - [`Invocation`]: a home whose port reads nothing twice, with an outbox of its own; its steps are taken here;
//! - [`consume`]: how each message is handled, and when it is delivered again; [`sweep`]: what is due; [`ticks`]: when to
//!   sweep;
//! - [`delivery`]: wakes put on the queues; [`supplier`]: whether those of a pool go to its workers, or to the function that
//!   holds keys; [`redrive`]: dead letters put back.

pub mod consume;
pub mod delivery;
pub mod redrive;
mod supplier;
pub mod sweep;
pub mod ticks;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use proofyard_core::error::{Coded, Error, with_causes};
use proofyard_core::outbox::Outbox;
use proofyard_core::pipeline::SinkTarget;
use proofyard_core::port::Wake;
use proofyard_core::state::ChainName;
use tracing::error;

use crate::home::AwsHome;
use crate::objects::sinks::hand_on;

/// One invocation. Everything that it reads and writes goes through its own `home.yard`. When it is dropped, the wakes that
/// it has not delivered go to the outbox of the home that it was begun from.
pub struct Invocation {
    pub home: AwsHome,
    outbox_behind: Arc<Outbox>,
}

impl AwsHome {
    /// Begins an invocation: nothing is read yet.
    pub fn begin(&self) -> Invocation {
        let outbox_behind = Arc::clone(self.yard.port.outbox());
        Invocation { home: self.over(self.yard.port.for_one_invocation()), outbox_behind }
    }

    /// Takes the steps that this home's outbox holds, in one invocation.
    pub fn take_steps_until(&self, until: Instant) -> LocalBoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.begin().take_steps_until(until).await })
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.outbox_behind.put(self.home.yard.port.outbox().take_all());
    }
}

impl Invocation {
    /// Takes the steps that its handlers have sent, and those of the outbox behind it, as long as there is time; puts the
    /// rest on the queues. A step that fails permanently is logged: its item stays due, and the sweeper retries.
    pub fn take_steps_until(&self, until: Instant) -> LocalBoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let outbox = self.home.yard.port.outbox();
            self.home.yard.port.take_over(&self.outbox_behind);
            let mut passing = None;
            while Instant::now() < until
                && passing.is_none()
                && let Some(step) = outbox.take(|wake| self.takes(wake))
            {
                match self.take_step(&step).await {
                    Ok(()) => {}
                    Err(error) if error.passes() => passing = Some(error),
                    Err(error) => {
                        error!(?step, code = %error.code(), error = %with_causes(&error), "a step cannot be taken")
                    }
                }
            }
            self.home.deliver().await;
            passing.map_or(Ok(()), Err)
        })
    }

    /// Whether a step is this process's own. Those who tell sinks may not advance: that is the collector's.
    fn takes(&self, wake: &Wake) -> bool {
        match wake {
            Wake::Sink { .. } => true,
            Wake::Chain { .. } | Wake::Scope { .. } => self.home.notifier.is_none(),
            Wake::Pool { .. } => self.home.notifier.as_ref().is_some_and(|notifier| notifier.acts()),
            Wake::Judge { .. } => false,
        }
    }

    async fn take_step(&self, step: &Wake) -> Result<(), Error> {
        match step {
            Wake::Sink { chain, sink } => self.tell_sink(chain, sink).await,
            Wake::Pool { pool } => match &self.home.notifier {
                Some(notifier) => notifier.act(&self.home, pool).await,
                None => Ok(()),
            },
            step => self.home.yard.advance(step).await,
        }
    }

    /// A file's entries are put into the bucket at once. Whoever else is told may hang, which is to hold up nothing here:
    /// functions of their own tell them.
    async fn tell_sink(&self, chain: &ChainName, name: &str) -> Result<(), Error> {
        let home = &self.home;
        let (_, pipeline) = home.yard.chain(chain).await?;
        let Some(sink) = pipeline.sinks.get(name) else { return Ok(()) };
        match (&sink.target, &home.notifier) {
            (SinkTarget::File { path }, None) => {
                hand_on(&home.yard, &home.objects, (chain, name), path).await
            }
            (target, Some(notifier)) if notifier.tells(target) => notifier.tell(home, chain, name).await,
            // It has become one that others tell, whom the sweeper wakes.
            (_, Some(_)) => Ok(()),
            (target, None) => {
                let queue = match target.holds_key() {
                    true => home.names.propose_queue(),
                    false => home.names.notify_queue(),
                };
                let wake = Wake::Sink { chain: chain.clone(), sink: name.to_owned() };
                home.wake_sinks(&queue, vec![wake]).await;
                Ok(())
            }
        }
    }
}
