//! `proofyard-baselines`: measures what people queue proving with today, for `proofyard bench --baselines` or by itself.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io, thread};

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use proofyard_baselines::{BaselineError, Programs, System, run};
use proofyard_bench::{Baseline, BaselineMeasured, BaselineOutcome, BenchError, Load};
use proofyard_cli::commands::bench::baselines::Baselines;
use proofyard_cli::commands::bench::table::table;
use proofyard_cli::failure::Failure;
use proofyard_cli::output;
use proofyard_cli::signals::Signals;
use proofyard_core::error::with_causes;

/// Measures NATS JetStream, PostgreSQL and Redis as queues of proving, under the loads of `proofyard bench`.
///
/// Each run has a server of its own, on the loopback interface, in a folder that is removed afterwards. The first tenth of a
/// run is its warm-up, and not counted. A server that is not installed is named, and the rest goes on.
#[derive(Parser)]
#[command(name = "proofyard-baselines", version, max_term_width = 110)]
struct Arguments {
    /// Blocks come so that there are so many tasks a second, whether or not they are taken; 0: all are there at once.
    #[arg(long, value_name = "TASKS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=50_000))]
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
    /// Where the servers keep what they are given: what counts is that disk.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Only these; all by default.
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',', value_parser = systems())]
    only: Vec<System>,
    /// The servers' programs are looked for here alone; else in PATH, and where Debian has them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Answers in JSON, one document a line.
    #[arg(long)]
    json: bool,
    /// Stops when the standard input ends, as at a signal.
    #[arg(long, hide = true)]
    until_input_ends: bool,
}

fn systems() -> impl TypedValueParser<Value = System> {
    PossibleValuesParser::new(System::ALL.map(System::id)).try_map(|id| {
        System::ALL.into_iter().find(|system| system.id() == id).ok_or("there is no such system")
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.run() {
        Ok(code) => code,
        Err(failure) => failure.print(arguments.json),
    }
}

impl Arguments {
    /// Code 1: what is installed could not be measured.
    fn run(&self) -> Result<ExitCode, Failure> {
        let signals = Signals::listen()?;
        let input_ended = Arc::new(AtomicBool::new(false));
        if self.until_input_ends {
            watch_input(Arc::clone(&input_ended));
        }
        let stop = || signals.stop().is_some() || input_ended.load(Ordering::Relaxed);
        let (mut baselines, mut any_failed) = (Baselines::default(), false);
        let runs = self.workers.iter().flat_map(|workers| (1..=self.runs).map(move |run| (*workers, run)));
        for (workers, number) in runs {
            let load = Load::in_process(self.rate, workers, self.prove_ms, self.tasks, self.segments);
            load.check().map_err(Failure::usage)?;
            for system in self.systems() {
                let outcome = match self.measure(system, &load, &stop) {
                    Ok(measured) => BaselineOutcome::Measured(Box::new(measured)),
                    Err(BaselineError::LeftOut(why)) => BaselineOutcome::LeftOut(why),
                    Err(_) if stop() => {
                        self.end(&baselines);
                        return self.stopped(&signals);
                    }
                    Err(error) => {
                        any_failed = true;
                        BaselineOutcome::Failed(with_causes(&error).to_string())
                    }
                };
                let baseline = baseline(system, load.clone(), number, outcome);
                if self.json {
                    output::json(&baseline)?;
                }
                baselines.add(baseline);
            }
        }
        self.end(&baselines);
        Ok(if any_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn systems(&self) -> impl Iterator<Item = System> {
        System::ALL.into_iter().filter(|system| self.only.is_empty() || self.only.contains(system))
    }

    /// One run, in a folder of its own.
    fn measure(
        &self,
        system: System,
        load: &Load,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<BaselineMeasured, BaselineError> {
        let folder = folder_in(&self.dir);
        let folder = folder
            .map_err(|source| BenchError::Io { doing: "a folder for the run cannot be made", source })?;
        let programs = self.programs.clone().map_or_else(Programs::of_this_machine, Programs::only_in);
        let server = folder.path().join(system.id());
        fs::create_dir(&server)
            .map_err(|source| BenchError::Io { doing: "a folder for the server cannot be made", source })?;
        run(system, &programs, &server, load, stop)
    }

    fn stopped(&self, signals: &Signals) -> Result<ExitCode, Failure> {
        match signals.stop() {
            Some(signal) => {
                let message = "stopped; a run that had not ended is not counted";
                Err(Failure::stopped(message, signal.exit_code()))
            }
            // Who ended the input knows it.
            None => Ok(ExitCode::FAILURE),
        }
    }

    fn end(&self, baselines: &Baselines) {
        let rows = baselines.rows();
        if !self.json && !rows.is_empty() {
            output::line(table(&rows));
        }
    }
}

/// A server's own account has to get through it.
fn folder_in(dir: &std::path::Path) -> io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("proofyard-baselines-").tempdir_in(dir)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
    Ok(folder)
}

fn baseline(system: System, load: Load, run: u32, outcome: BaselineOutcome) -> Baseline {
    Baseline {
        system: system.id().to_owned(),
        name: system.name().to_owned(),
        durability: system.durability().to_owned(),
        task: system.task().to_owned(),
        load,
        run,
        outcome,
    }
}

fn watch_input(ended: Arc<AtomicBool>) {
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
    });
}
