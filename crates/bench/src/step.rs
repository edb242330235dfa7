//! All runs of one load, and the lines of the table that tell of them.

use proofyard_report::figures::{bytes, duration};
use serde::Serialize;
use std::time::Duration;

use crate::row::{middle, spread};
use crate::{Load, Measured, Quantiles, Row};

/// One run of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub load: Load,
    pub run: u32,
    /// The disk's own sync, just before the run and at its pace.
    pub fdatasync: Quantiles,
    pub measured: Measured,
}

/// The runs of one load; at least one.
#[derive(Clone, Debug)]
pub struct Step {
    pub load: Load,
    pub runs: Vec<Outcome>,
}

impl Step {
    pub(crate) fn of(&self, figure: fn(&Measured) -> f64) -> f64 {
        middle(self.runs.iter().map(|run| figure(&run.measured)))
    }

    /// How each part of its load is called.
    fn parts(load: &Load) -> [String; 7] {
        let count = proofyard_core::explain::count;
        [
            load.prover.to_string(),
            count(load.workers.into(), "worker"),
            if load.is_closed() { "all at once".to_owned() } else { format!("{}/s", load.rate) },
            format!("{} ms proofs", load.prove_ms),
            count(load.segments.into(), "segment"),
            format!("{} open", load.open),
            format!("{} committed", load.committed),
        ]
    }
}

/// What tells these steps apart: their prover and workers, and whatever else is not the same in all of them.
pub(crate) fn names(steps: &[Step]) -> Vec<String> {
    const ALWAYS: usize = 2;
    let parts: Vec<_> = steps.iter().map(|step| Step::parts(&step.load)).collect();
    let differs = |place: usize| parts.iter().any(|other| other[place] != parts[0][place]);
    let told = |own: &[String; 7]| {
        let told = own.iter().enumerate().filter(|(place, _)| *place < ALWAYS || differs(*place));
        told.map(|(_, part)| part.as_str()).collect::<Vec<_>>().join(", ")
    };
    parts.iter().map(told).collect()
}

/// What a step's throughput is to that of the same load with the fewest workers, for each worker. `None` of that one, and
/// where tasks come at a rate.
pub(crate) fn scaling(step: &Step, steps: &[Step]) -> Option<(u32, f64)> {
    let workers = step.load.workers;
    let same = |other: &&Step| Load { workers, ..other.load.clone() } == step.load;
    let least = steps.iter().filter(same).min_by_key(|other| other.load.workers)?;
    let a_worker = |of: &Step| of.of(|run| run.tasks_a_second) / f64::from(of.load.workers);
    let applies = step.load.is_closed() && least.load.workers < workers;
    applies.then(|| (least.load.workers, a_worker(step) / a_worker(least).max(f64::MIN_POSITIVE)))
}

/// The lines of the table.
pub fn rows(steps: &[Step]) -> Vec<Row> {
    steps.iter().zip(names(steps)).flat_map(|(step, name)| rows_of(step, &name, steps)).collect()
}

fn rows_of(step: &Step, name: &str, steps: &[Step]) -> Vec<Row> {
    let of = |what: &str, times: fn(&Outcome) -> Quantiles| Row {
        step: name.to_owned(),
        what: what.to_owned(),
        runs: step.runs.iter().map(times).collect(),
    };
    let mut rows = vec![
        of("the disk's fdatasync", |run| run.fdatasync),
        of("acknowledging a block", |run| run.measured.acknowledgement),
        of("a task, until it is claimed", |run| run.measured.waiting),
        of("a task, around its provers", |run| run.measured.around_provers),
        of("overhead of a task: both", |run| run.measured.overhead),
        of("a block, beside its proving", |run| run.measured.block_overhead),
    ];
    rows.retain(|row| row.runs.iter().all(|run| run.samples > 0));
    rows.extend(sentences(step, steps).into_iter().map(|what| Row::sentence(name, what)));
    rows
}

fn sentences(step: &Step, steps: &[Step]) -> Vec<String> {
    let Step { load, runs } = step;
    let of = |figure: fn(&Measured) -> f64| step.of(figure);
    let rates = || runs.iter().map(|run| run.measured.tasks_a_second);
    let (least, most) = spread(rates());
    let between = if runs.len() > 1 { format!(" ({least:.0} to {most:.0})") } else { String::new() };
    let tasks = runs.first().map_or(0, |run| run.measured.tasks);
    let mut said = vec![format!(
        "{tasks} tasks, each with {}: {:.0}/s{between}",
        load.prover.task_has(),
        middle(rates())
    )];
    if load.prove_ms > 0 {
        let share = of(|run| run.overhead.p50_ms) / load.prove_ms as f64 * 100.0;
        let busy = of(|run| run.busy) * 100.0;
        said.push(format!(
            "workers proved {busy:.2}% of the time; overhead is {share:.3}% of a proof's time"
        ));
    }
    if let Some((fewest, share)) = scaling(step, steps) {
        let than = proofyard_core::explain::count(fewest.into(), "worker");
        said.push(format!("scaling efficiency: {:.1}% of the throughput of {than}, for each", share * 100.0));
    }
    said.push(format!(
        "a task waits for {:.2} syncs; the disk did {:.2}",
        of(|run| run.syncs_waited_a_task),
        of(|run| run.syncs_done_a_task)
    ));
    let (own, provers) = (of(|run| run.cpu_ms_a_task), of(|run| run.provers_cpu_ms_a_task));
    let block = match Load::tasks_a_block(load.segments) {
        1 => String::new(),
        tasks => format!(" ({:.1} ms a block)", own * tasks as f64),
    };
    let (memory, database) = (of(|run| run.peak_memory_bytes as f64), of(|run| run.database_bytes as f64));
    said.push(format!(
        "CPU a task: {own:.2} ms{block}, provers {provers:.2} ms; memory {}, database {}",
        bytes(memory as u64),
        bytes(database as u64)
    ));
    let growth = |figure: fn(&crate::Growth) -> f64| {
        middle(runs.iter().filter_map(|run| run.measured.growth.as_ref().map(figure)))
    };
    if load.open > 0 {
        said.push(format!(
            "taken in and listed: {:.0} blocks/s, database then {}; restart to first claim: {}",
            growth(|growth| growth.taken_in_a_second),
            bytes(growth(|growth| growth.database_bytes as f64) as u64),
            duration(Duration::from_secs_f64(growth(|growth| growth.restart_to_claim_ms) / 1_000.0))
        ));
    }
    said
}
