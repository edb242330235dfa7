//! Rows: what a task looks like to a person, and how many are in each state.

use super::{ParkedTask, TaskCounts, TaskRow, TaskState};
use crate::state::{Life, Task};

impl TaskCounts {
    pub(super) fn add(&mut self, state: TaskState) {
        match state {
            TaskState::Gathering => self.gathering += 1,
            TaskState::Waiting => self.waiting += 1,
            TaskState::Running => self.running += 1,
            TaskState::BackingOff => self.backing_off += 1,
            TaskState::Parked => self.parked += 1,
            TaskState::Accepted => self.accepted += 1,
            TaskState::Cancelled => self.cancelled += 1,
        }
    }

    pub(crate) fn sum(self, other: Self) -> Self {
        Self {
            gathering: self.gathering + other.gathering,
            waiting: self.waiting + other.waiting,
            running: self.running + other.running,
            backing_off: self.backing_off + other.backing_off,
            parked: self.parked + other.parked,
            accepted: self.accepted + other.accepted,
            cancelled: self.cancelled + other.cancelled,
        }
    }
}

/// A straggler whose second copy is listed runs.
pub(crate) fn state_of(task: &Task) -> TaskState {
    match task.life() {
        Life::Gathering => TaskState::Gathering,
        Life::Listed => TaskState::Waiting,
        Life::Live { .. } => TaskState::Running,
        Life::BackingOff { .. } | Life::Unlisted => TaskState::BackingOff,
        Life::Parked { .. } => TaskState::Parked,
        Life::Accepted { .. } => TaskState::Accepted,
        Life::Cancelled => TaskState::Cancelled,
    }
}

/// Since when a task is in its state.
pub(crate) fn since_ms(task: &Task) -> u64 {
    let last_note_ms = task.notes().last().map(|note| note.at_ms);
    match state_of(task) {
        TaskState::Running => task.attempts().iter().map(|attempt| attempt.started_ms).min(),
        TaskState::BackingOff | TaskState::Parked => last_note_ms,
        TaskState::Accepted => task.accepted().map(|accepted| accepted.at_ms),
        TaskState::Gathering | TaskState::Waiting | TaskState::Cancelled => None,
    }
    .unwrap_or(task.listed_ms())
}

pub(crate) fn parked_task(task: &Task) -> Option<ParkedTask> {
    Some(ParkedTask {
        task: task.id().to_string(),
        height: task.height(),
        reason: task.parked()?.to_owned(),
        note: task.notes().last().cloned(),
    })
}

pub(crate) fn row(task: &Task) -> TaskRow {
    let oldest = task.attempts().iter().min_by_key(|attempt| attempt.started_ms);
    TaskRow {
        task: task.id().to_string(),
        height: task.height(),
        stage: task.id().stage.clone(),
        index: task.id().index,
        state: state_of(task),
        rank: task.rank().to_owned(),
        worker: oldest.map(|attempt| attempt.worker.to_string()),
        attempt: oldest.map_or(task.started(), |attempt| attempt.number),
        since_ms: since_ms(task),
        failures: task.failures(),
        losses: task.losses(),
        crashes: task.crashes(),
        delays: task.delays(),
        checkpoint: task.checkpoint().map(str::to_owned),
        note: task.notes().last().cloned(),
    }
}
