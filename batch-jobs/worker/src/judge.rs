//! The judge: a worker that claims nothing. It is told of tasks by its queue, verifies what they say once more, and writes
//! down whether it stands. Its role may write nothing else.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_aws::AwsHome;
use proofyard_aws::clients::block_on;
use proofyard_aws::queues::Incoming;
use proofyard_aws::queues::message::{Event, Message};
use proofyard_core::judge::{JUDGE_POOL, Judged};
use proofyard_core::port::{Port, Wake};
use proofyard_core::state::TaskId;
use proofyard_prover::runner::GuardCommand;
use proofyard_worker::Verifier;
use tokio::runtime::{Handle, Runtime};
use tracing::{error, info, warn};

use crate::spot::{LOOK_EVERY, SpotNotice};
use crate::{Place, WorkerArguments, WorkerError, attempt};

/// Verifiers side by side: most use one core, and wait for the bucket besides.
const MOST_SLOTS: usize = 16;
/// A poll is as long, which is how soon a slot sees that it is to stop.
const POLL_S: u32 = 5;
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);
/// What nothing can be said of now is asked again after so long.
const AGAIN_S: u32 = 5;

/// Judges until there is nothing to judge for a while, or it must go.
pub(crate) fn work(
    arguments: &WorkerArguments,
    aws: AwsHome,
    runtime: &Runtime,
    guard: GuardCommand,
    stop: &AtomicBool,
) -> Result<(), WorkerError> {
    let slots = thread::available_parallelism().map_or(1, usize::from).min(MOST_SLOTS) as u32;
    let chains = runtime.block_on(aws.yard.chains())?;
    let place = Place::prepare(arguments, &aws, runtime, &guard, &chains, slots)?;
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
            scope.spawn(|| judge.watch_for_the_end(stop));
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
            let told = match self.block_on(self.aws.queues.receive(&queue, POLL_S)) {
                Ok(told) => told,
                Err(trouble) => {
                    warn!(judge = self.name, %trouble, "the queue cannot be read");
                    thread::sleep(TROUBLE_PAUSE);
                    continue;
                }
            };
            if told.is_empty() {
                continue;
            }
            let (done, again): (Vec<&Incoming>, Vec<&Incoming>) = told
                .iter()
                .partition(|told| !stop.load(Ordering::Relaxed) && self.is_done(verifier, &told.body));
            self.block_on(self.aws.deliver());
            let again: Vec<_> = again.into_iter().map(|told| (told, AGAIN_S)).collect();
            let told = self.block_on(async {
                self.aws.queues.delete(&queue, &done).await?;
                self.aws.queues.retry_after(&queue, &again).await
            });
            if let Err(trouble) = told {
                // They come again, and are judged already.
                warn!(judge = self.name, %trouble, "the queue cannot be told what is done");
            }
            worked = Instant::now();
        }
    }

    fn is_idle_since(&self, worked: Instant) -> bool {
        self.idle_out.is_some_and(|ms| worked.elapsed() >= Duration::from_millis(ms))
    }

    /// False for a message that is to come again. Whoever waits for a judgement sends another one anyway.
    fn is_done(&self, verifier: &mut JudgesVerifier, body: &str) -> bool {
        let Some(task) = task_in(body) else {
            warn!(judge = self.name, body, "this is no word to the judge");
            return true;
        };
        let began = Instant::now();
        let invocation = self.aws.begin();
        let judged = self.block_on(invocation.home.yard.judge(verifier, &self.name, &task));
        // Its wakes are delivered with those of the other messages.
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
            Err(trouble) => {
                warn!(judge = self.name, %task, %trouble, "it cannot be judged now");
                return false;
            }
        }
        true
    }

    fn watch_for_the_end(&self, stop: &AtomicBool) {
        let spot = SpotNotice::new();
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
            if let Some(notice) = self.block_on(spot.look()) {
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
