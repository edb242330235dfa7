//! What each prover did, and what was missed for which cause.

use std::fmt::{Result, Write};

use proofyard_core::pipeline::Output;
use proofyard_core::report::{ProverFigures, Report, seconds};

use super::colour;
use super::escape::Text;
use crate::figures::{kib, percent, shortened};
use crate::goals;
use crate::spending;

/// Misses that are listed.
const MAX_MISSES: usize = 200;
const ERROR_CHARACTERS: usize = 500;

pub(super) fn write(page: &mut String, report: &Report, stages: &[String]) -> Result {
    provers(page, report, stages)?;
    costs(page, report, stages)?;
    misses(page, report)
}

fn provers(page: &mut String, report: &Report, stages: &[String]) -> Result {
    if report.provers.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "<section id=\"provers\">\n<h2>Provers</h2>\n<p class=\"about\">On time: accepted within {} of the block’s \
         acknowledgement (of a cut: of its first block’s).</p>\n<div class=\"wide\"><table>\n<thead><tr><th>Stage</th>\
         <th>Prover</th><th>Proof system</th><th>Accepted</th><th>On time</th><th>Prove P50</th><th>P99</th>\
         <th>Verify P50</th><th>Size P50</th><th>Largest</th><th>Bits</th><th>Trusted setup</th><th>Failed</th>\
         <th>Crashed</th><th>Lost</th></tr></thead>\n<tbody>",
        Text(seconds(report.deadline_ms))
    )?;
    for row in &report.provers {
        prover(page, row, colour(stages, &row.stage))?;
    }
    writeln!(page, "</tbody></table></div>\n</section>")
}

fn prover(page: &mut String, row: &ProverFigures, colour: usize) -> Result {
    let time = |ms: Option<u64>| ms.map_or(String::new(), seconds);
    let size = |bytes: Option<u64>| bytes.map_or(String::new(), kib);
    let is_proof = row.output == Output::Proof;
    let system = match (&row.proof_system, is_proof) {
        (_, false) => "(data)",
        (Some(system), true) => system,
        (None, true) => "unstated",
    };
    let commits = if row.commits { " <small>commits</small>" } else { "" };
    write!(
        page,
        "<tr><td class=\"s{colour}\"><i></i>{}{commits}</td><td>{}</td><td>{}</td>",
        Text(&row.stage),
        Text(&row.prover),
        Text(system)
    )?;
    let unless_data = |text: String| if is_proof { text } else { String::new() };
    let bits = row.security_bits_min.map_or("unstated".to_owned(), |bits| bits.to_string());
    let figures = [
        format!("{} of {}", row.accepted, row.tasks),
        row.on_time_share.map_or(String::new(), percent),
        time(row.prove_p50_ms),
        time(row.prove_p99_ms),
        time(row.verify_p50_ms),
        size(row.bytes_p50),
        size(row.bytes_max),
        unless_data(bits),
        unless_data(goals::trusted_setup(row.trusted_setup).to_owned()),
        row.failures.to_string(),
        row.crashes.to_string(),
        row.losses.to_string(),
    ];
    for figure in figures {
        write!(page, "<td>{}</td>", Text(figure))?;
    }
    writeln!(page, "</tr>")
}

fn costs(page: &mut String, report: &Report, stages: &[String]) -> Result {
    if report.from.is_none() {
        return Ok(());
    }
    writeln!(page, "<section id=\"costs\">\n<h2>Cost and energy of blocks</h2>")?;
    for (name, text) in spending::of_blocks(report) {
        let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
        writeln!(page, "<p class=\"about\">{}{}</p>", Text(name), Text(text))?;
    }
    if spending::is_known(&report.provers) {
        writeln!(
            page,
            "<div class=\"wide\"><table>\n<thead><tr><th>Stage</th><th>Prover</th><th>USD a proof, P50</th><th>P99</th>\
             <th>In all</th><th>Energy a proof, P50</th><th>P99</th><th>In all</th></tr></thead>\n<tbody>"
        )?;
        for row in &report.provers {
            let colour = colour(stages, &row.stage);
            write!(
                page,
                "<tr><td class=\"s{colour}\"><i></i>{}</td><td>{}</td>",
                Text(&row.stage),
                Text(&row.prover)
            )?;
            for cell in spending::cells(&row.spending) {
                write!(page, "<td>{}</td>", Text(cell))?;
            }
            writeln!(page, "</tr>")?;
        }
        writeln!(page, "</tbody></table></div>")?;
    }
    writeln!(page, "</section>")
}

fn misses(page: &mut String, report: &Report) -> Result {
    if report.blocks_missed == 0 {
        return Ok(());
    }
    writeln!(page, "<section id=\"misses\">\n<h2>Missed heights</h2>")?;
    if report.misses.len() > MAX_MISSES {
        writeln!(page, "<p class=\"about\">The newest {MAX_MISSES} of {}.</p>", report.misses.len())?;
    }
    writeln!(
        page,
        "<div class=\"wide\"><table class=\"causes\">\n<thead><tr><th>Height</th><th>Cause</th></tr></thead>\n<tbody>"
    )?;
    for miss in report.misses.iter().take(MAX_MISSES) {
        let said = miss.last_error.as_ref().map_or(String::new(), |error| {
            format!("<small>{}</small>", Text(shortened(error, ERROR_CHARACTERS)))
        });
        writeln!(page, "<tr><td>{}</td><td>{}{said}</td></tr>", miss.height, Text(&miss.cause))?;
    }
    writeln!(page, "</tbody></table></div>\n</section>")
}
