//! How each stage of a scope stands, and each task that holds it up: who has it since when, and what was tried.

use super::Line;
use super::text::{count, some, span};
use crate::chain_look::ChainLook;
use crate::error::Error;
use crate::listing::attempt_limit_ms;
use crate::pipeline::{Pipeline, Stage, TaskLimits};
use crate::state::{
    Attempt, Group, Heartbeat, Listing, Note, Scope, SeenHeartbeat, Task, TaskId, shown_value,
};
use crate::status::TaskState;
use crate::status::rows::{since_ms, state_of};
use crate::status::work::{ScopeWork, StageWork};
use crate::strategy::votes::Votes;
use crate::strategy::waits_for::WaitsFor;
use crate::transaction::read;
use crate::yard::Yard;

/// Tasks shown of one stage, the ones that most need a look first.
const TASKS_SHOWN: usize = 8;
/// Names shown in one line.
const NAMES: usize = 8;
/// Listings counted before one: beyond this the number says nothing more.
const AHEAD: usize = 100;
/// Characters shown of a checkpoint; `status --tasks --json` has all of it.
const CHECKPOINT_SHOWN: usize = 60;

/// What ends a pause, if there is one.
pub(super) fn pause_of(look: &ChainLook) -> Option<String> {
    look.state.paused.then(|| "`proofyard resume` (paused: running work ends, nothing new starts)".to_owned())
}

impl Yard {
    /// A line for each stage, in dependency order.
    pub(super) async fn stage_lines(&self, look: &ChainLook, work: &ScopeWork) -> Result<Vec<Line>, Error> {
        let mut lines = Vec::new();
        for stage in &work.stages {
            lines.push(self.stage_line(look, work, stage).await?);
        }
        Ok(lines)
    }

    async fn stage_line(&self, look: &ChainLook, work: &ScopeWork, stage: &StageWork) -> Result<Line, Error> {
        let plan = &work.pipeline.stages[stage.index];
        let name = &plan.name;
        let mut line = self.standing_line(look, plan, stage).await?;
        if work.scope.reported_dissent(name) > 0 {
            line.under.extend(self.disagreement_line(&work.scope, &work.pipeline, plan).await?);
        }
        Ok(line)
    }

    /// Who of a quorum says what, by which proofs.
    pub(super) async fn disagreement_line(
        &self,
        scope: &Scope,
        pipeline: &Pipeline,
        stage: &Stage,
    ) -> Result<Option<Line>, Error> {
        let mut said = Vec::new();
        for member in stage.sources() {
            let member = &pipeline.stages[member].name;
            let task: Option<Task> = read(&self.port, &TaskId::new(scope.id(), member, 0).task_key()).await?;
            let Some(proof) = task.and_then(Task::into_accepted) else { continue };
            said.push(Line::new(format!(
                "{member} says {} by the proof {} ({}, made by {} on {})",
                shown_value(proof.public_values.as_deref().unwrap_or_default()),
                proof.artifact.sha256,
                count(proof.artifact.bytes, "byte"),
                proof.prover,
                proof.worker,
            )));
        }
        let title = format!("the provers of stage {} disagree:", stage.name);
        Ok((said.len() > 1).then(|| Line::over(title, said)))
    }

    async fn standing_line(&self, look: &ChainLook, plan: &Stage, stage: &StageWork) -> Result<Line, Error> {
        let name = &plan.name;
        let Some(group) = &stage.group else {
            return Ok(waits_line(name, stage.waits_for.as_ref()));
        };
        if group.is_over() {
            return Ok(Line::new(over_text(name, group)));
        }
        let mut open: Vec<&Task> = stage.open.iter().collect();
        open.sort_by_key(|task| (urgency(task), task.id().index));
        let mut under = Vec::new();
        for task in open.iter().take(TASKS_SHOWN) {
            under.push(self.task_line(look, plan, task).await?);
        }
        // Who works for an action may come for a task, and go.
        let has_workers = !look.pipeline.is_action(&plan.pool);
        if stage.counts.waiting > 0 && has_workers && self.has_live_worker(&plan.pool).await? == Some(false) {
            under.push(Line::new(format!("no worker of pool {} is alive", plan.pool)));
        }
        if open.len() > TASKS_SHOWN {
            under.push(Line::new(format!("and {} more", count((open.len() - TASKS_SHOWN) as u64, "task"))));
        }
        let accepted = stage.counts.accepted;
        let mut text =
            format!("stage {name}: {accepted} of {} accepted", count(group.expected.into(), "task"));
        if !group.is_created() {
            text.push_str(&format!(", {} created so far", group.created));
        }
        Ok(Line::over(text, under))
    }

    async fn task_line(&self, look: &ChainLook, stage: &Stage, task: &Task) -> Result<Line, Error> {
        let since = span(look.now_ms.saturating_sub(since_ms(task)));
        let text = match state_of(task) {
            TaskState::Parked => {
                let reason = task.parked().unwrap_or_default();
                format!("parked for {since}: {reason}")
            }
            TaskState::BackingOff => match task.due_ms() {
                Some(due_ms) if due_ms > look.now_ms => {
                    format!("backing off: tried again in {}", span(due_ms - look.now_ms))
                }
                _ => "backing off: the next attempt is due".to_owned(),
            },
            TaskState::Waiting => {
                let ahead = self.listed_ahead(task).await?;
                format!("waits for a worker of pool {} for {since}{ahead}", task.pool())
            }
            TaskState::Running => self.attempts_text(look, stage, task).await?,
            TaskState::Gathering => self.gathering_text(task).await?,
            TaskState::Accepted => "accepted".to_owned(),
            TaskState::Cancelled => "cancelled".to_owned(),
        };
        let tried = tried(task, &stage.limits);
        let notes = task.notes().iter().map(|note| note_line(look, note)).collect();
        Ok(Line::over(format!("task {}: {text}{tried}", task.id().index), notes))
    }

    /// How many listed tasks of its pool and chain start before this one.
    async fn listed_ahead(&self, task: &Task) -> Result<String, Error> {
        Ok(match self.port.range(&Listing::ahead_of(task, AHEAD)).await?.len() {
            0 => ", first in its line".to_owned(),
            AHEAD => format!(", behind {AHEAD} or more others"),
            ahead => format!(", behind {}", count(ahead as u64, "other")),
        })
    }

    /// What a task of a reduction still waits for.
    async fn gathering_text(&self, task: &Task) -> Result<String, Error> {
        let missing = self.missing_children(task.id()).await?;
        Ok(match missing.is_empty() {
            true => "has all that it joins; it is listed at the next look".to_owned(),
            false => format!("joins {} that are not there yet", some(&missing, NAMES)),
        })
    }

    async fn attempts_text(&self, look: &ChainLook, stage: &Stage, task: &Task) -> Result<String, Error> {
        let mut texts = Vec::new();
        for attempt in task.attempts() {
            texts.push(self.attempt_text(look, stage, attempt).await?);
        }
        if task.is_listed() {
            texts.push("a second copy waits for a worker".to_owned());
        }
        Ok(texts.join("; "))
    }

    async fn attempt_text(
        &self,
        look: &ChainLook,
        stage: &Stage,
        attempt: &Attempt,
    ) -> Result<String, Error> {
        let Attempt { worker, number, started_ms, .. } = attempt;
        let heartbeat: Option<Heartbeat> = read(&self.port, &Heartbeat::key_of(worker)).await?;
        let seen: Option<SeenHeartbeat> = read(&self.port, &SeenHeartbeat::key_of(worker)).await?;
        let lease = match (heartbeat, seen) {
            (None, _) => "that worker is gone, and the task is listed again at the next look".to_owned(),
            (Some(heartbeat), Some(seen)) if seen.at_ms == heartbeat.at_ms => {
                let until_ms = seen.since_ms.saturating_add(heartbeat.lease_ms);
                match until_ms.checked_sub(look.now_ms) {
                    Some(left_ms) if left_ms > 0 => format!("its lease holds for {}", span(left_ms)),
                    _ => {
                        let since = span(look.now_ms.saturating_sub(until_ms));
                        format!(
                            "its lease ran out {since} ago, and the task is listed again at the next look"
                        )
                    }
                }
            }
            (Some(heartbeat), _) => format!("its lease holds for {}", span(heartbeat.lease_ms)),
        };
        let ran_ms = look.now_ms.saturating_sub(*started_ms);
        let left_ms = attempt_limit_ms(&stage.limits).saturating_sub(ran_ms);
        let limit = match left_ms {
            0 => "over its time limit".to_owned(),
            left_ms => format!("time limit in {}", span(left_ms)),
        };
        Ok(format!("worker {worker} runs attempt {number} for {} ({lease}; {limit})", span(ran_ms)))
    }
}

fn urgency(task: &Task) -> u8 {
    match state_of(task) {
        TaskState::Parked => 0,
        TaskState::BackingOff => 1,
        TaskState::Running => 2,
        TaskState::Gathering => 4,
        _ => 3,
    }
}

fn tried(task: &Task, limits: &TaskLimits) -> String {
    let mut text = String::new();
    if task.failures() > 0 {
        text.push_str(&format!("; {} of {}", count(task.failures().into(), "failure"), limits.max_attempts));
    }
    if task.crashes() > 0 {
        text.push_str(&format!(
            "; {} of {}",
            count(task.crashes().into(), "crashed attempt"),
            limits.max_crashes
        ));
    }
    if task.delays() > 0 {
        text.push_str(&format!("; {} of an unavailable prover", count(task.delays().into(), "delay")));
    }
    if task.losses() > 0 {
        text.push_str(&format!("; {}", count(task.losses().into(), "lost worker")));
    }
    if let Some(checkpoint) = task.checkpoint() {
        text.push_str(&format!("; the next attempt resumes from {:?}", beginning(checkpoint)));
    }
    text
}

/// Of a checkpoint.
fn beginning(text: &str) -> &str {
    text.char_indices().nth(CHECKPOINT_SHOWN).map_or(text, |(end, _)| &text[..end])
}

fn note_line(look: &ChainLook, note: &Note) -> Line {
    let ago = span(look.now_ms.saturating_sub(note.at_ms));
    let text = format!("attempt {} on {}, {ago} ago: {}", note.attempt, note.worker, note.message);
    Line::over(text, note.log.iter().map(|line| Line::new(format!("| {line}"))).collect())
}

fn over_text(name: &str, group: &Group) -> String {
    match (group.cancelled, group.expected) {
        (true, _) => format!("stage {name}: cancelled, the quorum did not need it"),
        (false, 0) => format!("stage {name}: agreed"),
        (false, tasks) => format!("stage {name}: done ({})", count(tasks.into(), "task")),
    }
}

fn waits_line(name: &str, waits_for: Option<&WaitsFor>) -> Line {
    let text = match waits_for {
        None | Some(WaitsFor::DisagreementRecorded) => {
            format!("stage {name}: all that it gathers is there; it opens at the next look")
        }
        Some(WaitsFor::Stages(stages)) => format!("stage {name}: waits for {}", some(stages, NAMES)),
        Some(WaitsFor::Members { stage, heights }) => {
            format!("stage {name}: waits for stage {stage} of {}", heights_text(heights))
        }
        Some(WaitsFor::Commit) => format!("stage {name}: starts once the block is committed"),
        Some(WaitsFor::Blocked(reason)) => format!("stage {name}: cannot start, {reason}"),
        Some(WaitsFor::Votes(Votes { need, members })) => {
            let is_in = members.iter().filter(|(_, value)| value.is_some()).count();
            let votes = members.iter().map(|(member, value)| match value {
                Some(value) => Line::new(format!("{member}: in, with public values {}", shown_value(value))),
                None => Line::new(format!("{member}: missing")),
            });
            let text = format!("stage {name}: {is_in} of {} in, and {need} must agree", members.len());
            return Line::over(text, votes.collect());
        }
    };
    Line::new(text)
}

fn heights_text(heights: &[u64]) -> String {
    let noun = if heights.len() == 1 { "block" } else { "blocks" };
    format!("{noun} {}", some(heights, NAMES))
}
