//! What dispatching costs, from the times of each task: one rule for yards and for what they are compared with.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{BenchError, Load, Quantiles};

/// A block that was taken in.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// When it came: when it was due, where the load has a rate.
    pub came: Instant,
    pub acknowledged: Instant,
}

impl Taken {
    pub fn took(&self) -> Duration {
        self.acknowledged.saturating_duration_since(self.came)
    }
}

/// One task.
#[derive(Clone, Debug)]
pub struct TaskTimes {
    /// Of its block.
    pub height: u64,
    /// Its number among its block's segments; none: it joins them.
    pub segment: Option<u32>,
    /// Since when its worker had nothing to do.
    pub worker_free: Instant,
    /// When its worker had claimed it.
    pub claimed: Instant,
    /// When its result was recorded.
    pub recorded: Instant,
    /// From the claim until then, without the time in prover and verifier.
    pub working: Duration,
}

/// What was measured of tasks. Those of the warm-up are not in it: the first tenth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dispatching {
    /// Until a block is on disk; from when it was due, where the load has a rate.
    pub acknowledgement: Quantiles,
    /// From when a task could have started (its block acknowledged, its slot free) until its slot had claimed it.
    pub waiting: Quantiles,
    /// The slot's time around prover and verifier: gathering, storing, recording, and the next steps.
    pub around_provers: Quantiles,
    /// Both: what dispatching a task costs.
    pub overhead: Quantiles,
    pub tasks: u64,
    pub tasks_a_second: f64,
    /// What the workers were in provers and verifiers, of all of their time.
    pub busy: f64,
}

impl Dispatching {
    /// Of a load's blocks in their order, and of its tasks in any.
    pub fn of(load: &Load, taken: &[Taken], mut tasks: Vec<TaskTimes>) -> Result<Self, BenchError> {
        tasks.sort_by_key(|task| task.recorded);
        // In the order of their ends, so that the last one counts.
        let last_segment: HashMap<u64, Instant> = tasks
            .iter()
            .filter(|task| task.segment.is_some())
            .map(|task| (task.height, task.recorded))
            .collect();
        // When all that the task reads was there: its block's acknowledgement, or the last result that it joins. Blocks that
        // were taken in by an earlier machine were there all the time.
        let inputs_ready = |task: &TaskTimes| match task.segment {
            None => last_segment.get(&task.height).copied(),
            Some(_) => {
                let place = usize::try_from(task.height.checked_sub(*load.heights().start())?).ok()?;
                taken.get(place).filter(|_| load.open == 0).map(|block| block.acknowledged)
            }
        };
        let waited = |task: &TaskTimes| {
            let ready = inputs_ready(task).unwrap_or(task.worker_free);
            task.claimed.saturating_duration_since(ready.max(task.worker_free))
        };
        let kept = &tasks[tasks.len() / 10..];
        let (Some(first), Some(last)) = (kept.first(), kept.last()) else {
            return Err(BenchError::Load("no task was measured".to_owned()));
        };
        let waiting: Vec<Duration> = kept.iter().map(waited).collect();
        let around: Vec<Duration> = kept.iter().map(|task| task.working).collect();
        let overhead = waiting.iter().zip(&around).map(|(waited, around)| *waited + *around).collect();
        let span = last.recorded.saturating_duration_since(first.recorded).as_secs_f64();
        // Only what lies in the span.
        let proved = |task: &TaskTimes| {
            let (took, since) = (task.recorded - task.claimed, task.recorded - first.recorded);
            took.saturating_sub(task.working).min(since)
        };
        let in_provers: Duration = kept.iter().map(proved).sum();
        let blocks = &taken[taken.len() / 10..];
        Ok(Self {
            acknowledgement: Quantiles::of(blocks.iter().map(Taken::took).collect()),
            waiting: Quantiles::of(waiting),
            around_provers: Quantiles::of(around),
            overhead: Quantiles::of(overhead),
            tasks: tasks.len() as u64,
            tasks_a_second: (kept.len() - 1) as f64 / span.max(f64::MIN_POSITIVE),
            busy: in_provers.as_secs_f64() / (span * f64::from(load.workers)).max(f64::MIN_POSITIVE),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on is over")]

    use super::*;

    #[test]
    fn a_join_waits_from_its_last_segment_and_a_segment_from_its_block() {
        let from = Instant::now();
        let at = |ms| from + Duration::from_millis(ms);
        let task = |segment, free, claimed, recorded| TaskTimes {
            height: 1,
            segment,
            worker_free: at(free),
            claimed: at(claimed),
            recorded: at(recorded),
            working: Duration::from_millis(1),
        };
        let load = Load::in_process(0, 2, 0, 3, 2);
        let taken = [Taken { came: at(7), acknowledged: at(10) }];
        // One worker is free before its segment is there, the other comes late; the join waits 4 ms for nothing.
        let tasks = vec![task(None, 30, 44, 60), task(Some(0), 0, 12, 30), task(Some(1), 20, 21, 40)];
        let measured = Dispatching::of(&load, &taken, tasks).unwrap();
        assert_eq!((measured.tasks, measured.acknowledgement.max_ms), (3, 3.0));
        assert_eq!((measured.waiting.p50_ms, measured.waiting.max_ms), (2.0, 4.0));
        assert_eq!((measured.overhead.p50_ms, measured.overhead.max_ms), (3.0, 5.0));
    }
}
