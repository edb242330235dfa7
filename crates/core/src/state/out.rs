//! `O#chain#stage`: committed results in order, and how far each sink has read them.

use serde::{Deserialize, Serialize};

use super::{ArtifactRef, height_key};
use crate::port::{Key, Range};
use crate::transaction::Item;

/// One entry; (chain, stage, sequence) is the key by which a sink can tell a repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutEntry {
    pub chain: String,
    pub stage: String,
    pub sequence: u64,
    pub at_ms: u64,
    #[serde(flatten)]
    pub kind: OutKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OutKind {
    /// These heights are proved by these proofs (several where a quorum agreed).
    Proof { from: u64, to: u64, hash: String, scope: String, proofs: Vec<OutProof> },
    /// What earlier entries said of these heights no longer holds.
    Retract { from: u64, to: u64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutProof {
    pub stage: String,
    pub index: u32,
    pub artifact: ArtifactRef,
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
    pub proof_system: Option<String>,
}

impl OutEntry {
    pub fn key_of(chain: &str, stage: &str, sequence: u64) -> Key {
        Key::new(format!("O#{chain}#{stage}"), height_key(sequence))
    }

    pub fn range_from(chain: &str, stage: &str, sequence: u64, limit: usize) -> Range {
        Range {
            partition: format!("O#{chain}#{stage}"),
            from: height_key(sequence),
            to: None,
            limit,
            reverse: false,
        }
    }
}

impl Item for OutEntry {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.stage, self.sequence)
    }
}

/// The next range of an after-commit cut stage to emit, and its sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutState {
    pub chain: String,
    /// The `sequential` stage that made the cuts.
    pub stage: String,
    pub next_from: u64,
    pub next_sequence: u64,
}

impl OutState {
    pub fn key_of(chain: &str, stage: &str) -> Key {
        Key::new(format!("C#{chain}"), format!("out#{stage}"))
    }
}

impl Item for OutState {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.stage)
    }
}

/// How far a sink has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkCursor {
    pub chain: String,
    pub sink: String,
    pub next_sequence: u64,
    /// Tries in a row that failed.
    pub failures: u32,
    pub last_error: Option<String>,
    pub next_try_ms: Option<u64>,
}

impl SinkCursor {
    pub fn key_of(chain: &str, sink: &str) -> Key {
        Key::new(format!("C#{chain}"), format!("sink#{sink}"))
    }
}

impl Item for SinkCursor {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.sink)
    }
    fn due_ms(&self) -> Option<u64> {
        self.next_try_ms
    }
}
