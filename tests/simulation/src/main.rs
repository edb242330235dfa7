//! `--seed N [--trace] [--mistake NAME]` runs one seed; otherwise many, for `--seconds N`.

use std::process::ExitCode;
use std::time::Duration;

use proofyard_core::planted_bug::PlantedBug;
use proofyard_simulation::run::{self, Plan};
use proofyard_simulation::trace::TraceMode;

const USAGE: &str =
    "usage: proofyard-simulation [--seed N [--trace]] [--mistake NAME] [--seconds N] [--from N] [--seeds N] [--all]
       proofyard-simulation --mistakes SEEDS [--from N]";

#[derive(Default)]
struct Arguments {
    seed: Option<u64>,
    trace: bool,
    bug: Option<PlantedBug>,
    seconds: Option<u64>,
    from: Option<u64>,
    /// At most this many seeds.
    seeds: Option<u64>,
    /// Prints every seed that fails, and goes on.
    all: bool,
    /// How many seeds to try each plantable bug on.
    seeds_per_bug: Option<u64>,
}

fn main() -> ExitCode {
    match read_arguments() {
        Ok(arguments) if arguments.seed.is_some() => run_seed(&arguments),
        Ok(arguments) if arguments.seeds_per_bug.is_some() => plant_all(&arguments),
        Ok(arguments) => run_seeds(&arguments),
        Err(reason) => {
            eprintln!("{reason}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn read_arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seed" => arguments.seed = Some(number(value()?)?),
            "--trace" => arguments.trace = true,
            "--mistake" => arguments.bug = Some(planted_bug(&value()?)?),
            "--seconds" => arguments.seconds = Some(number(value()?)?),
            "--seeds" => arguments.seeds = Some(number(value()?)?),
            "--all" => arguments.all = true,
            "--mistakes" => arguments.seeds_per_bug = Some(number(value()?)?),
            "--from" => arguments.from = Some(number(value()?)?),
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(arguments)
}

fn planted_bug(name: &str) -> Result<PlantedBug, String> {
    let known = PlantedBug::ALL.into_iter().find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name));
    known.ok_or_else(|| format!("{name} is none of {:?}", PlantedBug::ALL))
}

fn run_seed(arguments: &Arguments) -> ExitCode {
    let mode = if arguments.trace { TraceMode::Print } else { TraceMode::Off };
    let seed = arguments.seed.unwrap_or_default();
    let outcome = run::run_one(seed, arguments.bug, mode);
    run::print_counters(&outcome.counters);
    match outcome.violation {
        Some(violation) => {
            println!("seed {seed} violates an invariant: {violation}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed} holds every invariant (digest {:016x})", outcome.digest);
            ExitCode::SUCCESS
        }
    }
}

fn run_seeds(arguments: &Arguments) -> ExitCode {
    let plan = Plan {
        first_seed: arguments.from.unwrap_or(1),
        budget: Duration::from_secs(arguments.seconds.unwrap_or(120)),
        bug: arguments.bug,
        seeds: arguments.seeds.unwrap_or(u64::MAX),
        stop_after_failures: if arguments.bug.is_none() && !arguments.all { 1 } else { u64::MAX },
        ..Plan::default()
    };
    let summary = run::run_many(&plan);
    run::print_summary(&summary);
    if arguments.all {
        summary.failures.iter().for_each(|(seed, violation)| println!("{seed}: {violation}"));
    }
    match summary.failures.first() {
        Some(_) if arguments.all => ExitCode::FAILURE,
        Some((seed, violation)) => {
            run::print_failure(*seed, plan.bug, violation);
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// A row for each bug: the first seed that catches it, how many do, and what that one says.
fn plant_all(arguments: &Arguments) -> ExitCode {
    let mut all_caught = true;
    for bug in PlantedBug::ALL {
        let plan = Plan {
            first_seed: arguments.from.unwrap_or(1),
            seeds: arguments.seeds_per_bug.unwrap_or_default(),
            budget: Duration::from_secs(3_600),
            bug: Some(bug),
            stop_after_failures: u64::MAX,
            ..Plan::default()
        };
        let summary = run::run_many(&plan);
        let (caught, seeds, seconds) = (summary.failures.len(), summary.seeds, summary.wall.as_secs_f64());
        let first = summary.failures.first();
        all_caught &= first.is_some();
        let (seed, violation) = first.map_or((0, ""), |(seed, violation)| (*seed, violation.as_str()));
        let violation: String = violation.chars().take(140).collect();
        println!("{bug:?} | {seed} | {caught} of {seeds} | {seconds:.1} s | {violation}");
    }
    if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
