//! What a run took: figures worked out of each task's and block's times.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proofyard_worker::Sample;
use serde::Serialize;

use crate::load::Load;
use crate::run::Observed;
use crate::taking_in::Taken;
use crate::usage::peak_memory_bytes;
use crate::{BenchError, Quantiles};

/// What was measured. Tasks of the warm-up are not in it: the first tenth.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Until a block is on disk; from when it was due, where the load has a rate.
    pub acknowledgement: Quantiles,
    /// From when a task could have started (its block acknowledged, its slot free) until its slot had claimed it.
    pub waiting: Quantiles,
    /// The slot's time around prover and verifier: gathering, storing, recording, and the next steps.
    pub around_provers: Quantiles,
    /// Both: what dispatching a task costs.
    pub overhead: Quantiles,
    /// From when a block was due to its commit, less [`Load::critical_path`]. Empty where all blocks are there at once: they
    /// wait for each other.
    pub block_overhead: Quantiles,
    pub tasks: u64,
    pub tasks_a_second: f64,
    /// What the workers were in provers and verifiers, of all of their time.
    pub busy: f64,
    pub cpu_ms_a_task: f64,
    /// Of provers, verifiers and their guards.
    pub provers_cpu_ms_a_task: f64,
    /// Durable commits and syncs of artifacts that a task's workers wait for; several tasks may share one.
    pub syncs_waited_a_task: f64,
    /// How many the disk was asked for.
    pub syncs_done_a_task: f64,
    /// Of this process, since the measured part began.
    pub peak_memory_bytes: u64,
    /// At the end.
    pub database_bytes: u64,
    /// Where blocks are open behind those that are measured.
    pub growth: Option<Growth>,
}

/// A yard with many open blocks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Growth {
    /// Blocks acknowledged, opened and listed a second.
    pub taken_in_a_second: f64,
    /// With all of them open.
    pub database_bytes: u64,
    /// From when the machine is opened anew until a slot has claimed a task.
    pub restart_to_claim_ms: f64,
}

impl Measured {
    pub(crate) fn of(load: &Load, mut observed: Observed) -> Result<Self, BenchError> {
        let samples = &mut observed.samples;
        samples.sort_by_key(|sample| sample.recorded);
        let tasks = samples.len() as u64;
        let mut inputs_ready = inputs_ready(load, &observed.taken, samples);
        let kept = &samples[samples.len() / 10..];
        let (Some(first), Some(last)) = (kept.first(), kept.last()) else {
            return Err(BenchError::Load("no task was measured".to_owned()));
        };
        let waits = |sample: &Sample| {
            let ready = inputs_ready.remove(&key(sample)).unwrap_or(sample.slot_free);
            sample.claimed.saturating_duration_since(ready.max(sample.slot_free))
        };
        let waiting: Vec<Duration> = kept.iter().map(waits).collect();
        let around: Vec<Duration> = kept.iter().map(|sample| sample.working).collect();
        let overhead = waiting.iter().zip(&around).map(|(waited, around)| *waited + *around).collect();
        let span = last.recorded.saturating_duration_since(first.recorded).as_secs_f64();
        // Only what lies in the span.
        let proved = |sample: &Sample| {
            let (took, since) = (sample.recorded - sample.claimed, sample.recorded - first.recorded);
            took.saturating_sub(sample.working).min(since)
        };
        let in_provers: Duration = kept.iter().map(proved).sum();
        let per_task = |total: f64| total / observed.done.max(1) as f64;
        let per_task_ms = |time: Duration| per_task(time.as_secs_f64() * 1_000.0);
        let taken = &observed.taken[observed.taken.len() / 10..];
        Ok(Measured {
            acknowledgement: Quantiles::of(taken.iter().map(Taken::took).collect()),
            waiting: Quantiles::of(waiting),
            around_provers: Quantiles::of(around),
            overhead: Quantiles::of(overhead),
            block_overhead: block_overhead(load, &observed.taken, &observed.commits),
            tasks,
            tasks_a_second: (kept.len() - 1) as f64 / span.max(f64::MIN_POSITIVE),
            busy: in_provers.as_secs_f64() / (span * f64::from(load.workers)).max(f64::MIN_POSITIVE),
            cpu_ms_a_task: per_task_ms(observed.cpu.own),
            provers_cpu_ms_a_task: per_task_ms(observed.cpu.children),
            syncs_waited_a_task: per_task(observed.syncs.waited_for as f64),
            syncs_done_a_task: per_task(observed.syncs.done as f64),
            peak_memory_bytes: peak_memory_bytes(),
            database_bytes: observed.database_bytes,
            growth: observed.growth,
        })
    }
}

fn block_overhead(load: &Load, taken: &[Taken], commits: &[Instant]) -> Quantiles {
    let both = taken.iter().zip(commits).skip(taken.len() / 10);
    let proving = load.critical_path();
    let overhead = |(taken, committed): (&Taken, &Instant)| {
        committed.saturating_duration_since(taken.came).saturating_sub(proving)
    };
    Quantiles::of(both.map(overhead).collect())
}

/// A task by its block's height, its stage and its index.
type TaskKey = (u64, String, u32);

fn key(sample: &Sample) -> TaskKey {
    (sample.height, sample.task.stage.clone(), sample.task.index)
}

/// When all that each task reads was there: its block's acknowledgement, or the last result that it joins. Blocks that were
/// taken in by an earlier machine were there all the time.
fn inputs_ready(load: &Load, taken: &[Taken], samples: &[Sample]) -> HashMap<TaskKey, Instant> {
    let first = *load.heights().start();
    let acknowledged = |height: u64| {
        let place = usize::try_from(height.checked_sub(first)?).ok()?;
        taken.get(place).filter(|_| load.open == 0).map(|block| block.acknowledged)
    };
    let mut last_segment: HashMap<u64, Instant> = HashMap::new();
    for sample in samples.iter().filter(|sample| load.segments > 1 && sample.task.stage == "segment") {
        // In the order of their ends.
        last_segment.insert(sample.height, sample.recorded);
    }
    let ready = |sample: &Sample| match sample.task.stage.as_str() {
        "join" => last_segment.get(&sample.height).copied(),
        _ => acknowledged(sample.height),
    };
    samples.iter().filter_map(|sample| Some((key(sample), ready(sample)?))).collect()
}
