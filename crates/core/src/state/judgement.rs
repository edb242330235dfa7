//! `V#`: what the judge found of a proof that is to be handed on. Nobody else may write it.

use serde::{Deserialize, Serialize};

use super::{ArtifactRef, KeyFamily, TaskId, TaskResult, WorkerId};
use crate::port::Key;
use crate::transaction::Item;

/// Written once, and about exactly these bytes, values and key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    pub id: TaskId,
    pub artifact: ArtifactRef,
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
    pub proof_system: Option<String>,
    /// Who recorded it.
    pub worker: WorkerId,
    /// Why it does not stand; absent where its verifier accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    pub judge: String,
    pub at_ms: u64,
}

impl Judgement {
    pub fn key_of(id: &TaskId) -> Key {
        id.key_of(KeyFamily::Judgement)
    }

    /// Whether it is about what the task says now.
    pub fn is_of(&self, result: &TaskResult) -> bool {
        self.artifact == result.artifact
            && self.public_values == result.public_values
            && self.verification_key == result.verification_key
            && self.proof_system == result.proof_system
    }
}

impl Item for Judgement {
    fn key(&self) -> Key {
        Self::key_of(&self.id)
    }
}
