//! The tasks of the newest blocks and cuts in time, from listed to accepted.

use serde::Serialize;

use super::figures::one_line;
use crate::state::{Task, TaskResult, WorkerId};
use crate::status::TaskState;
use crate::status::rows::state_of;

/// Blocks and cuts that are shown with their tasks.
pub const MAX_TIMELINE_ROWS: usize = 200;
/// Tasks of one of them: those that ended last, since they made it late.
const MAX_TASKS_A_ROW: usize = 64;
/// Tasks of all of them.
const MAX_TASKS: usize = 6_000;
const MESSAGE_CHARACTERS: usize = 300;

/// A block or a cut with its tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelineRow {
    pub from: u64,
    pub to: u64,
    /// The stage that made the cut; none for a block.
    pub cut_by: Option<String>,
    pub missed: bool,
    /// A block's acknowledgement; of a cut, that of its first block.
    pub acknowledged_ms: u64,
    pub proved_ms: Option<u64>,
    pub committed_ms: Option<u64>,
    /// In the order in which they were claimed.
    pub tasks: Vec<TaskSpan>,
    /// Tasks beyond the 64 that ended last.
    pub tasks_left_out: u64,
}

/// One task in time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskSpan {
    pub task: String,
    pub stage: String,
    pub index: u32,
    pub state: TaskState,
    pub prover: Option<String>,
    /// Of the result, or of the older of its live attempts.
    pub worker: Option<String>,
    /// Attempts that were started.
    pub attempts: u32,
    pub failures: u32,
    pub losses: u32,
    pub crashes: u32,
    pub delays: u32,
    /// When it was last listed for workers to claim.
    pub listed_ms: u64,
    pub claimed_ms: Option<u64>,
    /// When its inputs were there and proving began.
    pub started_ms: Option<u64>,
    pub prove_ms: Option<u64>,
    pub verify_ms: Option<u64>,
    pub accepted_ms: Option<u64>,
    pub bytes: Option<u64>,
    /// Its newest attempts that came to nothing.
    pub failed: Vec<Failed>,
}

/// An attempt that came to nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failed {
    pub at_ms: u64,
    pub attempt: u32,
    pub worker: String,
    pub message: String,
}

/// Rows as long as there is room for them.
#[derive(Default)]
pub(super) struct Timeline {
    pub(super) rows: Vec<TimelineRow>,
    tasks: usize,
    full: bool,
}

impl Timeline {
    pub(super) fn has_room(&self) -> bool {
        !self.full
    }

    /// Adds the next older row with these tasks, unless a newer one had no room.
    pub(super) fn add<'a>(&mut self, row: TimelineRow, tasks: impl Iterator<Item = &'a Task>) {
        let mut spans: Vec<TaskSpan> = tasks.map(span).collect();
        spans.sort_by_key(|span| std::cmp::Reverse(span.accepted_ms.unwrap_or(u64::MAX)));
        let left_out = spans.len().saturating_sub(MAX_TASKS_A_ROW);
        spans.truncate(MAX_TASKS_A_ROW);
        if self.full || self.tasks + spans.len() > MAX_TASKS || self.rows.len() >= MAX_TIMELINE_ROWS {
            self.full = true;
            return;
        }
        self.tasks += spans.len();
        spans.sort_by(|a, b| (a.claimed_ms, &a.stage, a.index).cmp(&(b.claimed_ms, &b.stage, b.index)));
        self.rows.push(TimelineRow { tasks: spans, tasks_left_out: left_out as u64, ..row });
    }
}

fn span(task: &Task) -> TaskSpan {
    let result = task.accepted();
    let live = task.attempts().iter().min_by_key(|attempt| attempt.started_ms);
    let worker = result.map(|result| &result.worker).or(live.map(|attempt| &attempt.worker));
    let claimed_ms = result.map(|result| result.claimed_ms).or(task.first_claimed_ms());
    let of = |figure: fn(&TaskResult) -> u64| result.map(figure);
    TaskSpan {
        task: task.id().to_string(),
        stage: task.id().stage.clone(),
        index: task.id().index,
        state: state_of(task),
        prover: result.map(|result| result.prover.clone()),
        worker: worker.map(WorkerId::to_string),
        attempts: task.started(),
        failures: task.failures(),
        losses: task.losses(),
        crashes: task.crashes(),
        delays: task.delays(),
        listed_ms: task.listed_ms(),
        claimed_ms,
        started_ms: result.and_then(|result| result.started_ms),
        prove_ms: of(|result| result.prove_ms),
        verify_ms: of(|result| result.verify_ms),
        accepted_ms: of(|result| result.at_ms),
        bytes: of(|result| result.artifact.bytes),
        failed: task
            .notes()
            .iter()
            .map(|note| Failed {
                at_ms: note.at_ms,
                attempt: note.attempt,
                worker: note.worker.to_string(),
                message: one_line(&note.message, MESSAGE_CHARACTERS),
            })
            .collect(),
    }
}
