//! What a run took: figures worked out of each task's and block's times.

use std::time::{Duration, Instant};

use proofyard_worker::Sample;
use serde::Serialize;

use crate::load::{JOIN, Load};
use crate::run::Observed;
use crate::usage::peak_memory_bytes;
use crate::{BenchError, Dispatching, Quantiles, Taken, TaskTimes};

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
    pub(crate) fn of(load: &Load, observed: Observed) -> Result<Self, BenchError> {
        let times = observed.samples.iter().map(times).collect();
        let Dispatching { acknowledgement, waiting, around_provers, overhead, tasks, tasks_a_second, busy } =
            Dispatching::of(load, &observed.taken, times)?;
        let per_task = |total: f64| total / observed.done.max(1) as f64;
        let per_task_ms = |time: Duration| per_task(time.as_secs_f64() * 1_000.0);
        Ok(Measured {
            acknowledgement,
            waiting,
            around_provers,
            overhead,
            block_overhead: block_overhead(load, &observed.taken, &observed.commits),
            tasks,
            tasks_a_second,
            busy,
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

fn times(sample: &Sample) -> TaskTimes {
    let joins = sample.task.stage == JOIN;
    TaskTimes {
        height: sample.height,
        segment: (!joins).then_some(sample.task.index),
        worker_free: sample.slot_free,
        claimed: sample.claimed,
        recorded: sample.recorded,
        working: sample.working,
    }
}
