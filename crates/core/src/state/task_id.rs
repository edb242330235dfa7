//! Which task: `SCOPE/STAGE/INDEX`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::port::Key;

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
