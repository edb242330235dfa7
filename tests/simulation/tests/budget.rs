//! The simulation as a test. Each bug that can be planted must be caught within a fixed number of seeds. For the rest of
//! SIMULATION_SECONDS (80) it runs the handlers as they are, and requires that every kind of fault and branch happened.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use proofyard_core::planted_bug::PlantedBug;
use proofyard_simulation::run::{self, Plan};

/// What must happen at least once in a run of [`ENOUGH_SEEDS`].
const EXPECTED: &[&str] = &[
    "fault: conflict for nothing",
    "fault: unknown, done",
    "fault: unknown, not done",
    "fault: unavailable",
    "fault: stall",
    "fault: crash before a commit",
    "fault: crash after a commit",
    "fault: crash between reads",
    "fault: crash after a hand-on",
    "fault: everything died",
    "fault: power lost",
    "fault: commits lost with the power",
    "fault: handler cut off",
    "fault: spot storm",
    "fault: due index late",
    "fault: wake dropped",
    "fault: wake repeated",
    "fault: wake late",
    "fault: prover failed",
    "fault: prover refused for good",
    "fault: prover crashed",
    "fault: prover unavailable",
    "fault: prover waits",
    "fault: input damaged",
    "fault: wrong proof",
    "fault: wrong claim of public values",
    "fault: valid proof of other public values",
    "fault: no list where one is due",
    "fault: sink failed",
    "fault: disk full at a worker",
    "fault: worker died at work",
    "fault: worker froze",
    "fault: judged result changed",
    "port: conflict",
    "port: range read in pieces",
    "port: due index read in pages",
    "branch: claim of a dead worker",
    "branch: failure of a stale attempt",
    "branch: failure, other copy runs",
    "branch: failure, parked",
    "branch: failure, retried",
    "branch: heartbeat of a dead worker",
    "branch: quarantined",
    "branch: released",
    "branch: let go for a full disk",
    "branch: result accepted",
    "branch: result was there already",
    "branch: slot holds another claim",
    "branch: sweep had no time for all",
    "branch: attempt obsolete",
    "branch: checkpoint kept",
    "branch: checkpoint of an attempt that is over",
    "check: resumed",
    "branch: judged",
    "branch: judged before",
    "branch: judged later",
    "check: judged before it was handed on",
    "branch: verifier refused",
    "world: halted",
    "world: node changed branch",
    "world: node went back to a branch it had left",
    "world: paused",
    "world: redone",
    "world: resumed",
    "world: retried",
    "world: stray block event",
    "world: window changed",
    "world: zombie goes on",
    "branch: worker advanced",
    "world: pipeline changed",
    "world: limits changed",
    "world: sink renamed",
    "world: stage added after the commit",
    "world: stage taken away after the commit",
    "world: cuts added after the commit",
    "world: quorum's need changed",
    "world: quorum's rest changed",
    "world: cut size changed",
    "world: cut's arity changed",
    "world: tick changed",
    "world: lane changed",
    "world: lateness changed",
    "world: fork changed",
    "world: stage moved to another pool",
    "world: a pause ended under a halt",
    "world: halted by what came meanwhile",
    "world: straggled",
    "check: attempt lost",
    "check: block orphaned",
    "check: block returned",
    "check: branch changed",
    "check: claim",
    "check: cut beside a fork",
    "check: cut opened",
    "check: reduction of more than one task",
    "check: cut voided",
    "check: disagreement halted",
    "check: frontier moved back",
    "check: late result accepted",
    "check: missed",
    "check: retract",
    "check: second copy runs",
    "check: settled",
    "check: task cancelled",
    "check: task parked",
    "check: task unparked",
    "check: sink got a repeat",
    "check: parked over its budget",
    "check: the one that failed it took it again",
    "check: lease ran out",
    "check: dissent",
    "check: dissent in a settled block",
    "check: dissent in a missed block",
    "check: proofs of several members handed on",
    "check: the last child of a task came",
    "check: at rest",
];

/// The rarest are caught by one seed of a hundred; `--mistakes N` of the program shows by how many each.
const SEEDS_A_BUG: u64 = 1_000;

/// A run of fewer seeds is a quick look, which need not meet every fault.
const ENOUGH_SEEDS: u64 = 1_000;

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    // However long the planted bugs take, the handlers as they are get at least a third of the time.
    let budget = Duration::from_secs(number("SIMULATION_SECONDS").unwrap_or(80));
    let first_seed = number("SIMULATION_FROM").unwrap_or(1);
    let started = Instant::now();
    let missed = catch_planted_bugs(first_seed);
    let plan = Plan {
        first_seed,
        budget: budget.saturating_sub(started.elapsed()).max(budget / 3),
        ..Plan::default()
    };
    println!("\nseeds from {first_seed}, on {} threads", plan.threads);
    let summary = run::run_many(&plan);
    run::print_summary(&summary);
    if let Some((seed, violation)) = summary.failures.first() {
        run::print_failure(*seed, None, violation);
        return ExitCode::FAILURE;
    }
    let missing: Vec<_> = EXPECTED.iter().filter(|name| summary.counters.get(name) == 0).collect();
    if summary.seeds >= ENOUGH_SEEDS && !missing.is_empty() {
        println!("never happened: {missing:?}");
        return ExitCode::FAILURE;
    }
    if !missed.is_empty() {
        println!("not caught: {missed:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Plants each bug by itself, and runs seeds until one catches it; answers the bugs that none caught.
fn catch_planted_bugs(first_seed: u64) -> Vec<PlantedBug> {
    let mut missed = Vec::new();
    for bug in PlantedBug::ALL {
        let plan = Plan {
            first_seed,
            seeds: SEEDS_A_BUG,
            budget: Duration::from_secs(600),
            bug: Some(bug),
            ..Plan::default()
        };
        let summary = run::run_many(&plan);
        let (seeds, seconds) = (summary.seeds, summary.wall.as_secs_f64());
        match summary.failures.first() {
            Some((seed, violation)) => {
                let violation: String = violation.chars().take(140).collect();
                println!("{bug:?}: caught by seed {seed} in {seconds:.1} s: {violation}");
            }
            None => {
                println!("{bug:?}: caught by none of {seeds} seeds");
                missed.push(bug);
            }
        }
    }
    missed
}
