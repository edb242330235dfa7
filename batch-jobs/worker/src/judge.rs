//! The judge: a worker that claims no tasks. Its queue names tasks whose results are to be handed on; it verifies each of
//! them once more, and writes a judgement. Its role may write nothing else.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_aws::AwsHome;
use proofyard_aws::clients::block_on;
use proofyard_aws::queues::Incoming;
use proofyard_aws::queues::message::{Event, Message};
use proofyard_core::error::{Coded, with_causes};
use proofyard_core::judge::{JUDGE_POOL, Judged};
use proofyard_core::port::{Port, Wake};
use proofyard_core::state::TaskId;
use proofyard_prover::runner::GuardCommand;
use proofyard_worker::Verifier;
use tokio::runtime::{Handle, Runtime};
use tracing::{error, info, warn};

use crate::spot::{POLL_EVERY, SpotNotice};
use crate::{ProverSite, WorkerArguments, WorkerError, attempt};

/// The most verifiers at a time: most use one core, and wait for the bucket besides.
const MAX_SLOTS: usize = 16;
/// How long a poll waits for messages, and so how soon a slot notices that it is to stop.
const POLL_S: u32 = 5;
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// A message whose task cannot be judged now is delivered again after so long.
const RETRY_AFTER_S: u32 = 5;

/// Judges until there was nothing to judge for a while, or the machine goes away.
pub(crate) fn work(
    arguments: &WorkerArguments,
    aws: AwsHome,
    runtime: &Runtime,
    guard: GuardCommand,
    stop: &AtomicBool,
) -> Result<(), WorkerError> {
    let slots = thread::available_parallelism().map_or(1, usize::from).min(MAX_SLOTS) as u32;
    let chains = runtime.block_on(aws.yard.chains())?;
    let place = ProverSite::prepare(arguments, &aws, runtime, &guard, &chains, slots)?;
    let job = env::var("AWS_BATCH_JOB_ID").ok();
    let name = job.as_ref().map_or_else(
        || format!("judge-{:016x}", aws.yard.port.random()),
        |job| format!("judge-{job}-{}", attempt()),
    );
    info!(judge = name, slots, "the judge looks at what is to be handed on");
    let judge = Judge { aws, runtime: runtime.handle().clone(), name, idle_out: arguments.idle_out_ms };
    let run = |slot| {
        let mut verifier = Verifier::isolated(
            Arc::clone(&place.artifacts),
            guard.clone(),
            Arc::clone(&place.work_dir),
            Arc::clone(&place.isolation),
            slot,
        );
        judge.run_slot(&mut verifier, stop);
    };
    thread::scope(|scope| {
        let run = &run;
        let slots: Vec<_> = (0..slots).map(|slot| scope.spawn(move || run(slot))).collect();
        if job.is_some() {
            scope.spawn(|| judge.watch_for_spot_notice(stop));
        }
        let panicked = slots.into_iter().filter_map(|slot| slot.join().err()).count();
        if panicked > 0 {
            error!(panicked, "slots ended in a panic; what they had is told again");
        }
        stop.store(true, Ordering::Relaxed);
    });
    info!(judge = judge.name, "the judge has ended");
    Ok(())
}

struct Judge {
    aws: AwsHome,
    runtime: Handle,
    name: String,
    idle_out: Option<u64>,
}

type JudgesVerifier = Verifier<proofyard_aws::objects::artifacts::ObjectArtifacts>;

impl Judge {
    fn run_slot(&self, verifier: &mut JudgesVerifier, stop: &AtomicBool) {
        let queue = self.aws.names.wake_queue(JUDGE_POOL);
        let mut worked = Instant::now();
        while !stop.load(Ordering::Relaxed) && !self.is_idle_since(worked) {
            let messages = match self.block_on(self.aws.queues.receive(&queue, POLL_S)) {
                Ok(messages) => messages,
                Err(error) => {
                    warn!(judge = self.name, error = %with_causes(&error), "the queue cannot be read");
                    thread::sleep(ERROR_PAUSE);
                    continue;
                }
            };
            if messages.is_empty() {
                continue;
            }
            let (done, again): (Vec<&Incoming>, Vec<&Incoming>) = messages
                .iter()
                .partition(|message| !stop.load(Ordering::Relaxed) && self.is_done(verifier, &message.body));
            self.block_on(self.aws.deliver());
            let again: Vec<_> = again.into_iter().map(|message| (message, RETRY_AFTER_S)).collect();
            let answered = self.block_on(async {
                self.aws.queues.delete(&queue, &done).await?;
                self.aws.queues.retry_after(&queue, &again).await
            });
            if let Err(error) = answered {
                // They are delivered again, and found to be judged.
                warn!(judge = self.name, error = %with_causes(&error), "the queue cannot be told what is done");
            }
            worked = Instant::now();
        }
    }

    fn is_idle_since(&self, worked: Instant) -> bool {
        self.idle_out.is_some_and(|ms| worked.elapsed() >= Duration::from_millis(ms))
    }

    /// Judges the task that a message names; false if the message is to be delivered again. A scope that waits for a
    /// judgement also sends another one.
    fn is_done(&self, verifier: &mut JudgesVerifier, body: &str) -> bool {
        let Some(task) = task_in(body) else {
            warn!(judge = self.name, body, "this is no word to the judge");
            return true;
        };
        let began = Instant::now();
        let invocation = self.aws.begin();
        let judged = self.block_on(invocation.home.yard.judge(verifier, &self.name, &task));
        // Dropped here, so that its wakes are delivered with those of the other messages.
        drop(invocation);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match judged {
            Ok(Judged::Stands) => info!(judge = self.name, %task, took_ms, "it stands"),
            Ok(Judged::Refused(reason)) => error!(judge = self.name, %task, took_ms, reason, "it is refused"),
            Ok(Judged::Before | Judged::Nothing) => {}
            Ok(Judged::Later(reason)) => {
                warn!(judge = self.name, %task, reason, "nothing can be said of it now");
                return false;
            }
            Err(error) => {
                warn!(judge = self.name, %task, code = %error.code(), error = %with_causes(&error), "it cannot be judged now");
                return false;
            }
        }
        true
    }

    fn watch_for_spot_notice(&self, stop: &AtomicBool) {
        let spot = SpotNotice::new();
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(POLL_EVERY);
            if let Some(notice) = self.block_on(spot.poll()) {
                warn!(judge = self.name, notice, "this machine is taken back");
                stop.store(true, Ordering::Relaxed);
            }
        }
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        block_on(&self.runtime, work)
    }
}

fn task_in(body: &str) -> Option<TaskId> {
    match Event::read(body).ok()? {
        Event::Message(message) => match *message {
            Message::Wake(Wake::Judge { task }) => Some(task),
            _ => None,
        },
        _ => None,
    }
}
