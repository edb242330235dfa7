//! A load's workers, a thread and a connection each, and what each task took.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_bench::{BenchError, Dispatching, Load, MOST_QUIET, Taken, TaskTimes};

use crate::systems::Server;
use crate::{BaselineError, Queue, Task};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How long a worker waits for a task before it looks whether it is to end.
const CLAIM_WAIT: Duration = Duration::from_secs(1);

pub fn run(
    server: &dyn Server,
    load: &Load,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Dispatching, BaselineError> {
    let mut feeder = server.connect()?;
    let mut queues = Vec::new();
    for _ in 0..load.workers {
        if stop() {
            return Err(BenchError::Interrupted.into());
        }
        queues.push(server.connect()?);
    }
    let (taken, times) = match load.is_closed() {
        false => {
            let ((taken, queues), times) = work_while(load, queues, stop, || feed(load, feeder, stop))?;
            feeder = queues;
            (taken, times)
        }
        true => {
            let (taken, fed) = feed(load, feeder, stop)?;
            feeder = fed;
            (taken, work_while(load, queues, stop, || Ok(()))?.1)
        }
    };
    expect_sound(load, &times, feeder.open_tasks()?)?;
    Ok(Dispatching::of(load, &taken, times.into_iter().map(|done| done.times).collect())?)
}

fn feed(
    load: &Load,
    mut queue: Box<dyn Queue>,
    stop: &dyn Fn() -> bool,
) -> Result<(Vec<Taken>, Box<dyn Queue>), BaselineError> {
    let taken = load.feed(stop, |height| queue.enqueue(height, load.segments))?;
    Ok((taken, queue))
}

/// What all see.
#[derive(Default)]
struct Shared {
    done: AtomicU64,
    ended: AtomicBool,
}

/// A task that one worker did.
struct Done {
    times: TaskTimes,
    /// The worker's sleep was over.
    proved: Instant,
}

/// Has a load's tasks done, and something else meanwhile.
fn work_while<T>(
    load: &Load,
    queues: Vec<Box<dyn Queue>>,
    stop: &dyn Fn() -> bool,
    meanwhile: impl FnOnce() -> Result<T, BaselineError>,
) -> Result<(T, Vec<Done>), BaselineError> {
    let shared = Shared::default();
    thread::scope(|scope| {
        let workers: Vec<_> = queues
            .into_iter()
            .map(|queue| {
                let shared = &shared;
                scope.spawn(move || {
                    let worked = work(queue, shared, load.prove());
                    if worked.is_err() {
                        shared.ended.store(true, Ordering::Relaxed);
                    }
                    worked
                })
            })
            .collect();
        let stop_or_ended = || stop() || shared.ended.load(Ordering::Relaxed);
        let waited = meanwhile().and_then(|is| Ok((is, wait_for_all(load, &shared, &stop_or_ended)?)));
        shared.ended.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for worker in workers {
            let worked = worker.join();
            // Why a worker ended counts more than that the others were interrupted for it.
            times.extend(worked.map_err(|_| BaselineError::Unsound("a worker panicked".to_owned()))??);
        }
        Ok((waited?.0, times))
    })
}

fn work(mut queue: Box<dyn Queue>, shared: &Shared, prove: Duration) -> Result<Vec<Done>, BaselineError> {
    let (mut times, mut worker_free) = (Vec::new(), Instant::now());
    while !shared.ended.load(Ordering::Relaxed) {
        let Some(task) = queue.claim(CLAIM_WAIT)? else { continue };
        let claimed = Instant::now();
        if !prove.is_zero() {
            thread::sleep(prove);
        }
        let proved = Instant::now();
        queue.complete(task)?;
        let recorded = Instant::now();
        let Task { height, segment, .. } = task;
        let working = recorded - proved;
        times.push(Done {
            times: TaskTimes { height, segment, worker_free, claimed, recorded, working },
            proved,
        });
        worker_free = recorded;
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(times)
}

fn wait_for_all(load: &Load, shared: &Shared, stop: &dyn Fn() -> bool) -> Result<(), BenchError> {
    let most_quiet = MOST_QUIET + load.prove();
    let (mut done, mut since) = (0, Instant::now());
    while done < load.tasks() {
        thread::sleep(LOOK);
        if stop() {
            return Err(BenchError::Interrupted);
        }
        let now = shared.done.load(Ordering::Relaxed);
        if now != done {
            (done, since) = (now, Instant::now());
        }
        if since.elapsed() > most_quiet {
            let reason = "the server hands out no more".to_owned();
            return Err(BenchError::Stuck {
                done,
                tasks: load.tasks(),
                quiet_s: most_quiet.as_secs(),
                reason,
            });
        }
    }
    Ok(())
}

/// Each task was done once, none joined what was not proved, and the system knows of nothing more.
fn expect_sound(load: &Load, done: &[Done], open: u64) -> Result<(), BaselineError> {
    let unsound = |what: String| Err(BaselineError::Unsound(what));
    let mut once = HashSet::new();
    let mut last_proved: HashMap<u64, Instant> = HashMap::new();
    for Done { times, proved } in done {
        if !once.insert((times.height, times.segment)) {
            return unsound(format!("{:?} of block {} was done twice", times.segment, times.height));
        }
        if times.segment.is_some() {
            let last = last_proved.entry(times.height).or_insert(*proved);
            *last = (*last).max(*proved);
        }
    }
    if once.len() as u64 != load.tasks() {
        return unsound(format!("{} of {} were done", once.len(), load.tasks()));
    }
    for Done { times, .. } in done.iter().filter(|done| done.times.segment.is_none()) {
        if last_proved.get(&times.height).is_none_or(|last| times.claimed < *last) {
            return unsound(format!("block {} was joined before all of it was proved", times.height));
        }
    }
    match open {
        0 => Ok(()),
        open => unsound(format!("{open} are still open")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on is over")]

    use super::*;

    /// Two segments and their join.
    fn load() -> Load {
        Load::in_process(0, 1, 0, 3, 2)
    }

    fn done(segment: Option<u32>, claimed_ms: u64, proved_ms: u64, from: Instant) -> Done {
        let at = |ms| from + Duration::from_millis(ms);
        let recorded = at(proved_ms + 1);
        let working = Duration::from_millis(1);
        let times =
            TaskTimes { height: 1, segment, worker_free: from, claimed: at(claimed_ms), recorded, working };
        Done { times, proved: at(proved_ms) }
    }

    #[test]
    fn what_was_done_otherwise_than_it_must_be_is_no_figure() {
        let from = Instant::now();
        let [first, second, join] = [(Some(0), 0, 1), (Some(1), 2, 4), (None, 5, 6)];
        let check = |tasks: &[(Option<u32>, u64, u64)], open| {
            let done: Vec<_> =
                tasks.iter().map(|(task, claimed, proved)| done(*task, *claimed, *proved, from)).collect();
            expect_sound(&load(), &done, open).map_err(|error| error.to_string())
        };
        let expect_unsound = |tasks: &[(Option<u32>, u64, u64)], open, what: &str| {
            let said = check(tasks, open).unwrap_err();
            assert!(said.contains(what), "{said}");
        };
        assert_eq!(check(&[first, second, join], 0), Ok(()));
        expect_unsound(&[first, join], 0, "2 of 3 were done");
        expect_unsound(&[first, first, join], 0, "was done twice");
        expect_unsound(&[first, second, (None, 3, 5)], 0, "joined before all of it was proved");
        expect_unsound(&[first, second, join], 1, "1 are still open");
    }
}
