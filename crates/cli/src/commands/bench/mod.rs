//! `proofyard bench`: what dispatching costs on this machine, beside its disk's own sync.

pub mod baselines;
mod prover;
pub mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use proofyard_bench::{
    Bench as Runs, BenchError, Load, Outcome, ProverKind, Step, expect_room, page, rows, syncs,
};
use proofyard_core::error::{Code, Coded, with_causes};
use proofyard_prover::runner::{GuardCommand, adopt_orphans};
use serde::Serialize;

use self::baselines::{Baselines, Compared};
pub use self::prover::BenchProver;
use self::prover::commands;
use self::table::table;
use super::guard;
use super::report::replace;
use crate::failure::Failure;
use crate::output;
use crate::signals::Signals;

/// Syncs that are measured before each run, at most.
const SYNCS: u64 = 200;
/// Between two of them where the load has no pace of its own.
const SYNC_PAUSE: Duration = Duration::from_millis(10);

/// Measures what dispatching costs: yards under load, with a prover that only sleeps.
///
/// Each run is a yard of its own in a folder that is removed afterwards. The first tenth of a run is its warm-up, and not
/// counted. Where an option takes several values, each is measured with each of the others'. Run it where the yard would be:
/// what counts is that disk. docs/performance.md says how to read it.
#[derive(Args)]
pub struct Bench {
    /// How the prover runs: a process that stays and one that verifies; both started for each task; or a sleep within this
    /// process, without verifier and artifact.
    #[arg(long, value_name = "HOW", value_delimiter = ',', default_value = "stream")]
    prover: Vec<ProverName>,
    /// Tasks a second, whether or not they are taken; 0: all are there at once. 100 by default, and 0 where blocks are open.
    #[arg(long, value_name = "TASKS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=50_000))]
    rate: Vec<u32>,
    /// How many workers.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "2", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    workers: Vec<u32>,
    /// How long a proof takes.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "0", value_parser = clap::value_parser!(u64).range(0..=60_000))]
    prove_ms: Vec<u64>,
    /// Tasks of each run, at least.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    tasks: u64,
    /// Of each block; from 2 on one more task joins them.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    segments: Vec<u32>,
    /// Blocks that are open behind those that are measured, and stay so.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0", value_parser = clap::value_parser!(u64).range(0..=5_000_000))]
    backlog: Vec<u64>,
    /// Blocks that were committed before.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0", value_parser = clap::value_parser!(u64).range(0..=5_000_000))]
    committed: Vec<u64>,
    /// Runs of each.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Where the yards are.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Also written there, with plots, as one page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// After each run, measures NATS JetStream, PostgreSQL and Redis under the same load, those that are installed; the program
    /// proofyard-baselines does that, and docs/baselines.md tells what is compared.
    #[arg(long)]
    baselines: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProverName {
    Stream,
    Files,
    InProcess,
}

impl From<ProverName> for ProverKind {
    fn from(name: ProverName) -> Self {
        match name {
            ProverName::Stream => Self::Stream,
            ProverName::Files => Self::Files,
            ProverName::InProcess => Self::InProcess,
        }
    }
}

impl Bench {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let loads = self.loads();
        loads.iter().try_for_each(Load::check).map_err(Failure::usage)?;
        adopt_orphans().map_err(|error| {
            let message = "this process cannot take over the processes that provers leave behind";
            Failure::work_as(Code::ProcessFault, message).caused_by(&error)
        })?;
        let signals = Signals::listen()?;
        let guard = guard()?;
        let mut steps: Vec<Step> = Vec::new();
        let (mut baselines, mut left_out) = (Baselines::default(), Vec::new());
        for load in loads {
            match self.step(&load, &guard, &signals, json, (&mut steps, &mut baselines)) {
                Ok(()) => {}
                Err(BenchError::Interrupted) => {
                    self.print(json, &steps, &baselines)?;
                    return Err(interrupted(&signals));
                }
                Err(error) => {
                    let (prover, workers) = (load.prover, load.workers);
                    eprintln!("{prover} prover, {workers} workers, left out: {}", with_causes(&error));
                    left_out.push(error);
                }
            }
        }
        self.print(json, &steps, &baselines)?;
        match left_out.pop() {
            None => Ok(()),
            Some(last) => {
                let count = left_out.len() + 1;
                let message = format!("{count} loads could not be measured to their end; the last one");
                Err(Failure::work_as(last.code(), message).caused_by(&last))
            }
        }
    }

    /// Each value with each of the others'. The last option to vary is the number of workers.
    fn loads(&self) -> Vec<Load> {
        let mut loads = vec![Load {
            prover: ProverKind::Stream,
            rate: 0,
            workers: 0,
            prove_ms: 0,
            blocks: 0,
            segments: 1,
            committed: 0,
            open: 0,
        }];
        let provers: Vec<ProverKind> = self.prover.iter().copied().map(ProverKind::from).collect();
        loads = each(&loads, &provers, |load, prover| Load { prover, ..load });
        loads = each(&loads, &self.segments, |load, segments| Load {
            segments,
            blocks: Load::blocks_of(self.tasks, segments),
            ..load
        });
        loads = each(&loads, &self.prove_ms, |load, prove_ms| Load { prove_ms, ..load });
        loads = each(&loads, &self.committed, |load, committed| Load { committed, ..load });
        loads = each(&loads, &self.backlog, |load, open| Load { open, ..load });
        let usual = |load: &Load| vec![if load.open > 0 { 0 } else { 100 }];
        loads = loads
            .into_iter()
            .flat_map(|load| {
                let rates = if self.rate.is_empty() { usual(&load) } else { self.rate.clone() };
                each(&[load], &rates, |load, rate| Load { rate, ..load })
            })
            .collect();
        each(&loads, &self.workers, |load, workers| Load { workers, ..load })
    }

    /// All runs of a load, those that ended also after an error.
    fn step(
        &self,
        load: &Load,
        guard: &GuardCommand,
        signals: &Signals,
        json: bool,
        (steps, baselines): (&mut Vec<Step>, &mut Baselines),
    ) -> Result<(), BenchError> {
        expect_room(load)?;
        for run in 1..=self.runs {
            let outcome = self.measure(load, run, guard, signals)?;
            let compared = match self.baselines {
                true => baselines.measure(&self.dir, &outcome, &|| signals.stop().is_some()).map(Some),
                false => Ok(None),
            };
            if json {
                let baselines = compared.as_ref().ok().and_then(Option::as_deref);
                // What cannot be written now cannot be later either.
                let _ = output::json(&BenchJson { outcome: &outcome, baselines });
            }
            match steps.last_mut().filter(|step| step.load == *load) {
                Some(step) => step.runs.push(outcome),
                None => steps.push(Step { load: load.clone(), runs: vec![outcome] }),
            }
            compared?;
        }
        Ok(())
    }

    /// One run, in a folder of its own.
    fn measure(
        &self,
        load: &Load,
        run: u32,
        guard: &GuardCommand,
        signals: &Signals,
    ) -> Result<Outcome, BenchError> {
        let program = std::env::current_exe();
        let program = program
            .map_err(|source| BenchError::Io { doing: "this program's own path is not known", source })?;
        let folder = folder_in(&self.dir)?;
        let pause = if load.rate == 0 { SYNC_PAUSE } else { Duration::from_secs(1) / load.rate };
        let fdatasync =
            syncs(folder.path(), pause.max(Duration::from_millis(1)), SYNCS.min(self.tasks) as u32)?;
        let commands = commands(program.display().to_string(), load);
        let stop = || signals.stop().is_some();
        let measured = Runs { folder: folder.path(), guard, commands, stop: &stop }.run(load)?;
        Ok(Outcome { load: load.clone(), run, fdatasync, measured })
    }

    /// Tells what was measured; JSON was told run by run.
    fn print(&self, json: bool, steps: &[Step], baselines: &Baselines) -> Result<(), Failure> {
        if steps.is_empty() {
            return Ok(());
        }
        let others = baselines.rows();
        let rows = [rows(steps), others.clone()].concat();
        if let Some(path) = &self.page {
            replace(path, &page(&self.about(steps), steps, &others))?;
        }
        if !json {
            output::line(format!("{}\n\n{}", self.about(steps), table(&rows)));
            if let Some(path) = &self.page {
                output::line(format!("\nwritten to {}", path.display()));
            }
        }
        Ok(())
    }

    /// What is the same in all steps.
    fn about(&self, steps: &[Step]) -> String {
        let one = |part: fn(&Load) -> u64| {
            let first = steps.first().map(|step| part(&step.load))?;
            steps.iter().all(|step| part(&step.load) == first).then_some(first)
        };
        let rate = one(|load| load.rate.into()).map(|rate| match rate {
            0 => "all tasks there at once".to_owned(),
            rate => format!("{rate} tasks a second"),
        });
        let prove = one(|load| load.prove_ms).map(|prove_ms| format!("proofs of {prove_ms} ms"));
        let segments = one(|load| load.segments.into()).filter(|segments| *segments > 1);
        let segments = segments.map(|segments| format!("{segments} segments a block"));
        let open = one(|load| load.open).filter(|open| *open > 0).map(|open| format!("{open} blocks open"));
        let committed = one(|load| load.committed).filter(|committed| *committed > 0);
        let committed = committed.map(|committed| format!("behind {committed} committed blocks"));
        let place = Some(format!("in {}", self.dir.display()));
        let parts = [rate, prove, segments, open, committed, place];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// A run as JSON.
#[derive(Serialize)]
struct BenchJson<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome,
    /// Where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    baselines: Option<&'a [Compared]>,
}

fn each<T: Copy>(loads: &[Load], values: &[T], with: impl Fn(Load, T) -> Load) -> Vec<Load> {
    loads.iter().flat_map(|load| values.iter().map(|value| with(load.clone(), *value))).collect()
}

fn folder_in(dir: &Path) -> Result<tempfile::TempDir, BenchError> {
    tempfile::Builder::new()
        .prefix("proofyard-bench-")
        .tempdir_in(dir)
        .map_err(|source| BenchError::Io { doing: "a folder for the run cannot be made", source })
}

fn interrupted(signals: &Signals) -> Failure {
    match signals.stop() {
        Some(signal) => Failure::stopped(
            format!("stopped by {signal}; a run that had not ended is not counted"),
            signal.exit_code(),
        ),
        None => Failure::work(BenchError::Interrupted),
    }
}
