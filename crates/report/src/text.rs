//! A report for a terminal of 100 columns.

use proofyard_core::explain::count;
use proofyard_core::pipeline::Output;
use proofyard_core::report::{Latency, Miss, ProverFigures, Report, TrustedSetup, seconds};

use crate::figures::{kib, percent, shortened};
use crate::goals;
use crate::spending;
use crate::table::{Side, Table};

const COLUMNS: usize = 100;
/// Names of stages, provers and proof systems.
const NAME: usize = 18;
/// Misses that are shown; `--json` has all of them.
const MISSES: usize = 50;

pub fn text(report: &Report) -> String {
    let mut parts = vec![head(report)];
    if report.from.is_some() {
        parts.push(summary(report).to_string());
    }
    parts.push(goal_table(report).to_string());
    if !report.provers.is_empty() {
        parts.push(work_table(&report.provers).to_string());
        parts.push(proof_table(&report.provers).to_string());
        if spending::is_known(&report.provers) {
            parts.push(spending_table(&report.provers).to_string());
        }
    }
    parts.extend(misses(&report.misses));
    parts.push(goals::notes(report).iter().map(|note| wrapped(note)).collect::<Vec<_>>().join("\n"));
    parts.join("\n\n")
}

/// What it is about.
pub fn head(report: &Report) -> String {
    let (Some(from), Some(to)) = (report.from, report.to) else {
        return format!("chain {}: nothing is committed or missed there yet", report.chain);
    };
    let took = match (report.first_acknowledged_ms, report.last_proved_ms) {
        (Some(first), Some(last)) => format!(", over {}", seconds(last.saturating_sub(first))),
        _ => String::new(),
    };
    format!(
        "chain {}, heights {from} to {to}: {} committed, {} missed{took}",
        report.chain,
        count(report.blocks_committed, "block"),
        report.blocks_missed
    )
}

fn summary(report: &Report) -> Table {
    let mut table = Table::new([("latency", Side::Left), (&latencies(&report.latency), Side::Left)]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("in time", in_time(report));
    row("proofs", proofs(report));
    spending::of_blocks(report).into_iter().for_each(|(name, text)| row(name, text));
    table
}

fn latencies(latency: &Latency) -> String {
    let at = |ms: Option<u64>| ms.map_or("missed".to_owned(), seconds);
    format!(
        "P50 {}, P90 {}, P99 {}, slowest {}",
        at(latency.p50_ms),
        at(latency.p90_ms),
        at(latency.p99_ms),
        latency.max_ms.map_or("-".to_owned(), seconds)
    )
}

/// How many blocks made the deadline, and which.
pub fn in_time(report: &Report) -> String {
    let share = report.latency.within_deadline_share.map_or(String::new(), percent);
    format!(
        "{share} within {} ({} of {}; {})",
        seconds(report.deadline_ms),
        report.latency.within_deadline,
        report.blocks_committed + report.blocks_missed,
        goals::deadline_is(report.deadline_is)
    )
}

fn proofs(report: &Report) -> String {
    let proofs = &report.proofs;
    let (Some(p50), Some(max)) = (proofs.bytes_p50, proofs.bytes_max) else { return "none".to_owned() };
    let bits = match (proofs.security_bits_min, proofs.security_unstated) {
        (None, _) => "security unstated".to_owned(),
        (Some(bits), 0) => format!("{bits} bits of security"),
        (Some(bits), unstated) => format!("{bits} bits of security ({unstated} unstated)"),
    };
    let setup = match proofs.trusted_setup {
        TrustedSetup::Yes => "a trusted setup",
        TrustedSetup::No => "no trusted setup",
        TrustedSetup::Unstated => "trusted setup unstated",
    };
    format!("{}: {} P50, {} at most; {bits}; {setup}", proofs.proofs, kib(p50), kib(max))
}

fn goal_table(report: &Report) -> Table {
    let (left, right) = (Side::Left, Side::Right);
    let mut table =
        Table::new([("goal", left), ("of", left), ("wanted", left), ("measured", right), ("", left)]);
    for goal in &report.goals {
        let told = goals::told(goal, report);
        let verdict = if told.verdict == "not met" { "NOT MET" } else { told.verdict };
        table.row([told.name.to_owned(), told.of.to_owned(), told.wanted, told.measured, verdict.to_owned()]);
    }
    table
}

fn named(row: &ProverFigures) -> [String; 2] {
    [shortened(&row.stage, NAME), shortened(&row.prover, NAME)]
}

fn work_table(rows: &[ProverFigures]) -> Table {
    let (left, right) = (Side::Left, Side::Right);
    let mut table = Table::new([
        ("stage", left),
        ("prover", left),
        ("accepted", right),
        ("on time", right),
        ("prove P50", right),
        ("P99", right),
        ("failed", right),
        ("crashed", right),
        ("lost", right),
    ]);
    for row in rows {
        let time = |ms: Option<u64>| ms.map_or(String::new(), seconds);
        let counts = [
            format!("{} of {}", row.accepted, row.tasks),
            row.on_time_share.map_or(String::new(), percent),
            time(row.prove_p50_ms),
            time(row.prove_p99_ms),
            row.failures.to_string(),
            row.crashes.to_string(),
            row.losses.to_string(),
        ];
        table.row(named(row).into_iter().chain(counts));
    }
    table
}

fn proof_table(rows: &[ProverFigures]) -> Table {
    let (left, right) = (Side::Left, Side::Right);
    let mut table = Table::new([
        ("stage", left),
        ("prover", left),
        ("proof system", left),
        ("size P50", right),
        ("largest", right),
        ("bits", right),
        ("trusted setup", left),
    ]);
    for row in rows {
        let size = |bytes: Option<u64>| bytes.map_or(String::new(), kib);
        let system = match (row.output, &row.proof_system) {
            (Output::Data, _) => "(data)".to_owned(),
            (Output::Proof, Some(system)) => shortened(system, NAME),
            (Output::Proof, None) => "unstated".to_owned(),
        };
        let (bits, setup) = match row.output {
            Output::Data => (String::new(), ""),
            Output::Proof => (
                row.security_bits_min.map_or("unstated".to_owned(), |bits| bits.to_string()),
                goals::trusted_setup(row.trusted_setup),
            ),
        };
        let cells = [system, size(row.bytes_p50), size(row.bytes_max), bits, setup.to_owned()];
        table.row(named(row).into_iter().chain(cells));
    }
    table
}

fn spending_table(rows: &[ProverFigures]) -> Table {
    let (left, right) = (Side::Left, Side::Right);
    let mut table = Table::new([
        ("stage", left),
        ("prover", left),
        ("USD P50", right),
        ("P99", right),
        ("in all", right),
        ("energy P50", right),
        ("P99", right),
        ("in all", right),
    ]);
    for row in rows {
        table.row(named(row).into_iter().chain(spending::cells(&row.spending)));
    }
    table
}

fn misses(misses: &[Miss]) -> Option<String> {
    let mut lines = vec!["missed".to_owned()];
    lines.extend(misses.iter().take(MISSES).map(|miss| {
        let height = format!("  {}  ", miss.height);
        let room = COLUMNS.saturating_sub(height.chars().count());
        height + &cut(&miss.cause, room)
    }));
    if misses.len() > MISSES {
        lines.push(format!("  and {} more", misses.len() - MISSES));
    }
    (!misses.is_empty()).then(|| lines.join("\n"))
}

/// The start of a line that is too long, since a cause begins with what matters most.
fn cut(text: &str, room: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(room.saturating_sub(1)) {
        Some((at, _)) if line.chars().count() > room => format!("{}…", &line[..at]),
        _ => line,
    }
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let has = lines.last().map_or(0, |line| line.chars().count());
        if has > 0 && has + 1 + word.chars().count() > COLUMNS {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
