//! The timeline: for each of the newest blocks and cuts its tasks in time, since the block's acknowledgement.

use std::fmt::{Result, Write};

use proofyard_core::explain::count;
use proofyard_core::report::{DeadlineIs, Report, TaskSpan, TimelineRow, seconds};
use proofyard_core::status::TaskState;

use super::escape::Text;
use super::scale::{Scale, shows_deadline, tick};
use super::{COLOURS, colour};
use crate::figures::kib;

const WIDTH: f64 = 1_080.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 16.0;
const AXIS: f64 = 24.0;
const LANE: f64 = 11.0;
const BAR: f64 = 8.0;
const PADDING: f64 = 5.0;
/// Thinner ones would not be seen.
const MIN_BAR: f64 = 1.5;
/// A row that takes longer than so many times most of the others is cut off at the edge.
const CUT_OFF: u64 = 3;

pub(super) fn write(page: &mut String, report: &Report, stages: &[String]) -> Result {
    let rows = &report.timeline;
    if rows.is_empty() {
        return Ok(());
    }
    let given_up_after_ms = (report.deadline_is == DeadlineIs::Pipeline).then_some(report.deadline_ms);
    let mut ends: Vec<u64> =
        rows.iter().map(|row| end_ms(row, given_up_after_ms).saturating_sub(row.acknowledged_ms)).collect();
    ends.sort_unstable();
    let longest_ms = ends.last().copied().unwrap_or(0);
    let most_ms = ends.get((ends.len() * 9 / 10).min(ends.len() - 1)).copied().unwrap_or(0);
    let shown_ms = longest_ms.min(most_ms.saturating_mul(CUT_OFF).max(1));
    let shows_deadline = shows_deadline(report.deadline_ms, shown_ms);
    let reach_ms = if shows_deadline { shown_ms.max(report.deadline_ms) } else { shown_ms };
    let time = Scale { end_ms: (reach_ms + reach_ms / 50).max(1), length: WIDTH - LEFT - RIGHT };
    let drawing = Drawing {
        time,
        stages,
        deadline_ms: shows_deadline.then_some(report.deadline_ms),
        given_up_after_ms,
    };
    head(page, report, stages, shown_ms < longest_ms)?;
    drawing.axis(page)?;
    drawing.rows(page, rows)?;
    writeln!(page, "</div>\n</section>")
}

/// What the rows are, in words.
fn shown(report: &Report) -> String {
    let cuts = report.timeline.iter().filter(|row| row.cut_by.is_some()).count();
    let blocks = report.timeline.len() - cuts;
    let blocks_text = count(blocks as u64, "block");
    let rows =
        if cuts > 0 { format!("{blocks_text} and {}", count(cuts as u64, "cut")) } else { blocks_text };
    if blocks < report.blocks.len() { format!("The newest {rows}") } else { rows }
}

fn head(page: &mut String, report: &Report, stages: &[String], cut_off: bool) -> Result {
    let mut about = format!(
        "{} with {} tasks, newest first; time since the block’s acknowledgement. Solid: proving; dark: verifying; \
         pale: fetching, storing, recording; line before: waiting for a worker.",
        shown(report),
        if report.timeline.len() == 1 { "its" } else { "their" },
    );
    if cut_off {
        about.push_str(" What took far longer than the rest is cut off at the edge.");
    }
    writeln!(page, "<section id=\"timeline\">\n<h2>Timeline</h2>\n<p class=\"about\">{}</p>", Text(about))?;
    writeln!(page, "<p class=\"legend\">")?;
    for (place, stage) in stages.iter().enumerate() {
        writeln!(
            page,
            "<button type=\"button\" class=\"s{}\" data-stage=\"{place}\" aria-pressed=\"false\"><i></i>{}</button>",
            place.min(COLOURS),
            Text(stage)
        )?;
    }
    writeln!(
        page,
        "<span><i class=\"proved\"></i>proof accepted</span><span><i class=\"cross\">✕</i>failed or lost</span></p>"
    )?;
    writeln!(page, "<div class=\"scroll\">")
}

/// When the last thing happened that is drawn of it; given up is what a missed height is after `given_up_after_ms`.
fn end_ms(row: &TimelineRow, given_up_after_ms: Option<u64>) -> u64 {
    let tasks = row.tasks.iter().flat_map(|task| {
        let failed = task.failed.last().map(|failed| failed.at_ms);
        [task.accepted_ms, task.claimed_ms, failed].into_iter().flatten()
    });
    let given_up_ms = given_up_after_ms.filter(|_| row.missed).map(|after_ms| row.acknowledged_ms + after_ms);
    tasks.chain(row.proved_ms).chain(given_up_ms).max().unwrap_or(row.acknowledged_ms)
}

struct Drawing<'a> {
    time: Scale,
    stages: &'a [String],
    deadline_ms: Option<u64>,
    given_up_after_ms: Option<u64>,
}

impl Drawing<'_> {
    fn axis(&self, page: &mut String) -> Result {
        writeln!(page, "<svg class=\"chart axis\" viewBox=\"0 0 {WIDTH} {AXIS}\" aria-hidden=\"true\">")?;
        for ms in self.time.ticks(10) {
            let x = LEFT + self.time.at(ms);
            writeln!(
                page,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"16\" text-anchor=\"middle\">{}</text>",
                tick(ms)
            )?;
        }
        writeln!(page, "</svg>")
    }

    fn rows(&self, page: &mut String, rows: &[TimelineRow]) -> Result {
        let mut body = String::new();
        let mut y = 0.0;
        for row in rows {
            y += self.row(&mut body, row, y)?;
        }
        writeln!(
            page,
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {y:.1}\" role=\"img\" aria-label=\"Tasks of each block in time\">\n\
             <clipPath id=\"plot\"><rect x=\"{LEFT}\" y=\"0\" width=\"{:.1}\" height=\"{y:.1}\"/></clipPath>",
            WIDTH - LEFT
        )?;
        for ms in self.time.ticks(10) {
            let x = LEFT + self.time.at(ms);
            writeln!(page, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{y:.1}\"/>")?;
        }
        if let Some(deadline_ms) = self.deadline_ms {
            let x = LEFT + self.time.at(deadline_ms);
            writeln!(
                page,
                "<line class=\"deadline\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{y:.1}\">\
                 <title>deadline {}</title></line>",
                Text(seconds(deadline_ms))
            )?;
        }
        writeln!(page, "{body}</svg>")
    }

    /// Draws one block or cut, and answers how high it is.
    fn row(&self, page: &mut String, row: &TimelineRow, y: f64) -> std::result::Result<f64, std::fmt::Error> {
        let lanes = lanes(row, self.given_up_after_ms);
        let count = lanes.iter().max().map_or(1, |last| last + 1);
        let height = count as f64 * LANE + 2.0 * PADDING;
        let class = if row.missed { "row missed" } else { "row" };
        writeln!(
            page,
            "<g class=\"{class}\"><line class=\"rule\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}<title>{}</title></text>\
             <g clip-path=\"url(#plot)\">",
            LEFT - 8.0,
            y + PADDING + 8.5,
            Text(name(row)),
            Text(about(row)),
        )?;
        for (task, lane) in row.tasks.iter().zip(&lanes) {
            self.task(page, row, task, y + PADDING + *lane as f64 * LANE)?;
        }
        if let Some(proved_ms) = row.proved_ms.filter(|_| !row.missed) {
            let x = self.x(row, proved_ms);
            writeln!(
                page,
                "<line class=\"proved\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                y + 1.5,
                y + height - 1.5
            )?;
        }
        writeln!(page, "</g></g>")?;
        Ok(height)
    }

    fn x(&self, row: &TimelineRow, at_ms: u64) -> f64 {
        LEFT + self.time.at(at_ms.saturating_sub(row.acknowledged_ms))
    }

    fn task(&self, page: &mut String, row: &TimelineRow, task: &TaskSpan, y: f64) -> Result {
        let stage = colour(self.stages, &task.stage);
        let place = self.stages.iter().position(|name| *name == task.stage).unwrap_or(COLOURS);
        write!(
            page,
            "<g class=\"task s{stage}\" data-stage=\"{place}\"><title>{}</title>",
            Text(told(row, task))
        )?;
        let (begin, end) = extent(row, task, self.given_up_after_ms);
        let x = |at_ms: u64| self.x(row, at_ms);
        let claimed_ms = task.claimed_ms.unwrap_or(end);
        if begin < claimed_ms {
            let middle = y + BAR / 2.0;
            let (from, to) = (x(begin), x(claimed_ms));
            write!(page, "<path class=\"wait\" d=\"M{from:.1} {middle:.1}H{to:.1}\"/>")?;
        }
        let bar = |page: &mut String, class: &str, from_ms: u64, to_ms: u64| {
            let (from, to) = (x(from_ms), x(to_ms));
            let width = (to - from).max(MIN_BAR);
            write!(
                page,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>"
            )
        };
        match (task.accepted_ms, task.claimed_ms) {
            (Some(accepted_ms), Some(_)) => {
                bar(page, "held", claimed_ms, accepted_ms)?;
                let started_ms = task.started_ms.unwrap_or(claimed_ms);
                // What an earlier attempt proved was taken up: this one only verified it.
                let is_taken_up = started_ms < claimed_ms;
                let proved_ms = match is_taken_up {
                    true => claimed_ms,
                    false => started_ms.saturating_add(task.prove_ms.unwrap_or(0)),
                };
                if !is_taken_up {
                    bar(page, "prove", started_ms, proved_ms)?;
                }
                if let Some(verify_ms) = task.verify_ms.filter(|verify_ms| *verify_ms > 0) {
                    bar(page, "verify", proved_ms, proved_ms.saturating_add(verify_ms))?;
                }
            }
            (None, Some(_)) => bar(page, "open", claimed_ms, end)?,
            _ => {}
        }
        for failed in &task.failed {
            let (at, top) = (x(failed.at_ms), y + 0.5);
            write!(page, "<path class=\"failed\" d=\"M{:.1} {top:.1}l7 7m0 -7l-7 7\"/>", at - 3.5)?;
        }
        writeln!(page, "</g>")
    }
}

fn name(row: &TimelineRow) -> String {
    match &row.cut_by {
        Some(_) => format!("{}..{}", row.from, row.to),
        None => row.from.to_string(),
    }
}

fn about(row: &TimelineRow) -> String {
    let what = match &row.cut_by {
        Some(stage) => format!("cut {}..{} of stage {stage}", row.from, row.to),
        None => format!("block {}", row.from),
    };
    let end = match (row.missed, row.proved_ms) {
        (true, _) => "\nmissed".to_owned(),
        (false, Some(proved_ms)) => {
            format!("\nproved after {}", seconds(proved_ms.saturating_sub(row.acknowledged_ms)))
        }
        (false, None) => String::new(),
    };
    let left_out = match row.tasks_left_out {
        0 => String::new(),
        left_out => format!("\n{left_out} tasks that ended earlier are not drawn"),
    };
    what + &end + &left_out
}

/// From when to when something is drawn of a task.
fn extent(row: &TimelineRow, task: &TaskSpan, given_up_after_ms: Option<u64>) -> (u64, u64) {
    let failed = || task.failed.iter().map(|failed| failed.at_ms);
    let begin = task.claimed_ms.into_iter().chain(failed()).fold(task.listed_ms, u64::min);
    let end = task.accepted_ms.into_iter().chain(failed()).chain(task.claimed_ms).max();
    let end = end.unwrap_or(task.listed_ms);
    let open_until = if task.accepted_ms.is_none() { end_ms(row, given_up_after_ms) } else { end };
    (begin, end.max(open_until))
}

/// A lane for each task, so that none covers another.
fn lanes(row: &TimelineRow, given_up_after_ms: Option<u64>) -> Vec<usize> {
    let mut ends: Vec<u64> = Vec::new();
    let spans = row.tasks.iter().map(|task| {
        let (begin, end) = extent(row, task, given_up_after_ms);
        // Waiting is a thin line; only tasks that were held or failed need room of their own.
        let begin = task
            .claimed_ms
            .into_iter()
            .chain(task.failed.first().map(|failed| failed.at_ms))
            .min()
            .unwrap_or(begin);
        (begin, end)
    });
    spans
        .map(|(begin, end)| match ends.iter().position(|taken| *taken <= begin) {
            Some(lane) => {
                ends[lane] = end;
                lane
            }
            None => {
                ends.push(end);
                ends.len() - 1
            }
        })
        .collect()
}

fn told(row: &TimelineRow, task: &TaskSpan) -> String {
    let since = |at_ms: u64| seconds(at_ms.saturating_sub(row.acknowledged_ms));
    let state = match task.state {
        TaskState::Accepted => "accepted",
        TaskState::Parked => "parked",
        TaskState::Cancelled => "cancelled: the quorum did not need it",
        TaskState::Running => "still running",
        TaskState::Gathering | TaskState::Waiting | TaskState::BackingOff => "not proved",
    };
    let mut lines = vec![format!("{} {} of {}: {state}", task.stage, task.index, about_line(row))];
    lines.extend(task.prover.as_ref().map(|prover| format!("prover {prover}")));
    lines.extend(task.worker.as_ref().map(|worker| format!("worker {worker}")));
    lines.push(format!(
        "{} started, {} failed, {} crashed, {} lost, {} delayed",
        attempts(task.attempts),
        task.failures,
        task.crashes,
        task.losses,
        task.delays
    ));
    if let Some(claimed_ms) = task.claimed_ms {
        let waited_ms = claimed_ms.saturating_sub(task.listed_ms);
        lines.push(format!("claimed at {}, after waiting {}", since(claimed_ms), seconds(waited_ms)));
    }
    if let (Some(prove_ms), Some(verify_ms)) = (task.prove_ms, task.verify_ms) {
        lines.push(format!("proving {}, verifying {}", seconds(prove_ms), seconds(verify_ms)));
    }
    if let (Some(accepted_ms), Some(bytes)) = (task.accepted_ms, task.bytes) {
        lines.push(format!("accepted at {}, {}", since(accepted_ms), kib(bytes)));
    }
    lines.extend(task.failed.iter().map(|failed| {
        format!(
            "attempt {} on {} ended at {}: {}",
            failed.attempt,
            failed.worker,
            since(failed.at_ms),
            failed.message
        )
    }));
    lines.join("\n")
}

fn about_line(row: &TimelineRow) -> String {
    match &row.cut_by {
        Some(_) => format!("cut {}..{}", row.from, row.to),
        None => format!("block {}", row.from),
    }
}

fn attempts(number: u32) -> String {
    count(number.into(), "attempt")
}
