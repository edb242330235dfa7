//! `proofyard bench`: what dispatching costs on this machine, beside its disk's own sync.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proofyard_bench::{Arrival, BenchError, Load, Measured, Quantiles, SleepingProver, run, syncs};
use proofyard_core::error::Code;
use proofyard_prover::runner::{GuardCommand, adopt_orphans};
use proofyard_prover::serve;
use serde_json::json;

use super::guard;
use crate::failure::Failure;
use crate::output;
use crate::signals::Signals;
use crate::table::{Side, Table};
use crate::text::bytes;

/// Syncs that are measured before each run.
const SYNCS: u32 = 200;
/// Between two of them where the load has no pace of its own.
const SYNC_PAUSE: Duration = Duration::from_millis(10);

/// Measures what dispatching costs: yards under load, with a prover that only sleeps.
///
/// Each run is a yard of its own in a folder that is removed afterwards. The first tenth of a run is its warm-up, and not
/// counted. Run it where the yard would be: what counts is that disk.
#[derive(Args)]
pub struct Bench {
    /// Blocks come so that there are so many tasks a second, whether or not they are taken; 0: all are there at once.
    #[arg(long, value_name = "TASKS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=5_000))]
    rate: u32,
    /// Workers; several numbers are measured one after another.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "2", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    workers: Vec<u32>,
    /// How long a proof takes.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    prove_ms: u64,
    /// Tasks of each run, at least.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    tasks: u64,
    /// Of each block; from 2 on one more task joins them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    segments: u32,
    /// Runs of each.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Where the yards are.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// The prover of `bench`.
#[derive(Args)]
pub struct BenchProver {
    #[arg(long)]
    prove_ms: u64,
    #[arg(long)]
    proof_bytes: usize,
}

impl BenchProver {
    pub fn run(&self) -> Result<(), Failure> {
        let prove = Duration::from_millis(self.prove_ms);
        // It has told its runner how it ended.
        let _ = serve(SleepingProver { prove, proof_bytes: self.proof_bytes });
        Ok(())
    }
}

/// Of each proof: as large as a small one of Groth16 with its public values.
const PROOF_BYTES: usize = 1_024;

impl Bench {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        adopt_orphans().map_err(|error| {
            let message = "this process cannot take over the processes that provers leave behind";
            Failure::work_as(Code::ProcessFault, message).caused_by(&error)
        })?;
        let signals = Signals::listen()?;
        let guard = guard()?;
        let mut table = table();
        for workers in &self.workers {
            for number in 1..=self.runs {
                match self.measure(*workers, &guard, &signals) {
                    Ok((disk, measured)) if json => self.tell(*workers, number, &disk, &measured)?,
                    Ok((disk, measured)) => rows(&mut table, *workers, number, &disk, &measured),
                    Err(error) => {
                        self.end(json, &table)?;
                        return Err(failure(error, &signals));
                    }
                }
            }
        }
        self.end(json, &table)
    }

    /// One run, in a folder of its own.
    fn measure(
        &self,
        workers: u32,
        guard: &GuardCommand,
        signals: &Signals,
    ) -> Result<(Quantiles, Measured), BenchError> {
        let load = self.load(workers)?;
        let folder = folder_in(&self.dir)?;
        let pause = if self.rate == 0 { SYNC_PAUSE } else { Duration::from_secs(1) / self.rate };
        let disk = syncs(folder.path(), pause.max(Duration::from_millis(1)), SYNCS)?;
        let measured = run(folder.path(), &load, guard, &|| signals.stop().is_some())?;
        Ok((disk, measured))
    }

    fn load(&self, workers: u32) -> Result<Load, BenchError> {
        let program = std::env::current_exe();
        let program = program
            .map_err(|source| BenchError::Io { doing: "this program's own path is not known", source })?;
        let word = |text: &str| text.to_owned();
        Ok(Load {
            arrival: match self.rate {
                0 => Arrival::Closed,
                tasks_a_second => Arrival::Open { tasks_a_second },
            },
            blocks: self.tasks.div_ceil(Load::tasks_a_block(self.segments)),
            segments: self.segments,
            workers,
            prove: Duration::from_millis(self.prove_ms),
            prover: vec![
                program.display().to_string(),
                word("bench-prover"),
                word("--prove-ms"),
                self.prove_ms.to_string(),
                word("--proof-bytes"),
                PROOF_BYTES.to_string(),
            ],
        })
    }

    fn tell(&self, workers: u32, run: u32, disk: &Quantiles, measured: &Measured) -> Result<(), Failure> {
        output::json(&json!({
            "rate": self.rate,
            "workers": workers,
            "prove_ms": self.prove_ms,
            "segments": self.segments,
            "run": run,
            "fdatasync": disk,
            "measured": measured,
        }))
    }

    fn end(&self, json: bool, table: &Table) -> Result<(), Failure> {
        if json || table.is_empty() {
            return Ok(());
        }
        let load = match self.rate {
            0 => "all tasks there at once".to_owned(),
            rate => format!("{rate} tasks a second"),
        };
        output::line(format!("{load}, proofs of {} ms, in {}\n\n{table}", self.prove_ms, self.dir.display()));
        Ok(())
    }
}

fn folder_in(dir: &Path) -> Result<tempfile::TempDir, BenchError> {
    tempfile::Builder::new()
        .prefix("proofyard-bench-")
        .tempdir_in(dir)
        .map_err(|source| BenchError::Io { doing: "a folder for the run cannot be made", source })
}

fn failure(error: BenchError, signals: &Signals) -> Failure {
    match (signals.stop(), &error) {
        (Some(signal), BenchError::Interrupted) => Failure::stopped(
            format!("stopped by {signal}; a run that had not ended is not counted"),
            signal.exit_code(),
        ),
        (_, BenchError::Load(_)) => Failure::usage(error),
        _ => Failure::work(error),
    }
}

fn table() -> Table {
    Table::new([
        ("workers", Side::Right),
        ("run", Side::Right),
        ("what", Side::Left),
        ("P50 ms", Side::Right),
        ("P90", Side::Right),
        ("P99", Side::Right),
        ("P99.9", Side::Right),
        ("max", Side::Right),
    ])
}

fn rows(table: &mut Table, workers: u32, run: u32, disk: &Quantiles, measured: &Measured) {
    let of = |what: &str, times: &Quantiles| {
        let ms = |time: f64| format!("{time:.2}");
        vec![
            workers.to_string(),
            run.to_string(),
            what.to_owned(),
            ms(times.p50_ms),
            ms(times.p90_ms),
            ms(times.p99_ms),
            ms(times.p999_ms),
            ms(times.max_ms),
        ]
    };
    table.row(of("the disk's fdatasync", disk));
    table.row(of("acknowledging a block", &measured.acknowledgement));
    table.row(of("a task, until it is claimed", &measured.waiting));
    table.row(of("a task, around its provers", &measured.around_provers));
    table.row(of("overhead of a task: both", &measured.overhead));
    let Measured { tasks, tasks_a_second, busy, cpu_ms_a_task, provers_cpu_ms_a_task, .. } = measured;
    let memory = bytes(measured.peak_memory_bytes);
    let blank = |what: String| {
        let mut cells = vec![String::new(), String::new(), what];
        cells.resize(8, String::new());
        cells
    };
    table.row(blank(format!(
        "{tasks} tasks, {tasks_a_second:.0}/s; workers proved {:.2}% of the time",
        busy * 100.0
    )));
    table.row(blank(format!(
        "CPU a task: {cpu_ms_a_task:.2} ms, provers {provers_cpu_ms_a_task:.2} ms; at most {memory}"
    )));
}
