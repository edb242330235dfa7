//! The functions' work without Lambda: a process that polls the queues itself.
//!
//! Each poller takes a batch at a time. SQS keeps the messages of one group in order, whoever polls; so as many groups are
//! handled at a time as there are pollers. The sweeper needs no queue here: it sweeps at each tick.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::error::{Coded, with_causes};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::clients::block_on;
use crate::home::AwsHome;
use crate::queues::{Incoming, QueueError};

/// A batch's messages are invisible for thirty seconds; it must be handled before.
const TIME_OF_A_BATCH: Duration = Duration::from_secs(20);
/// How long a poll waits for messages, and so how soon a poller notices that it is to stop.
const POLL_S: u32 = 2;
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// What a process does for a yard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Dispatcher,
    Collector,
    Sweeper,
}

/// Works until `stop`. Each queue's role has so many pollers, each a thread.
pub fn serve(home: &AwsHome, runtime: &Handle, roles: &[Role], pollers: usize, stop: &AtomicBool) {
    thread::scope(|scope| {
        for role in roles {
            let queue = match role {
                Role::Dispatcher => home.names.blocks_queue(),
                Role::Collector => home.names.results_queue(),
                Role::Sweeper => {
                    scope.spawn(|| sweep(home, runtime, stop));
                    continue;
                }
            };
            for _ in 0..pollers {
                let queue = queue.clone();
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if let Err(error) = block_on(runtime, poll(home, &queue)) {
                            warn!(queue, error = %with_causes(&error), "polling failed; it is tried again");
                            thread::sleep(ERROR_PAUSE);
                        }
                    }
                });
            }
        }
        info!(?roles, pollers, "serving");
    });
}

async fn poll(home: &AwsHome, queue: &str) -> Result<(), QueueError> {
    let messages = home.queues.receive(queue, POLL_S).await?;
    if messages.is_empty() {
        return Ok(());
    }
    let again = home.take_batch(queue, &messages, Instant::now() + TIME_OF_A_BATCH).await;
    let done: Vec<&Incoming> = messages.iter().filter(|message| !again.contains(&message.id)).collect();
    home.queues.delete(queue, &done).await
}

fn sweep(home: &AwsHome, runtime: &Handle, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let swept = block_on(runtime, async {
            home.sweep().await?;
            home.take_steps_until(began + TIME_OF_A_BATCH).await?;
            home.shortest_tick_ms().await
        });
        let pause = match swept {
            Ok(tick_ms) => Duration::from_millis(tick_ms),
            Err(error) => {
                warn!(code = %error.code(), error = %with_causes(&error), "a sweep failed; the next one comes");
                ERROR_PAUSE
            }
        };
        while began.elapsed() < pause && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100).min(pause));
        }
    }
}
