//! One run: a yard from nothing, its blocks, and what each task took.

use std::collections::HashMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::state::{ArtifactRef, Block};
use proofyard_embedded::block_on;
use proofyard_embedded::machine::{GuardCommand, Machine};
use proofyard_worker::Sample;
use proofyard_worker::isolation::Isolation;
use serde::Serialize;

use crate::load::{Arrival, CHAIN, Load};
use crate::usage::{Cpu, peak_memory_bytes};
use crate::{BenchError, Quantiles};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// A yard in which no task ends for this long, and its proving time, does not end by itself.
const MOST_QUIET: Duration = Duration::from_secs(30);

/// What was measured. Tasks of the warm-up are not in it: the first tenth.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Until a block is on disk; from when it was due, where the load is open.
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
    pub cpu_ms_a_task: f64,
    /// Of provers, verifiers and their guards.
    pub provers_cpu_ms_a_task: f64,
    pub peak_memory_bytes: u64,
}

/// Runs a load in an empty folder. `stop` is asked now and then whether to give up.
pub fn run(
    folder: &Path,
    load: &Load,
    guard: &GuardCommand,
    stop: &dyn Fn() -> bool,
) -> Result<Measured, BenchError> {
    load.check()?;
    let before = Cpu::now();
    let mut machine = Machine::open(&folder.join("yard"), true, |_| {})?;
    let pipeline = block_on(machine.yard().record_pipeline(&load.pipeline()?))?;
    let payload = machine.artifacts().put_bytes(b"{\"block\":{}}");
    let payload = payload.map_err(|error| BenchError::Load(error.to_string()))?;
    let start = |machine: &mut Machine| {
        machine.start(std::slice::from_ref(&pipeline), guard, Isolation::nothing(), folder)
    };
    let taken = match load.arrival {
        Arrival::Open { .. } => {
            start(&mut machine)?;
            take_blocks(&machine, load, &payload, stop)
        }
        Arrival::Closed => {
            let taken = take_blocks(&machine, load, &payload, stop);
            start(&mut machine)?;
            taken
        }
    };
    let done = taken.and_then(|taken| {
        wait_for_all(&machine, load, stop)?;
        Ok((taken, machine.overheads().samples()))
    });
    // In order also after an error, which counts more than one of stopping.
    let stopped = machine.stop();
    let (taken, samples) = done?;
    stopped?;
    measured(load, &taken, samples, Cpu::now().since(before))
}

/// What became of a block.
struct Taken {
    acknowledged: Instant,
    took: Duration,
}

fn take_blocks(
    machine: &Machine,
    load: &Load,
    payload: &ArtifactRef,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Taken>, BenchError> {
    let (began, mut taken) = (Instant::now(), Vec::new());
    for height in 1..=load.blocks {
        if stop() {
            return Err(BenchError::Interrupted);
        }
        let due = began + load.pause() * u32::try_from(height).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let from = if load.arrival == Arrival::Closed { Instant::now() } else { due };
        block_on(machine.yard().record_block(CHAIN, &block(height, load.segments, payload)))?;
        let acknowledged = Instant::now();
        taken.push(Taken { acknowledged, took: acknowledged.saturating_duration_since(from) });
    }
    block_on(machine.yard().record_end(CHAIN))?;
    Ok(taken)
}

fn block(height: u64, segments: u32, payload: &ArtifactRef) -> Block {
    Block {
        height,
        hash: height.to_string(),
        parent: (height - 1).to_string(),
        timestamp_s: height,
        segments,
        fields: std::collections::BTreeMap::default(),
        payload: payload.clone(),
    }
}

fn wait_for_all(machine: &Machine, load: &Load, stop: &dyn Fn() -> bool) -> Result<(), BenchError> {
    let most_quiet = MOST_QUIET + load.prove;
    let (mut done, mut since) = (0, Instant::now());
    while block_on(machine.yard().frontier(CHAIN))?.height <= load.blocks {
        if stop() {
            return Err(BenchError::Interrupted);
        }
        let now = machine.proofs_accepted();
        if now != done {
            (done, since) = (now, Instant::now());
        }
        if since.elapsed() > most_quiet {
            let status = block_on(machine.yard().status(CHAIN, false))?;
            let parked = status.parked.first().map(|parked| parked.reason.clone());
            let reason = parked.unwrap_or_else(|| "`proofyard status` would say why".to_owned());
            let quiet_s = most_quiet.as_secs();
            return Err(BenchError::Stuck { done, tasks: load.tasks(), quiet_s, reason });
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn measured(
    load: &Load,
    taken: &[Taken],
    mut samples: Vec<Sample>,
    cpu: Cpu,
) -> Result<Measured, BenchError> {
    samples.sort_by_key(|sample| sample.recorded);
    let tasks = samples.len() as u64;
    let mut inputs_ready = inputs_ready(load, taken, &samples);
    let warm_up = samples.len() / 10;
    let kept = &samples[warm_up..];
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
    let in_provers: Duration =
        kept.iter().map(|sample| (sample.recorded - sample.claimed).saturating_sub(sample.working)).sum();
    let per_task = |time: Duration| time.as_secs_f64() * 1_000.0 / tasks.max(1) as f64;
    let warm_blocks = taken.len() / 10;
    Ok(Measured {
        acknowledgement: Quantiles::of(taken[warm_blocks..].iter().map(|block| block.took).collect()),
        waiting: Quantiles::of(waiting),
        around_provers: Quantiles::of(around),
        overhead: Quantiles::of(overhead),
        tasks,
        tasks_a_second: (kept.len() - 1) as f64 / span.max(f64::MIN_POSITIVE),
        busy: in_provers.as_secs_f64() / (span * f64::from(load.workers)).max(f64::MIN_POSITIVE),
        cpu_ms_a_task: per_task(cpu.own),
        provers_cpu_ms_a_task: per_task(cpu.children),
        peak_memory_bytes: peak_memory_bytes(),
    })
}

/// A task by its block's height, its stage and its index.
type TaskKey = (u64, String, u32);

fn key(sample: &Sample) -> TaskKey {
    (sample.height, sample.task.stage.clone(), sample.task.index)
}

/// When all that each task reads was there: its block's acknowledgement, or the last result that it joins.
fn inputs_ready(load: &Load, taken: &[Taken], samples: &[Sample]) -> HashMap<TaskKey, Instant> {
    let acknowledged =
        |height: u64| taken.get(usize::try_from(height).ok()? - 1).map(|block| block.acknowledged);
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
