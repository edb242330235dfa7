//! A task as it is stored: flags beside each other, as versions before [`Life`] wrote them.

use serde::{Deserialize, Serialize};

use super::{History, Life, Task, TaskId};
use crate::state::{Attempt, Avoid, Note, PipelineHash, TaskResult, Usage, WorkerId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredTask {
    id: TaskId,
    pipeline: PipelineHash,
    height: u64,
    pool: String,
    rank: String,
    status: Status,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gathers: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    feeds: Option<u32>,
    listed: bool,
    listed_ms: u64,
    attempts: Vec<Attempt>,
    started: u32,
    failures: u32,
    losses: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    crashes: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    delays: u32,
    permanent: Vec<WorkerId>,
    avoid: Option<Avoid>,
    first_claimed_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero_ms")]
    spent_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits_ms: Option<u64>,
    notes: Vec<Note>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Usage::is_nothing")]
    usage: Usage,
    parked: Option<String>,
    accepted: Option<TaskResult>,
    due_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Open,
    Accepted,
    Parked,
    Cancelled,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_zero_ms(time_ms: &u64) -> bool {
    *time_ms == 0
}

/// Flags that no task has together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no task is {0}")]
pub(super) struct ImpossibleTask(&'static str);

impl TryFrom<StoredTask> for Task {
    type Error = ImpossibleTask;

    fn try_from(stored: StoredTask) -> Result<Self, ImpossibleTask> {
        let life = stored.life()?;
        let StoredTask { id, pipeline, height, pool, rank, feeds, .. } = stored;
        let history = History {
            listed_ms: stored.listed_ms,
            started: stored.started,
            failures: stored.failures,
            losses: stored.losses,
            crashes: stored.crashes,
            delays: stored.delays,
            permanent: stored.permanent,
            avoid: stored.avoid,
            first_claimed_ms: stored.first_claimed_ms,
            spent_ms: stored.spent_ms,
            notes: stored.notes,
            checkpoint: stored.checkpoint,
            usage: stored.usage,
        };
        Ok(Self { id, pipeline, height, pool, rank, feeds, life, history })
    }
}

impl StoredTask {
    /// What a task leaves behind when it is over (its pause, why it was parked) says nothing any more, nor when one that is
    /// merely listed was due: older versions kept them.
    fn life(&self) -> Result<Life, ImpossibleTask> {
        let impossible = |what| Err(ImpossibleTask(what));
        let attempts = self.attempts.len();
        if attempts > Task::MAX_LIVE_ATTEMPTS {
            return impossible("run more often than twice at once");
        }
        if self.status != Status::Accepted && self.accepted.is_some() {
            return impossible("not accepted and has a result");
        }
        if self.status != Status::Open && (self.listed || attempts > 0) {
            return impossible("parked or over, and listed or run");
        }
        if self.gathers && matches!(self.status, Status::Accepted | Status::Parked) {
            return impossible("parked or accepted, and still gathers");
        }
        Ok(match (self.status, self.due_ms) {
            (Status::Accepted, due_ms) => match self.accepted.clone() {
                Some(result) => Life::Accepted { result: Box::new(result), due_ms },
                None => return impossible("accepted without a result"),
            },
            (Status::Parked, due_ms) => match self.parked.clone() {
                Some(reason) => Life::Parked { reason, due_ms },
                None => return impossible("parked for no reason"),
            },
            (Status::Cancelled, _) => Life::Cancelled,
            (Status::Open, _) if self.parked.is_some() => {
                return impossible("open, with a reason why it is parked");
            }
            (Status::Open, _) if self.gathers => match self.listed || attempts > 0 {
                false => Life::Gathering,
                true => return impossible("listed or run while it gathers"),
            },
            (Status::Open, due_ms) if attempts > 0 => {
                Life::Live { attempts: self.attempts.clone(), listed: self.listed, due_ms }
            }
            (Status::Open, _) if self.listed => Life::Listed,
            (Status::Open, Some(due_ms)) => Life::BackingOff { waits_ms: self.waits_ms, due_ms },
            (Status::Open, None) => Life::Unlisted,
        })
    }
}

impl From<Task> for StoredTask {
    fn from(task: Task) -> Self {
        let (listed, due_ms, gathers) = (task.is_listed(), task.due_ms(), task.gathers());
        let waits_ms = task.unmeasured_pause_ms();
        let Task { id, pipeline, height, pool, rank, feeds, life, history } = task;
        let (mut attempts, mut parked, mut accepted) = (Vec::new(), None, None);
        let status = match life {
            Life::Live { attempts: live, .. } => {
                attempts = live;
                Status::Open
            }
            Life::Gathering | Life::Listed | Life::BackingOff { .. } | Life::Unlisted => Status::Open,
            Life::Parked { reason, .. } => {
                parked = Some(reason);
                Status::Parked
            }
            Life::Accepted { result, .. } => {
                accepted = Some(*result);
                Status::Accepted
            }
            Life::Cancelled => Status::Cancelled,
        };
        Self {
            id,
            pipeline,
            height,
            pool,
            rank,
            status,
            gathers,
            feeds,
            listed,
            listed_ms: history.listed_ms,
            attempts,
            started: history.started,
            failures: history.failures,
            losses: history.losses,
            crashes: history.crashes,
            delays: history.delays,
            permanent: history.permanent,
            avoid: history.avoid,
            first_claimed_ms: history.first_claimed_ms,
            spent_ms: history.spent_ms,
            waits_ms,
            notes: history.notes,
            checkpoint: history.checkpoint,
            usage: history.usage,
            parked,
            accepted,
            due_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::json_row;

    const ATTEMPT: &str = r#"{"number":2,"worker":"w","slot":0,"claim":"c2","started_ms":70}"#;
    const SECOND: &str = r#"{"number":3,"worker":"v","slot":1,"claim":"c3","started_ms":80}"#;
    const RESULT: &str = concat!(
        r#"{"artifact":{"sha256":"5a","bytes":4},"public_values":"0a","verification_key":null,"#,
        r#""proof_system":"toy","security_bits":100,"trusted_setup":false,"cycles":7,"#,
        r#""list":{"count":2,"sha256":"6b"},"fields":{"root":"aa"},"prover":"p","worker":"w","attempt":2,"#,
        r#""claimed_ms":70,"started_ms":71,"prove_ms":5,"verify_ms":1,"at_ms":90}"#
    );

    /// What is open and never ran, with some of its fields written otherwise.
    fn row(changes: &[(&str, &str)]) -> String {
        let fields = [
            ("id", r#"{"scope":"c:b:1:a1:0","stage":"prove","index":0}"#),
            ("pipeline", r#""ab""#),
            ("height", "1"),
            ("pool", r#""cpu""#),
            ("rank", r#""00#1""#),
            ("status", r#""open""#),
            ("gathers", ""),
            ("feeds", ""),
            ("listed", "false"),
            ("listed_ms", "60"),
            ("attempts", "[]"),
            ("started", "0"),
            ("failures", "0"),
            ("losses", "0"),
            ("crashes", ""),
            ("delays", ""),
            ("permanent", "[]"),
            ("avoid", "null"),
            ("first_claimed_ms", "null"),
            ("spent_ms", ""),
            ("waits_ms", ""),
            ("notes", "[]"),
            ("checkpoint", ""),
            ("usage", ""),
            ("parked", "null"),
            ("accepted", "null"),
            ("due_ms", "null"),
        ];
        json_row(&fields, changes)
    }

    fn life_of(text: &str) -> Life {
        serde_json::from_str::<Task>(text).expect("a task").life
    }

    #[test]
    fn every_state_is_read_and_written_as_earlier_versions_wrote_it() {
        let attempt: Attempt = serde_json::from_str(ATTEMPT).expect("an attempt");
        let second: Attempt = serde_json::from_str(SECOND).expect("an attempt");
        let result: TaskResult = serde_json::from_str(RESULT).expect("a result");
        let (one, two) = (format!("[{ATTEMPT}]"), format!("[{ATTEMPT},{SECOND}]"));
        let ran = [
            ("started", "3"),
            ("failures", "1"),
            ("losses", "1"),
            ("crashes", "2"),
            ("delays", "1"),
            ("permanent", r#"["w"]"#),
            ("avoid", r#"{"worker":"w","until_ms":95}"#),
            ("first_claimed_ms", "61"),
            ("spent_ms", "9"),
            ("notes", r#"[{"at_ms":65,"attempt":1,"worker":"w","message":"no","log":["a line"]}]"#),
            ("checkpoint", r#""job 7""#),
            ("usage", r#"{"priced":1,"nanousd":3,"measured":1,"gpu_mj":5,"given":1,"given_mj":7}"#),
        ];
        let live = |attempts: &[&Attempt], listed| Life::Live {
            attempts: attempts.iter().map(|attempt| (*attempt).clone()).collect(),
            listed,
            due_ms: Some(99),
        };
        let states: Vec<(Life, Vec<(&str, &str)>)> = vec![
            (Life::Gathering, vec![("gathers", "true"), ("feeds", "1"), ("listed_ms", "0")]),
            (Life::Listed, vec![("listed", "true")]),
            (live(&[&attempt], false), vec![("attempts", &one), ("due_ms", "99")]),
            (live(&[&attempt], true), vec![("attempts", &one), ("due_ms", "99"), ("listed", "true")]),
            (live(&[&attempt, &second], false), vec![("attempts", &two), ("due_ms", "99")]),
            (Life::BackingOff { waits_ms: None, due_ms: 99 }, vec![("due_ms", "99")]),
            (Life::BackingOff { waits_ms: Some(4), due_ms: 99 }, vec![("due_ms", "99"), ("waits_ms", "4")]),
            (Life::Unlisted, vec![]),
            (
                Life::Parked { reason: "spent".into(), due_ms: Some(99) },
                vec![("status", r#""parked""#), ("parked", r#""spent""#), ("due_ms", "99")],
            ),
            (
                Life::Accepted { result: Box::new(result), due_ms: None },
                vec![("status", r#""accepted""#), ("accepted", RESULT)],
            ),
            (Life::Cancelled, vec![("status", r#""cancelled""#)]),
        ];
        for (life, changes) in states {
            for text in [row(&changes), row(&[&changes[..], &ran].concat())] {
                let task: Task = serde_json::from_str(&text).expect("a task");
                assert_eq!(task.life, life);
                assert_eq!(serde_json::to_string(&task).expect("a row"), text);
            }
        }
    }

    #[test]
    fn what_older_versions_left_behind_says_nothing() {
        let cancelled = [("status", r#""cancelled""#), ("parked", r#""spent""#), ("due_ms", "99")];
        assert_eq!(life_of(&row(&cancelled)), Life::Cancelled);
        let accepted = row(&[("status", r#""accepted""#), ("accepted", RESULT), ("waits_ms", "4")]);
        assert!(matches!(life_of(&accepted), Life::Accepted { due_ms: None, .. }));
        assert_eq!(life_of(&row(&[("listed", "true"), ("due_ms", "99")])), Life::Listed);
    }

    #[test]
    fn flags_that_no_task_has_together_are_damage() {
        let one = format!("[{ATTEMPT}]");
        let three = format!("[{ATTEMPT},{SECOND},{ATTEMPT}]");
        let impossible: [&[(&str, &str)]; 9] = [
            &[("attempts", &three)],
            &[("accepted", RESULT)],
            &[("status", r#""accepted""#)],
            &[("status", r#""parked""#)],
            &[("parked", r#""spent""#)],
            &[("status", r#""parked""#), ("parked", r#""spent""#), ("attempts", &one)],
            &[("status", r#""accepted""#), ("accepted", RESULT), ("listed", "true")],
            &[("gathers", "true"), ("listed", "true")],
            &[("gathers", "true"), ("status", r#""parked""#), ("parked", r#""spent""#)],
        ];
        for changes in impossible {
            let read: Result<Task, _> = serde_json::from_str(&row(changes));
            assert!(read.is_err_and(|error| error.to_string().starts_with("no task is ")), "{changes:?}");
        }
    }
}
