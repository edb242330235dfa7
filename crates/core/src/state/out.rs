//! `O#chain#log`: committed results in order, and how far each sink has read them.
//!
//! A chain's commits have one log, [`COMMITS`], whatever its commit stage is called at the time. What a `sequential` stage
//! makes after the commit has a log of its own, named by that stage.
//!
//! Entries are added and never changed: committed blocks and emitted cuts by `advance`, retracts by a reorg that is recorded. A
//! sink's place is written by `sinks`, and where it begins by a pipeline put in force.

use serde::{Deserialize, Serialize};

use super::{ArtifactRef, BlockHash, ChainName, KeyFamily, ScopeId, height_key};
use crate::port::{Key, Range};
use crate::transaction::{Item, too_large};

/// The log of a chain's commits. No stage may be called so.
pub const COMMITS: &str = "commits";

/// One entry; (chain, log, sequence) is the key by which a sink can tell a repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutEntry {
    pub chain: ChainName,
    pub log: String,
    pub sequence: u64,
    pub at_ms: u64,
    #[serde(flatten)]
    pub kind: OutKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OutKind {
    /// These heights are proved by these proofs (several where a quorum agreed).
    Proof { from: u64, to: u64, hash: BlockHash, scope: ScopeId, proofs: Vec<OutProof> },
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
    pub fn key_of(chain: &ChainName, log: &str, sequence: u64) -> Key {
        Key::new(Self::partition(chain, log), height_key(sequence))
    }

    fn partition(chain: &ChainName, log: &str) -> String {
        KeyFamily::OutEntry.partition(format_args!("{chain}#{log}"))
    }

    /// These, the newest first.
    pub fn range_back(chain: &ChainName, log: &str, sequences: std::ops::Range<u64>) -> Range {
        Range {
            partition: Self::partition(chain, log),
            from: height_key(sequences.start),
            to: Some(height_key(sequences.end)),
            limit: usize::try_from(sequences.end.saturating_sub(sequences.start)).unwrap_or(usize::MAX),
            reverse: true,
        }
    }

    pub fn range_from(chain: &ChainName, log: &str, sequence: u64, limit: usize) -> Range {
        Range {
            partition: Self::partition(chain, log),
            from: height_key(sequence),
            to: None,
            limit,
            reverse: false,
        }
    }
}

impl Item for OutEntry {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.log, self.sequence)
    }
    fn damage(&self) -> Option<String> {
        let (OutKind::Proof { from, to, .. } | OutKind::Retract { from, to }) = &self.kind;
        let proofs = match &self.kind {
            OutKind::Proof { proofs, .. } => &proofs[..],
            OutKind::Retract { .. } => &[],
        };
        let bytes = proofs.iter().map(|proof| proof.artifact.bytes);
        too_large([self.sequence, self.at_ms, *from, *to].into_iter().chain(bytes))
    }
}

/// The next range of an after-commit cut stage to emit, and the next sequence of its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutState {
    pub chain: ChainName,
    /// The `sequential` stage that makes the cuts; the log's name too.
    pub stage: String,
    pub next_from: u64,
    pub next_sequence: u64,
}

impl OutState {
    pub fn key_of(chain: &ChainName, stage: &str) -> Key {
        KeyFamily::OutState.key_in(chain, stage)
    }
}

impl Item for OutState {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.stage)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.next_from.max(self.next_sequence)])
    }
}

/// How far a sink has come in a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkCursor {
    pub chain: ChainName,
    pub sink: String,
    pub log: String,
    pub next_sequence: u64,
    /// An operator paused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// It was handed nothing at or above this height that still counts; absent in older state, where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_below: Option<u64>,
    /// Tries in a row that failed.
    pub failures: u32,
    pub last_error: Option<String>,
    pub next_try_ms: Option<u64>,
    /// Of a sink that is told once in a while: the entry that it gets for all from the next one on, until it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// No other is chosen before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call_ms: Option<u64>,
    /// How far such a sink's log was looked through for what takes back what it was handed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Looked>,
}

/// The newest entry at the time of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    pub sequence: u64,
    /// What the sink's `handed_below` was before: it holds again where nothing of the entry was sent.
    pub handed_below: Option<u64>,
}

/// All entries below were looked at in this epoch of the chain: a later one alone may have brought retracts above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    pub epoch: u64,
    pub below: u64,
}

/// A chain's, before its first reorg.
pub(crate) const FIRST_EPOCH: u64 = 0;

impl SinkCursor {
    /// Retracts up to this epoch of the chain were looked for.
    pub fn has_looked_at(&self, epoch: u64) -> bool {
        self.looked.as_ref().map_or(FIRST_EPOCH, |looked| looked.epoch) == epoch
    }

    /// A place in a log at which no try has failed yet.
    pub fn at(chain: &ChainName, sink: &str, log: &str, next_sequence: u64) -> Self {
        Self {
            chain: chain.clone(),
            sink: sink.to_owned(),
            log: log.to_owned(),
            next_sequence,
            paused: false,
            handed_below: Some(0),
            failures: 0,
            last_error: None,
            next_try_ms: None,
            chosen: None,
            next_call_ms: None,
            looked: None,
        }
    }

    /// The entry that it is handed next.
    pub fn waits_with(&self) -> u64 {
        self.chosen.as_ref().map_or(self.next_sequence, |chosen| chosen.sequence)
    }

    /// It has the entry.
    pub fn handed(self, entry: &OutEntry) -> Self {
        let handed_below = match entry.kind {
            OutKind::Proof { to, .. } => self.handed_below.map(|below| below.max(to.saturating_add(1))),
            OutKind::Retract { from, .. } => Some(self.handed_below.map_or(from, |below| below.min(from))),
        };
        Self { handed_below, ..self.passed(entry) }
    }

    /// It may have the entry, though nobody knows yet.
    pub fn offered(self, entry: &OutEntry) -> Self {
        match entry.kind {
            OutKind::Proof { .. } => Self { handed_below: self.clone().handed(entry).handed_below, ..self },
            OutKind::Retract { .. } => self,
        }
    }

    /// That it may have the entry is written down.
    pub fn may_have(&self, entry: &OutEntry) -> bool {
        *self == self.clone().offered(entry)
    }

    /// Below which height it may have been notified of blocks by what is before this entry, given the one right before it.
    pub fn handed_before(entry: Option<&OutEntry>) -> u64 {
        match entry.map(|entry| &entry.kind) {
            Some(OutKind::Proof { to, .. }) => to.saturating_add(1),
            Some(OutKind::Retract { from, .. }) => *from,
            None => 0,
        }
    }

    /// It goes on behind the entry.
    pub fn passed(self, entry: &OutEntry) -> Self {
        self.passed_below(entry.sequence.saturating_add(1))
    }

    /// It goes on with this entry.
    pub fn passed_below(self, sequence: u64) -> Self {
        Self { next_sequence: sequence, chosen: None, ..self.untried() }
    }

    /// Nothing of the chosen entry was sent: a newer one may stand for it.
    pub fn unchosen(self) -> Self {
        match self.chosen {
            Some(Chosen { handed_below, .. }) => {
                Self { handed_below, chosen: None, next_call_ms: None, ..self }
            }
            None => self,
        }
    }

    /// No try has failed.
    pub fn untried(self) -> Self {
        Self { failures: 0, last_error: None, next_try_ms: None, ..self }
    }

    pub fn key_of(chain: &ChainName, sink: &str, log: &str) -> Key {
        KeyFamily::SinkCursor.key_in(chain, format_args!("{sink}#{log}"))
    }
}

impl Item for SinkCursor {
    fn key(&self) -> Key {
        Self::key_of(&self.chain, &self.sink, &self.log)
    }
    fn due_ms(&self) -> Option<u64> {
        self.next_try_ms.or(self.next_call_ms)
    }
    fn damage(&self) -> Option<String> {
        let chosen = self
            .chosen
            .iter()
            .flat_map(|chosen| Some(chosen.sequence).into_iter().chain(chosen.handed_below));
        let looked = self.looked.iter().flat_map(|looked| [looked.epoch, looked.below]);
        let times_ms = self.next_try_ms.into_iter().chain(self.next_call_ms);
        too_large(
            [self.next_sequence]
                .into_iter()
                .chain(self.handed_below)
                .chain(times_ms)
                .chain(chosen)
                .chain(looked),
        )
    }
}
