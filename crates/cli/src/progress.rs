//! Showing how a run goes on: a drawing that is kept up to date on a terminal, plain lines or JSON lines elsewhere.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stdout};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proofyard_core::explain::{count, span};
use proofyard_core::status::{ChainStatus, TaskCounts};
use serde_json::{Value, json};

use crate::table::{Side, Table};

const DRAW_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The rate is averaged over this long.
const RATE_OVER: Duration = Duration::from_secs(30);
/// Different notes that are remembered.
const MAX_NOTES: usize = 64;
/// The same error is shown at most once in this time.
const REPEAT_AFTER: Duration = Duration::from_secs(10);
const BAR: usize = 24;
/// Parked tasks that a JSON line names; `status` names all.
const MAX_PARKED_NAMED: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Drawing,
    Lines,
    Json,
}

/// Shared by whoever has something to show.
pub struct Progress {
    style: Style,
    /// The last height there will be, as far as it is known.
    goal: u64,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    /// Lines of the drawing that stand on the screen.
    drawn: usize,
    last: Option<(Instant, Seen)>,
    samples: VecDeque<(Instant, u64)>,
    /// What was shown lately, and when.
    notes: VecDeque<(Instant, String)>,
}

/// The part of the status whose change prints a new line.
#[derive(Clone, PartialEq)]
struct Seen {
    passed: u64,
    counts: Vec<TaskCounts>,
    holds: Vec<String>,
}

/// How fast it goes.
struct Pace {
    blocks_per_s: f64,
    left: Option<Duration>,
}

impl Progress {
    pub fn new(json: bool, goal: u64) -> Self {
        let style = match json {
            true => Style::Json,
            false if stdout().is_terminal() => Style::Drawing,
            false => Style::Lines,
        };
        Self { style, goal, shown: Mutex::default() }
    }

    /// Whether the next update is due; asked before the status is read, which costs storage calls.
    pub fn is_due(&self) -> bool {
        let every = if self.style == Style::Drawing { DRAW_EVERY } else { LINE_EVERY };
        self.lock().last.as_ref().is_none_or(|(at, _)| at.elapsed() >= every)
    }

    /// Shows where the chain is, if that has changed.
    pub fn show(&self, status: &ChainStatus) {
        let mut shown = self.lock();
        let now = Instant::now();
        let pace = shown.pace(now, status.heights_passed, self.blocks(status));
        let seen = Seen {
            passed: status.heights_passed,
            counts: status.stages.iter().map(|stage| stage.tasks).collect(),
            holds: holds(status),
        };
        let changed = shown.last.as_ref().is_none_or(|(_, last)| *last != seen);
        shown.last = Some((now, seen));
        match self.style {
            Style::Drawing => shown.draw(&self.drawing(status, &pace)),
            Style::Lines if changed => crate::output::line(self.sentence(status, &pace)),
            Style::Json if changed => crate::output::line(self.document(status, &pace)),
            Style::Lines | Style::Json => {}
        }
    }

    /// A JSON line of its own; people see the drawing or the lines.
    pub fn event(&self, event: &Value) {
        if self.style == Style::Json {
            crate::output::line(event);
        }
    }

    /// A line for people that stays; JSON readers get events.
    pub fn say(&self, text: &str) {
        let mut shown = self.lock();
        shown.draw(&[]);
        if self.style != Style::Json {
            crate::output::line(text);
        }
    }

    /// Shows an error after which the run goes on, on stderr.
    pub fn note(&self, text: &str) {
        let mut shown = self.lock();
        if shown.is_news(text, Instant::now()) {
            shown.draw(&[]);
            eprintln!("{text}");
        }
    }

    /// Takes the drawing away.
    pub fn end(&self) {
        self.lock().draw(&[]);
    }

    fn blocks(&self, status: &ChainStatus) -> u64 {
        let last = status.tip.as_ref().map_or(self.goal, |tip| tip.height.max(self.goal));
        (last + 1).saturating_sub(status.start_height)
    }

    fn drawing(&self, status: &ChainStatus, pace: &Pace) -> Vec<String> {
        let (passed, blocks) = (status.heights_passed, self.blocks(status));
        let full = usize::try_from(passed * BAR as u64 / blocks.max(1)).unwrap_or(BAR).min(BAR);
        let bar = format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full));
        let mut lines = vec![format!(
            "{}  {bar}  {passed} of {} {}  {}",
            status.chain,
            count(blocks, "block"),
            passed_word(status),
            pace.text()
        )];
        lines.push(format!("lag {}; window {}", lag(status), status.window));
        lines.extend(holds(status));
        lines.extend(parked(status));
        lines.extend(stage_table(status).to_string().lines().map(str::to_owned));
        lines
    }

    fn sentence(&self, status: &ChainStatus, pace: &Pace) -> String {
        let (passed, blocks) = (status.heights_passed, self.blocks(status));
        let mut parts = vec![format!("{passed} of {} {}", count(blocks, "block"), passed_word(status))];
        parts.extend(holds(status));
        parts.extend(parked(status));
        parts.extend(status.stages.iter().filter_map(|stage| {
            let tasks = in_words(&stage.tasks);
            (!tasks.is_empty()).then(|| format!("{} {tasks}", stage.stage))
        }));
        if status.lag_blocks > 0 {
            parts.push(format!("lag {}", lag(status)));
        }
        parts.push(pace.text());
        parts.retain(|part| !part.is_empty());
        parts.join("; ")
    }

    fn document(&self, status: &ChainStatus, pace: &Pace) -> Value {
        json!({
            "event": "progress",
            "chain": status.chain,
            "heights_passed": status.heights_passed,
            "blocks": self.blocks(status),
            "frontier": status.frontier,
            "window": status.window,
            "paused": status.paused,
            "halted": status.halted,
            "lag_blocks": status.lag_blocks,
            "lag_ms": status.lag_ms,
            "parked": status.parked.iter().take(MAX_PARKED_NAMED).collect::<Vec<_>>(),
            "blocks_per_s": pace.blocks_per_s,
            "left_s": pace.left.map(|left| left.as_secs_f64()),
            "stages": status.stages,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Whether it was not shown lately; then it counts as shown now.
    fn is_news(&mut self, text: &str, now: Instant) -> bool {
        self.notes.retain(|(at, _)| now.saturating_duration_since(*at) < REPEAT_AFTER);
        if self.notes.iter().any(|(_, printed)| printed == text) {
            return false;
        }
        if self.notes.len() == MAX_NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back((now, text.to_owned()));
        true
    }

    fn pace(&mut self, now: Instant, passed: u64, blocks: u64) -> Pace {
        if self.samples.back().is_none_or(|(_, last)| *last <= passed) {
            self.samples.push_back((now, passed));
        } else {
            // A reorg or a redo went back.
            self.samples = [(now, passed)].into();
        }
        // One that is older stays, so that a slow chain has a rate too.
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) > RATE_OVER {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, passed));
        let seconds = now.duration_since(since).as_secs_f64();
        let blocks_per_s = if seconds > 0.0 { (passed - before) as f64 / seconds } else { 0.0 };
        let to_go = blocks.saturating_sub(passed);
        let left = (blocks_per_s > 0.0 && to_go > 0)
            .then(|| Duration::try_from_secs_f64(to_go as f64 / blocks_per_s).ok())
            .flatten();
        Pace { blocks_per_s, left }
    }

    /// Puts these lines where the last drawing stands. Long ones are cut off by the terminal (`?7l`), since a line
    /// that wraps would be counted wrong.
    fn draw(&mut self, lines: &[String]) {
        if self.drawn == 0 && lines.is_empty() {
            return;
        }
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
        }
        if !lines.is_empty() {
            text.push_str("\x1b[?7l");
            lines.iter().for_each(|line| text.extend([line, "\n"]));
            text.push_str("\x1b[?7h");
        }
        self.drawn = lines.len();
        let mut out = stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Pace {
    fn text(&self) -> String {
        let left = self.left.map(|left| format!(", {} left", span(left.as_secs() * 1_000)));
        match self.blocks_per_s {
            0.0 => String::new(),
            rate => format!("{rate:.1} blocks/s{}", left.unwrap_or_default()),
        }
    }
}

/// How far behind the chain is.
pub fn lag(status: &ChainStatus) -> String {
    match status.lag_blocks {
        0 => "none".to_owned(),
        blocks => format!("{}, the oldest {}", count(blocks, "block"), span(status.lag_ms)),
    }
}

/// What became of the blocks below the frontier.
pub fn passed_word(status: &ChainStatus) -> &'static str {
    if status.gives_up_late { "committed or missed" } else { "committed" }
}

/// What holds the chain back as a whole.
pub fn holds(status: &ChainStatus) -> Vec<String> {
    let mut holds = Vec::new();
    if let Some(halt) = &status.halted {
        let others = match halt.open.saturating_sub(1) {
            0 => String::new(),
            others => format!(" and {} before it", count(others, "halt")),
        };
        let option = if status.paused { " --halt" } else { "" };
        let reason = &halt.reason;
        holds.push(format!("HALTED: {reason}{others} (`proofyard resume{option}` when it is settled)"));
    }
    if status.paused {
        let option = if status.halted.is_some() { " --pause" } else { "" };
        holds.push(format!("paused (`proofyard resume{option}` goes on)"));
    }
    if let Some(reorg) = &status.reorg {
        holds.push(format!("a reorg from height {} is being written", reorg.from));
    }
    if let Some(trouble) = status.following.as_ref().and_then(|following| following.trouble.as_ref()) {
        holds.push(format!("node: {trouble}"));
    }
    holds
}

/// The first parked task with its reason, and how many others there are.
fn parked(status: &ChainStatus) -> Option<String> {
    let first = status.parked.first()?;
    let others = match status.parked.len() {
        1 => String::new(),
        all => format!(" (and {} more)", all - 1),
    };
    Some(format!("parked at height {}: {}{others}", first.height, first.reason))
}

/// Tasks of open blocks and cuts, by stage.
pub fn stage_table(status: &ChainStatus) -> Table {
    let (left, right) = (Side::Left, Side::Right);
    let mut table = Table::new([
        ("stage", left),
        ("pool", left),
        ("gathering", right),
        ("waiting", right),
        ("running", right),
        ("backing off", right),
        ("parked", right),
        ("accepted", right),
    ]);
    for stage in &status.stages {
        let name = if stage.commits { format!("{} (commits)", stage.stage) } else { stage.stage.clone() };
        let tasks = &stage.tasks;
        let counts =
            [tasks.gathering, tasks.waiting, tasks.running, tasks.backing_off, tasks.parked, tasks.accepted];
        table.row([name, stage.pool.clone()].into_iter().chain(counts.map(|tasks| tasks.to_string())));
    }
    table
}

fn in_words(tasks: &TaskCounts) -> String {
    let counts = [
        (tasks.gathering, "gathering"),
        (tasks.waiting, "waiting"),
        (tasks.running, "running"),
        (tasks.backing_off, "backing off"),
        (tasks.parked, "parked"),
    ];
    let parts = counts.iter().filter(|(tasks, _)| *tasks > 0).map(|(tasks, what)| format!("{tasks} {what}"));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_again_only_after_a_while_also_when_several_alternate() {
        let mut shown = Shown::default();
        let start = Instant::now();
        let mut printed = 0;
        for tenth in 0..300 {
            let now = start + Duration::from_millis(100 * tenth);
            printed += (0..5).filter(|slot| shown.is_news(&format!("slot {slot}: no room"), now)).count();
        }
        assert_eq!(printed, 5 * 3);
        assert!((0..1_000).all(|n| shown.is_news(&format!("news {n}"), start)));
        assert_eq!(shown.notes.len(), MAX_NOTES);
    }

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let mut shown = Shown::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(shown.pace(at(0), 10, 100).left, None);
        let pace = shown.pace(at(10), 30, 100);
        assert_eq!((pace.blocks_per_s, pace.left), (2.0, Some(Duration::from_secs(35))));
        let pace = shown.pace(at(100), 30, 100);
        assert!(pace.blocks_per_s < 2.0);
        // A redo starts anew.
        assert_eq!(shown.pace(at(101), 5, 100).blocks_per_s, 0.0);
        assert_eq!(shown.pace(at(102), 6, 100).blocks_per_s, 1.0);
    }
}
