//! `proofyard bench --baselines`: what people use today, under the same load. That is the work of another program,
//! `proofyard-baselines`, which this one runs as it runs `proofyard-aws`; its rows are shown beneath the yard's, with the yard's
//! figures in ratio to them.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use proofyard_bench::{
    Baseline, BaselineMeasured, BaselineOutcome, BenchError, Dispatching, Load, Measured, Outcome,
    ProverKind, Row, middle, spread,
};
use serde::Serialize;

const PROGRAM: &str = "proofyard-baselines";
/// How often it is asked whether the run is to stop.
const LOOK: Duration = Duration::from_millis(20);

/// One system under one load, and what the yard's figures of the same run are in ratio to it.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    #[serde(flatten)]
    baseline: Baseline,
    /// Where both were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    yard: Option<Ratios>,
}

/// The yard's figures divided by the system's.
#[derive(Clone, Copy, Debug, Serialize)]
struct Ratios {
    /// Of the yard.
    prover: ProverKind,
    acknowledgement_p50: f64,
    overhead_p50: f64,
    overhead_p99: f64,
    tasks_a_second: f64,
}

/// All that were measured.
#[derive(Clone, Debug, Default)]
pub struct Baselines {
    all: Vec<Compared>,
}

impl Baselines {
    /// Has the program measure a yard's load, and waits for that; what came of it. What it cannot do is named, and the rest of
    /// the bench goes on. Other systems are not measured behind many blocks.
    pub fn measure(
        &mut self,
        dir: &Path,
        yard: &Outcome,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Compared>, BenchError> {
        if yard.load.committed > 0 || yard.load.open > 0 {
            return Ok(Vec::new());
        }
        let baselines = match answered(dir, &yard.load, stop)? {
            Ok(baselines) => baselines,
            Err(why) => {
                eprintln!("no baselines: {why}");
                return Ok(Vec::new());
            }
        };
        let compared: Vec<Compared> = baselines
            .into_iter()
            .map(|baseline| {
                let baseline = Baseline { run: yard.run, ..baseline };
                Compared { yard: Ratios::of(yard, &baseline), baseline }
            })
            .collect();
        self.all.extend(compared.iter().cloned());
        Ok(compared)
    }

    /// One that was measured without a yard.
    pub fn add(&mut self, baseline: Baseline) {
        self.all.push(Compared { baseline, yard: None });
    }

    /// The lines of the table.
    pub fn rows(&self) -> Vec<Row> {
        let mut groups: Vec<Vec<&Compared>> = Vec::new();
        for compared in &self.all {
            match groups.iter_mut().find(|group| group[0].is_run_of(compared)) {
                Some(group) => group.push(compared),
                None => groups.push(vec![compared]),
            }
        }
        let mut described = Vec::new();
        groups.iter().flat_map(|group| rows(group, &mut described)).collect()
    }
}

impl Compared {
    fn measured(&self) -> Option<&BaselineMeasured> {
        match &self.baseline.outcome {
            BaselineOutcome::Measured(measured) => Some(measured),
            BaselineOutcome::LeftOut(_) | BaselineOutcome::Failed(_) => None,
        }
    }

    /// Of the same system and load.
    fn is_run_of(&self, other: &Self) -> bool {
        let prover = |of: &Self| of.yard.map(|yard| yard.prover);
        let (one, two) = (&self.baseline, &other.baseline);
        one.system == two.system
            && one.load == two.load
            && prover(self) == prover(other)
            && self.measured().is_some() == other.measured().is_some()
    }
}

impl Ratios {
    fn of(yard: &Outcome, baseline: &Baseline) -> Option<Self> {
        let BaselineOutcome::Measured(system) = &baseline.outcome else { return None };
        let (Measured { acknowledgement, overhead, tasks_a_second, .. }, system) =
            (&yard.measured, &system.dispatching);
        // What took no measurable time is no divisor, and JSON has no infinity.
        let ratio = |yard: f64, system: f64| if system > 0.0 { yard / system } else { 0.0 };
        Some(Self {
            prover: yard.load.prover,
            acknowledgement_p50: ratio(acknowledgement.p50_ms, system.acknowledgement.p50_ms),
            overhead_p50: ratio(overhead.p50_ms, system.overhead.p50_ms),
            overhead_p99: ratio(overhead.p99_ms, system.overhead.p99_ms),
            tasks_a_second: ratio(*tasks_a_second, system.tasks_a_second),
        })
    }
}

/// Of all runs of one system under one load. `described`: what a system does is printed once.
fn rows(runs: &[&Compared], described: &mut Vec<String>) -> Vec<Row> {
    let Baseline { system, name, durability, task, load, outcome, .. } = &runs[0].baseline;
    let measured: Vec<&BaselineMeasured> = runs.iter().filter_map(|run| run.measured()).collect();
    let Some(first) = measured.first() else {
        let what = match outcome {
            BaselineOutcome::LeftOut(why) => format!("left out: {why}"),
            BaselineOutcome::Failed(why) => format!("failed: {why}"),
            BaselineOutcome::Measured(_) => String::new(),
        };
        let is_new = !described.contains(&what);
        described.push(what.clone());
        return is_new.then(|| Row::sentence(name, what)).into_iter().collect();
    };
    let mut step = format!("{name} {}, {}", first.version, load_of(load));
    if let Some(yard) = runs[0].yard {
        step += &format!(", beside {}", yard.prover);
    }
    let times = |what: &str, of: fn(&Dispatching) -> proofyard_bench::Quantiles| Row {
        step: step.clone(),
        what: what.to_owned(),
        runs: measured.iter().map(|run| of(&run.dispatching)).collect(),
    };
    let mut rows = vec![
        times("acknowledging a block", |run| run.acknowledgement),
        times("a task, until it is claimed", |run| run.waiting),
        times("a task, completing it", |run| run.around_provers),
        times("overhead of a task: both", |run| run.overhead),
    ];
    rows.extend(sentences(runs, &measured).into_iter().map(|what| Row::sentence(&step, what)));
    if !described.contains(system) {
        described.push(system.clone());
        rows.extend([durability, task].map(|what| Row::sentence(&step, what.clone())));
    }
    rows
}

fn load_of(load: &Load) -> String {
    let count = proofyard_core::explain::count;
    let rate = if load.is_closed() { "all at once".to_owned() } else { format!("{}/s", load.rate) };
    let (workers, segments) = (count(load.workers.into(), "worker"), count(load.segments.into(), "segment"));
    format!("{workers}, {rate}, {} ms proofs, {segments}", load.prove_ms)
}

fn sentences(runs: &[&Compared], measured: &[&BaselineMeasured]) -> Vec<String> {
    let of = |figure: fn(&BaselineMeasured) -> f64| middle(measured.iter().map(|run| figure(run)));
    let (least, most) = spread(measured.iter().map(|run| run.dispatching.tasks_a_second));
    let between = if measured.len() > 1 { format!(" ({least:.0} to {most:.0})") } else { String::new() };
    let mut said = vec![format!(
        "{:.0}/s{between}; CPU a task: {:.2} ms, its clients' {:.2} ms",
        of(|run| run.dispatching.tasks_a_second),
        of(|run| run.servers_cpu_ms_a_task),
        of(|run| run.clients_cpu_ms_a_task)
    )];
    let ratios: Vec<Ratios> = runs.iter().filter_map(|run| run.yard).collect();
    if let Some(first) = ratios.first() {
        let of = |figure: fn(&Ratios) -> f64| middle(ratios.iter().map(figure));
        said.push(format!(
            "Proofyard, {} prover: overhead {:.2} x this at P50, {:.2} x at P99; {:.2} x the tasks a second; \
             acknowledging {:.2} x",
            first.prover,
            of(|ratio| ratio.overhead_p50),
            of(|ratio| ratio.overhead_p99),
            of(|ratio| ratio.tasks_a_second),
            of(|ratio| ratio.acknowledgement_p50)
        ));
    }
    said
}

/// What the program answered, or why it did not.
fn answered(
    dir: &Path,
    load: &Load,
    stop: &dyn Fn() -> bool,
) -> Result<Result<Vec<Baseline>, String>, BenchError> {
    let mut child = match started(dir, load) {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Err(format!(
                "{PROGRAM} is neither beside this program nor in PATH; build it with `cargo build --release --locked \
                 -p {PROGRAM}`"
            )));
        }
        Err(error) => return Ok(Err(format!("{PROGRAM} cannot be run: {error}"))),
    };
    let output = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.map(|mut output| output.read_to_string(&mut text));
        text
    });
    let running =
        |source| BenchError::Io { doing: "the program of the baselines cannot be waited for", source };
    let status = loop {
        if let Some(status) = child.try_wait().map_err(running)? {
            break status;
        }
        if stop() {
            // It stops its servers then.
            drop(child.stdin.take());
        }
        thread::sleep(LOOK);
    };
    let text = reader.join().unwrap_or_default();
    if stop() {
        return Err(BenchError::Interrupted);
    }
    let answered: Result<Vec<Baseline>, _> = text.lines().map(serde_json::from_str).collect();
    Ok(match answered {
        Ok(baselines) if !baselines.is_empty() => Ok(baselines),
        Ok(_) => Err(format!("{PROGRAM} measured nothing ({status})")),
        Err(error) => Err(format!("{PROGRAM} is of another version: {error}")),
    })
}

/// Beside this program, or in `PATH`. It stops when its input ends, so also when this one does.
fn started(dir: &Path, load: &Load) -> io::Result<Child> {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(PROGRAM));
    let program = beside.filter(|program| program.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM));
    let mut command = Command::new(program);
    let numbers = [
        ("--rate", load.rate.into()),
        ("--workers", load.workers.into()),
        ("--prove-ms", load.prove_ms),
        ("--tasks", load.tasks()),
        ("--segments", load.segments.into()),
        ("--runs", 1),
    ];
    for (option, number) in numbers {
        command.args([OsString::from(option), number.to_string().into()]);
    }
    command.arg("--dir").arg(dir).args(["--json", "--until-input-ends"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
}
