//! One invocation: the handling of one message, or one round of steps, from its first read to its last send.
//!
//! - [`Invocation`]: a home whose port reads nothing twice, with an outbox of its own; its steps are taken here;
//! - [`consume`]: how each message is handled, and when it is delivered again; [`sweep`]: what is due; [`ticks`]: when to
//!   sweep;
//! - [`delivery`]: wakes put on the queues; [`redrive`]: dead letters put back.

pub mod consume;
pub mod delivery;
pub mod redrive;
pub mod sweep;
pub mod ticks;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use proofyard_core::error::{Error, with_causes};
use proofyard_core::outbox::Outbox;
use proofyard_core::port::Wake;
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
                && let Some(step) = outbox.take_step()
            {
                match self.take_step(&step).await {
                    Ok(()) => {}
                    Err(error) if error.passes() => passing = Some(error),
                    Err(error) => error!(?step, error = %with_causes(&error), "a step cannot be taken"),
                }
            }
            self.home.deliver().await;
            passing.map_or(Ok(()), Err)
        })
    }

    async fn take_step(&self, step: &Wake) -> Result<(), Error> {
        match step {
            Wake::Sink { chain, sink } => hand_on(&self.home.yard, &self.home.objects, chain, sink).await,
            step => self.home.yard.advance(step).await,
        }
    }
}
