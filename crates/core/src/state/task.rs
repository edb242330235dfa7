//! `T#`, `M#` and `R#`: tasks, their open markers, and their listings for workers to claim.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ArtifactRef;
use crate::port::{Key, Range};
use crate::transaction::{Item, too_large};

/// Which task: derived from its scope, stage and index, so that anyone may name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub scope: String,
    pub stage: String,
    pub index: u32,
}

impl TaskId {
    pub fn new(scope: &str, stage: &str, index: u32) -> Self {
        Self { scope: scope.to_owned(), stage: stage.to_owned(), index }
    }

    pub fn task_key(&self) -> Key {
        Key::new(format!("T#{}#{}", self.scope, self.stage), index_key(self.index))
    }

    pub fn marker_key(&self) -> Key {
        Key::new(format!("M#{}#{}", self.scope, self.stage), index_key(self.index))
    }

    /// 16 hex digits that spread equal ranks.
    pub fn short_hash(&self) -> String {
        hex::encode(&Sha256::digest(self.to_string().as_bytes())[..8])
    }

    pub fn chain(&self) -> &str {
        self.scope.split(':').next().unwrap_or_default()
    }
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.scope, self.stage, self.index)
    }
}

impl std::str::FromStr for TaskId {
    type Err = BadTaskId;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, BadTaskId> {
        let mut parts = text.rsplitn(3, '/');
        let (index, stage, scope) = (parts.next(), parts.next(), parts.next());
        let index = index.and_then(|index| index.parse().ok());
        match (scope, stage, index) {
            (Some(scope), Some(stage), Some(index)) if !scope.is_empty() => {
                Ok(Self::new(scope, stage, index))
            }
            _ => Err(BadTaskId(text.to_owned())),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no task; `proofyard status --tasks` shows them as SCOPE/STAGE/INDEX")]
pub struct BadTaskId(String);

fn index_key(index: u32) -> String {
    format!("{index:05}")
}

/// One run of a stage's prover on a fixed list of inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    /// The pipeline its scope opened with.
    pub pipeline: String,
    pub height: u64,
    pub pool: String,
    /// The order in which it starts; fixed when it is first listed.
    pub rank: String,
    pub status: TaskStatus,
    /// It joins outputs of its own group or of a cut's members, and not all of them are there: it is not listed yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gathers: bool,
    /// The task of its own group that joins its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feeds: Option<u32>,
    /// A listing of it is there to be claimed.
    pub listed: bool,
    pub listed_ms: u64,
    /// Live ones, at most [`Task::MAX_LIVE_ATTEMPTS`].
    pub attempts: Vec<Attempt>,
    /// Attempts ever started.
    pub started: u32,
    /// The prover, or a verifier, said no.
    pub failures: u32,
    /// The worker vanished.
    pub losses: u32,
    /// The prover's process died by a signal that the yard did not send.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crashes: u32,
    /// The prover was unavailable.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delays: u32,
    /// Workers that reported a permanent error, one entry an attempt.
    pub permanent: Vec<String>,
    pub avoid: Option<Avoid>,
    pub first_claimed_ms: Option<u64>,
    /// How long its attempts took, each by the clock of the host that ran it, and the pauses between them.
    #[serde(default, skip_serializing_if = "is_zero_ms")]
    pub spent_ms: u64,
    /// The pause that it is to make, where who said so has another clock than the yard's: the sweeper sets when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_ms: Option<u64>,
    /// How attempts ended badly, the newest ones, oldest first, at most [`Task::MAX_NOTES`].
    pub notes: Vec<Note>,
    pub parked: Option<String>,
    pub accepted: Option<TaskResult>,
    pub due_ms: Option<u64>,
}

impl Task {
    /// One, and a straggler's second copy.
    pub const MAX_LIVE_ATTEMPTS: usize = 2;
    pub const MAX_NOTES: usize = 5;

    pub fn is_open(&self) -> bool {
        self.status == TaskStatus::Open
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    Open,
    Accepted,
    /// Waits for an operator.
    Parked,
    /// A quorum did not need it.
    Cancelled,
}

/// One try at a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    pub worker: String,
    pub slot: u32,
    /// The worker's own id for having taken it.
    pub claim: String,
    pub started_ms: u64,
}

/// A preference, not a ban: the worker that failed it gets it again after `until_ms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Avoid {
    pub worker: String,
    pub until_ms: u64,
}

/// How an attempt ended badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub at_ms: u64,
    pub attempt: u32,
    pub worker: String,
    pub message: String,
    /// The prover's last log lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// What an attempt made, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    pub artifact: ArtifactRef,
    /// Hex; what the verifier read from the proof. `None` for data.
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
    pub proof_system: Option<String>,
    pub security_bits: Option<u32>,
    /// Whether the proof system needs a trusted setup; absent where the prover does not say, and in older state.
    #[serde(default)]
    pub trusted_setup: Option<bool>,
    pub cycles: Option<u64>,
    pub list: Option<List>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    pub prover: String,
    pub worker: String,
    pub attempt: u32,
    pub claimed_ms: u64,
    /// When its inputs were there and proving began; absent in older state.
    #[serde(default)]
    pub started_ms: Option<u64>,
    pub prove_ms: u64,
    pub verify_ms: u64,
    /// When it was accepted.
    pub at_ms: u64,
}

/// The output is a list; `core` reads no artifacts, so the worker reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    pub count: u32,
    pub sha256: String,
}

impl Item for Task {
    fn key(&self) -> Key {
        self.id.task_key()
    }
    fn due_ms(&self) -> Option<u64> {
        self.due_ms.filter(|_| self.status != TaskStatus::Cancelled)
    }
    fn damage(&self) -> Option<String> {
        let times = [
            self.first_claimed_ms,
            self.waits_ms,
            self.due_ms,
            self.avoid.as_ref().map(|avoid| avoid.until_ms),
        ];
        let attempts = self.attempts.iter().map(|attempt| attempt.started_ms);
        let result = self.accepted.iter().flat_map(|result| {
            [
                result.artifact.bytes,
                result.claimed_ms,
                result.started_ms.unwrap_or(0),
                result.prove_ms,
                result.verify_ms,
                result.at_ms,
            ]
        });
        let counts = [self.height, self.listed_ms, self.spent_ms];
        too_large(times.into_iter().flatten().chain(attempts).chain(result).chain(counts))
    }
}

/// There until the task's result is accepted (or the task cancelled).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Marker {
    pub id: TaskId,
    /// As its task does, so that one range shows what may be listed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gathers: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_zero_ms(time_ms: &u64) -> bool {
    *time_ms == 0
}

impl Marker {
    pub fn of(task: &Task) -> Self {
        Self { id: task.id.clone(), gathers: task.gathers }
    }

    pub fn range(scope: &str, stage: &str, limit: usize) -> Range {
        Range::all(format!("M#{scope}#{stage}"), limit)
    }
}

impl Item for Marker {
    fn key(&self) -> Key {
        self.id.marker_key()
    }
}

/// A task that may be claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    pub id: TaskId,
    pub pool: String,
    pub rank: String,
    pub avoid: Option<Avoid>,
}

impl Listing {
    pub fn of(task: &Task) -> Self {
        Self {
            id: task.id.clone(),
            pool: task.pool.clone(),
            rank: task.rank.clone(),
            avoid: task.avoid.clone(),
        }
    }

    /// All pools have one shard until one needs more than about 200 claims a second on DynamoDB.
    pub fn partition(pool: &str, chain: &str) -> String {
        format!("R#{pool}#{chain}#0")
    }
}

impl Item for Listing {
    fn key(&self) -> Key {
        Key::new(
            Self::partition(&self.pool, self.id.chain()),
            format!("{}#{}", self.rank, self.id.short_hash()),
        )
    }
    fn damage(&self) -> Option<String> {
        too_large([self.avoid.as_ref().map_or(0, |avoid| avoid.until_ms)])
    }
}
