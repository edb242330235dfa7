//! Which task: `SCOPE/STAGE/INDEX`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::port::{Key, Range};
use crate::state::{ChainName, KeyFamily, ScopeId};

/// Which task: derived from its scope, stage and index, so that anyone may name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub scope: ScopeId,
    pub stage: String,
    pub index: u32,
}

impl TaskId {
    pub fn new(scope: &ScopeId, stage: &str, index: u32) -> Self {
        Self { scope: scope.clone(), stage: stage.to_owned(), index }
    }

    pub fn task_key(&self) -> Key {
        self.key_of(KeyFamily::Task)
    }

    pub fn marker_key(&self) -> Key {
        self.key_of(KeyFamily::Marker)
    }

    /// Of the item of this family that is about the task.
    pub(in crate::state) fn key_of(&self, family: KeyFamily) -> Key {
        family.key_in(format_args!("{}#{}", self.scope, self.stage), format_args!("{:05}", self.index))
    }

    /// Whose task, marker or judgement this key is of.
    pub fn of_key(key: &Key) -> Option<Self> {
        let family = KeyFamily::of(key)?;
        if !matches!(family, KeyFamily::Task | KeyFamily::Marker | KeyFamily::Judgement) {
            return None;
        }
        let (scope, stage) = KeyFamily::about(key).rsplit_once('#')?;
        Some(Self::new(&ScopeId::as_written(scope), stage, key.sort.parse().ok()?))
    }

    /// Tasks of this stage in this scope, in the order of their indexes.
    pub fn range(scope: &ScopeId, stage: &str, limit: usize) -> Range {
        KeyFamily::Task.range(format_args!("{scope}#{stage}"), limit)
    }

    /// 16 hex digits that spread equal ranks.
    pub fn short_hash(&self) -> String {
        hex::encode(&Sha256::digest(self.to_string().as_bytes())[..8])
    }

    pub fn chain(&self) -> ChainName {
        self.scope.chain()
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
                Ok(Self::new(&ScopeId::as_written(scope), stage, index))
            }
            _ => Err(BadTaskId(text.to_owned())),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no task; `proofyard status --tasks` shows them as SCOPE/STAGE/INDEX")]
pub struct BadTaskId(String);
