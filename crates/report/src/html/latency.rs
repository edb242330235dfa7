//! Latency over height: a point a block, the deadline as a line, missed heights marked above all others.

use std::fmt::{Result, Write};

use proofyard_core::report::{BlockFigures, Report, seconds};

use super::escape::Text;
use super::frame::{LEFT, RIGHT, WIDTH, begin, begin_chart, end_chart, line_at, word_below};
use super::scale::{Scale, shows_deadline, tick};
use crate::figures::kib;

/// Newest heights that are drawn.
const MAX_POINTS: usize = 2_000;
const HEIGHT: f64 = 260.0;
/// Missed heights stand in the room above.
const TOP: f64 = 30.0;
const BOTTOM: f64 = 34.0;

pub(super) fn write(page: &mut String, report: &Report) -> Result {
    let blocks = &report.blocks[report.blocks.len().saturating_sub(MAX_POINTS)..];
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(()) };
    let slowest_ms = blocks.iter().filter_map(|block| block.latency_ms).max();
    let deadline_ms = report.deadline_ms;
    let shows_deadline = slowest_ms.is_none_or(|slowest_ms| shows_deadline(deadline_ms, slowest_ms));
    let reach_ms = slowest_ms.unwrap_or(0).max(if shows_deadline { deadline_ms } else { 0 });
    let plot = Plot {
        time: Scale { end_ms: (reach_ms + reach_ms / 12).max(1), length: HEIGHT - TOP - BOTTOM },
        first: first.height,
        heights: last.height - first.height + 1,
    };
    let mut about = "From a block’s acknowledgement to its commit-stage proof being accepted.".to_owned();
    if !shows_deadline {
        about.push_str(&format!(" The deadline of {} is far above.", seconds(deadline_ms)));
    }
    if blocks.len() < report.blocks.len() {
        about.push_str(&format!(" The newest {} heights.", blocks.len()));
    }
    begin(page, "latency", "Latency over height", &about)?;
    begin_chart(page, HEIGHT, "Latency over height")?;
    plot.axes(page)?;
    if blocks.iter().any(|block| block.missed) {
        let (x, y) = (LEFT - 8.0, TOP / 2.0 + 4.0);
        writeln!(page, "<text class=\"deadline\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">missed</text>")?;
    }
    if shows_deadline {
        let y = plot.y(deadline_ms);
        writeln!(
            page,
            "<line class=\"deadline\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"deadline\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">deadline {}</text>",
            WIDTH - RIGHT,
            WIDTH - RIGHT,
            y - 5.0,
            Text(seconds(deadline_ms)),
        )?;
    }
    let radius = if blocks.len() <= 120 { 3.5 } else { 2.0 };
    for block in blocks {
        plot.point(page, block, radius, deadline_ms)?;
    }
    end_chart(page)
}

struct Plot {
    time: Scale,
    first: u64,
    heights: u64,
}

impl Plot {
    fn x(&self, height: u64) -> f64 {
        let place = (height - self.first) as f64 + 0.5;
        LEFT + place / self.heights as f64 * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, ms: u64) -> f64 {
        HEIGHT - BOTTOM - self.time.at(ms)
    }

    fn axes(&self, page: &mut String) -> Result {
        for ms in self.time.ticks(5) {
            line_at(page, self.y(ms), &tick(ms))?;
        }
        let step = self.heights.div_ceil(10).max(1);
        for height in (self.first..self.first + self.heights).step_by(usize::try_from(step).unwrap_or(1)) {
            word_below(page, self.x(height), HEIGHT - BOTTOM + 18.0, height)?;
        }
        Ok(())
    }

    fn point(&self, page: &mut String, block: &BlockFigures, radius: f64, deadline_ms: u64) -> Result {
        let x = self.x(block.height);
        let Some(latency_ms) = block.latency_ms else {
            let y = TOP / 2.0;
            return writeln!(
                page,
                "<path class=\"missed\" d=\"M{:.1} {:.1}l9 9m0 -9l-9 9\"><title>block {}\nmissed</title></path>",
                x - 4.5,
                y - 4.5,
                block.height
            );
        };
        let class = if latency_ms > deadline_ms { "point late" } else { "point" };
        let mut told = format!("block {}\nproved after {}", block.height, seconds(latency_ms));
        if let Some(from) = block.cut_from {
            told.push_str(&format!("\nin the cut from {from}"));
        }
        let trouble = [
            (block.failures, "failed"),
            (block.crashes, "crashed"),
            (block.losses, "lost"),
            (block.delays, "delayed"),
        ];
        let trouble: String =
            trouble.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
        told.push_str(&format!(
            "\n{} of proof\n{} tasks, {} attempts{trouble}",
            kib(block.proof_bytes),
            block.tasks,
            block.attempts
        ));
        writeln!(
            page,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{}</title></circle>",
            self.y(latency_ms),
            Text(told)
        )
    }
}
