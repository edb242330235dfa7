//! Money and energy in words. What is not known is called so, and never 0.

use proofyard_core::explain::count;
use proofyard_core::report::{ProverFigures, Report, Spending, SpendingFigures};

use crate::figures::{joules, usd};

const UNKNOWN: &str = "unknown";

/// What a block cost, as a line's name and its text.
pub fn of_blocks(report: &Report) -> Vec<(&'static str, String)> {
    let SpendingFigures { sum, .. } = &report.spending;
    let mut lines = vec![("cost", cost(&report.spending)), ("energy", energy(&report.spending))];
    if sum.energy_j.is_some() {
        lines.push(("", source(sum)));
    }
    lines
}

/// Whether anything is known, so that a table has something to show.
pub fn is_known(rows: &[ProverFigures]) -> bool {
    rows.iter().any(|row| row.spending.sum.cost_usd.or(row.spending.sum.energy_j).is_some())
}

/// What a proof cost, P50, P99 and all of them, in US dollars; and the same of its energy.
pub fn cells(figures: &SpendingFigures) -> [String; 6] {
    let shown = |value: Option<f64>, show: fn(f64) -> String| value.map_or(UNKNOWN.to_owned(), show);
    let SpendingFigures { sum, .. } = figures;
    [
        shown(figures.cost_usd_p50, usd),
        shown(figures.cost_usd_p99, usd),
        at_least(shown(sum.cost_usd, usd), sum.cost_lacks_attempts),
        shown(figures.energy_j_p50, joules),
        shown(figures.energy_j_p99, joules),
        at_least(shown(sum.energy_j, joules), sum.energy_lacks_attempts),
    ]
}

/// What goes with these figures, in a sentence.
pub fn note(report: &Report) -> Option<String> {
    let SpendingFigures { sum, .. } = &report.spending;
    sum.cost_usd.or(sum.energy_j)?;
    Some(
        "Cost and energy are of the time in which slots worked, failed and lost attempts included. P50 and P99 are of the \
         blocks, or proofs, of which every attempt is known; ≥ is a sum that lacks some."
            .to_owned(),
    )
}

fn cost(figures: &SpendingFigures) -> String {
    let SpendingFigures { cost_usd_p50: p50, cost_usd_p99: p99, sum, .. } = figures;
    match sum.cost_usd {
        None => format!("{UNKNOWN}; a pool's `price_usd_per_hour` gives it"),
        Some(all) => {
            let show = |value| format!("{} USD", usd(value));
            spread([*p50, *p99], all, show, sum.cost_lacks_attempts)
        }
    }
}

fn energy(figures: &SpendingFigures) -> String {
    let SpendingFigures { energy_j_p50: p50, energy_j_p99: p99, sum, .. } = figures;
    match sum.energy_j {
        None => format!("{UNKNOWN}; it was not measured, and a pool's `watts` would give it"),
        Some(all) => spread([*p50, *p99], all, joules, sum.energy_lacks_attempts),
    }
}

fn spread(percentiles: [Option<f64>; 2], all: f64, show: impl Fn(f64) -> String, lacks: u64) -> String {
    let [p50, p99] = percentiles.map(|value| value.map_or(UNKNOWN.to_owned(), &show));
    let all = at_least(show(all), lacks);
    let lacks = match lacks {
        0 => String::new(),
        lacks => format!(" ({} not known)", count(lacks, "attempt")),
    };
    format!("P50 {p50} a block, P99 {p99}; {all} in all{lacks}")
}

/// Where the energy is from.
fn source(sum: &Spending) -> String {
    let part = |name: &str, j: Option<f64>| j.map(|j| format!("{name} {}", joules(j)));
    // Where processors cannot be read, what they took is missing, which is not nothing.
    let gpus = if sum.measured_cpu_j.is_some() { "GPUs" } else { "GPUs alone" };
    let measured = [part(gpus, sum.measured_gpu_j), part("processors", sum.measured_cpu_j)];
    let measured = measured.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let measured = (sum.measured_attempts > 0).then(|| match measured.as_str() {
        "" => "measured".to_owned(),
        parts => format!("measured: {parts}"),
    });
    let given = part("by `watts`, not measured:", sum.given_j);
    measured.into_iter().chain(given).collect::<Vec<_>>().join("; ")
}

/// Says of a sum that something is missing in it.
fn at_least(sum: String, lacks: u64) -> String {
    if lacks > 0 && sum != UNKNOWN { format!("≥ {sum}") } else { sum }
}
