//! A report as one page that needs nothing else: styles, drawings and the little script are in it, and it may load
//! nothing (its own content security policy says so). It is drawn here; the script only shows what is pointed at.
//!
//! [`Page`] is one of plots and a table, of whatever was measured. What follows is about reports.
//!
//! Its size is bounded: the newest 2,000 heights in the latency chart, the newest 200 blocks and cuts in the timeline
//! (with 6,000 tasks at most, 64 a block), 200 misses. What is left out is said on the page.

mod cards;
mod escape;
mod frame;
mod latency;
mod page;
mod plot;
mod scale;
mod tables;
mod timeline;

use proofyard_core::report::Report;

use self::page::Heading;
pub use self::page::Page;
pub use self::plot::{Line, Plot};
use crate::goals;
use crate::text::head;

/// Stages that have a colour of their own; the rest share one.
const COLOURS: usize = 7;

/// The whole page.
pub fn html(report: &Report) -> String {
    let stages = stages(report);
    let (title, about) = (format!("Proofyard: {}", report.chain), about(report));
    let heading =
        Heading { title: &title, brand: "Proofyard report", heading: report.chain.as_str(), about: &about };
    page::whole(&heading, goals::notes(report), |page| {
        cards::write(page, report)?;
        latency::write(page, report)?;
        timeline::write(page, report, &stages)?;
        tables::write(page, report, &stages)
    })
}

fn about(report: &Report) -> String {
    let head = head(report);
    let about = head.split_once(", ").map_or(head.as_str(), |(_, about)| about);
    let mut about = about.to_owned();
    if let Some(first) = about.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!("{about}. Pipeline {}.", report.pipeline.as_str().chars().take(12).collect::<String>())
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
