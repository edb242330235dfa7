//! Runs seeds: one on each thread at a time, for a fixed time; and says how to see a failing one again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proofyard_core::planted_bug::PlantedBug;

use crate::counters::Counters;
use crate::trace::TraceMode;
use crate::world;

/// How one seed ended.
#[derive(Debug, Default)]
pub struct Outcome {
    pub violation: Option<String>,
    pub counters: Counters,
    pub trace: Vec<String>,
    pub digest: u64,
    pub steps: u64,
    /// Simulated time from the last fault until everything had settled.
    pub settled_ms: u64,
}

/// How many seeds, and what they showed.
#[derive(Debug, Default)]
pub struct Summary {
    pub seeds: u64,
    pub wall: Duration,
    /// Steps of the executor, over all seeds.
    pub steps: u64,
    /// Steps of the seed that took most.
    pub most_steps: u64,
    /// The longest time that a seed took to settle.
    pub settled_ms: u64,
    pub counters: Counters,
    /// The seeds that violated an invariant, and how.
    pub failures: Vec<(u64, String)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub first_seed: u64,
    /// At most this many.
    pub seeds: u64,
    pub budget: Duration,
    pub threads: usize,
    pub bug: Option<PlantedBug>,
    /// The run ends after so many seeds have failed.
    pub stop_after_failures: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            first_seed: 1,
            seeds: u64::MAX,
            budget: Duration::from_secs(120),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            bug: None,
            stop_after_failures: 1,
        }
    }
}

pub fn run_one(seed: u64, bug: Option<PlantedBug>, trace: TraceMode) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| world::run(seed, bug, trace))).unwrap_or_else(|panic| Outcome {
        violation: Some(format!("a handler panicked: {}", panic_text(&*panic))),
        ..Outcome::default()
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

pub fn run_many(plan: &Plan) -> Summary {
    let started = Instant::now();
    let next_seed = AtomicU64::new(plan.first_seed);
    let failures = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                let mut own = Summary::default();
                while failures.load(Ordering::Relaxed) < plan.stop_after_failures
                    && started.elapsed() < plan.budget
                {
                    let seed = next_seed.fetch_add(1, Ordering::Relaxed);
                    if seed - plan.first_seed >= plan.seeds {
                        break;
                    }
                    let outcome = run_one(seed, plan.bug, TraceMode::Off);
                    own.seeds += 1;
                    own.steps += outcome.steps;
                    own.most_steps = own.most_steps.max(outcome.steps);
                    own.settled_ms = own.settled_ms.max(outcome.settled_ms);
                    own.counters.merge(&outcome.counters);
                    if let Some(violation) = outcome.violation {
                        own.failures.push((seed, violation));
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if let Ok(mut summary) = summary.lock() {
                    summary.seeds += own.seeds;
                    summary.steps += own.steps;
                    summary.most_steps = summary.most_steps.max(own.most_steps);
                    summary.settled_ms = summary.settled_ms.max(own.settled_ms);
                    summary.counters.merge(&own.counters);
                    summary.failures.append(&mut own.failures);
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_default();
    summary.wall = started.elapsed();
    summary.failures.sort();
    summary
}

/// The command that shows this seed again, step by step.
pub fn reproduce(seed: u64, bug: Option<PlantedBug>) -> String {
    let bug = bug.map(|bug| format!(" --mistake {bug:?}")).unwrap_or_default();
    format!("cargo run --release -p proofyard-simulation -- --seed {seed} --trace{bug}")
}

/// Why a seed failed, what led to it, and how to see all of it.
pub fn print_failure(seed: u64, bug: Option<PlantedBug>, violation: &str) {
    const LAST_LINES: usize = 60;
    let again = run_one(seed, bug, TraceMode::Ring(LAST_LINES));
    println!("\nseed {seed} violates an invariant: {violation}");
    println!("its last steps (simulated ms, step, what happened):");
    for line in &again.trace {
        println!("{line}");
    }
    if again.violation.as_deref() != Some(violation) {
        println!("NOT DETERMINISTIC: the second run said {:?}", again.violation);
    }
    println!("all of it:\n  {}", reproduce(seed, bug));
}

pub fn print_summary(summary: &Summary) {
    let seconds = summary.wall.as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s, {:.1} a second, {} steps a seed and at most {}, settled within {} s, {} failed",
        summary.seeds,
        summary.seeds as f64 / seconds,
        summary.steps / summary.seeds.max(1),
        summary.most_steps,
        summary.settled_ms / 1_000,
        summary.failures.len()
    );
    print_counters(&summary.counters);
}

pub fn print_counters(counters: &Counters) {
    for (title, prefix) in [
        ("faults", "fault: "),
        ("store", "port: "),
        ("handlers", "branch: "),
        ("world", "world: "),
        ("checks", "check: "),
    ] {
        let counts: Vec<String> =
            counters.under(prefix).map(|(name, count)| format!("{name} {count}")).collect();
        println!("{title}: {}", counts.join(", "));
    }
}
