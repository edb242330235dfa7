//! A report as one page that needs nothing else: styles, drawings and the little script are in it, and it may load
//! nothing (its own content security policy says so). It is drawn here; the script only shows what is pointed at.
//!
//! Its size is bounded: the newest 2,000 heights in the latency chart, the newest 200 blocks and cuts in the timeline
//! (with 6,000 tasks at most, 64 a block), 200 misses. What is left out is said on the page.

mod cards;
mod escape;
mod latency;
mod scale;
mod tables;
mod timeline;

use std::fmt::Write;

use proofyard_core::report::Report;

use self::escape::Text;
use crate::goals;
use crate::text::head;

/// Stages that have a colour of their own; the rest share one.
const COLOURS: usize = 7;

/// The whole page.
pub fn html(report: &Report) -> String {
    let mut page = String::new();
    // Writing into a string cannot fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &Report) -> std::fmt::Result {
    let stages = stages(report);
    let title = format!("Proofyard: {}", report.chain);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <main>\n<header>\n<p class=\"brand\">Proofyard report</p>\n<h1>{}</h1>\n<p class=\"about\">{}</p>\n</header>\n",
        Text(title),
        include_str!("page.css"),
        Text(&report.chain),
        Text(about(report)),
    )?;
    cards::write(page, report)?;
    latency::write(page, report)?;
    timeline::write(page, report, &stages)?;
    tables::write(page, report, &stages)?;
    writeln!(page, "<footer>")?;
    for note in goals::notes(report) {
        writeln!(page, "<p>{}</p>", Text(note))?;
    }
    write!(
        page,
        "</footer>\n</main>\n<div id=\"tip\" hidden></div>\n<script>\n{}</script>\n</body>\n</html>\n",
        include_str!("page.js")
    )
}

fn about(report: &Report) -> String {
    let head = head(report);
    let about = head.split_once(", ").map_or(head.as_str(), |(_, about)| about);
    let mut about = about.to_owned();
    if let Some(first) = about.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!("{about}. Pipeline {}.", report.pipeline.chars().take(12).collect::<String>())
}

/// Stages in their order; where each stands decides its colour.
fn stages(report: &Report) -> Vec<String> {
    let mut stages: Vec<String> = Vec::new();
    let known = report.provers.iter().map(|row| &row.stage);
    let drawn = report.timeline.iter().flat_map(|row| &row.tasks).map(|task| &task.stage);
    for stage in known.chain(drawn) {
        if !stages.contains(stage) {
            stages.push(stage.clone());
        }
    }
    stages
}

fn colour(stages: &[String], stage: &str) -> usize {
    stages.iter().position(|name| name == stage).unwrap_or(COLOURS).min(COLOURS)
}
