//! `S#scope`: what work belongs to, a block or a cut, and its life.
//!
//! ```text
//!        adopt           open           prove           commit
//! Stored ────▶ Waiting ───────▶ Open ────────▶ Proved ─────────▶ Committed ⟲ commit: the frontier came by again
//!                ▲  │             │ miss
//!          adopt │  │ miss        ▼
//!                │  └─────────▶ Missed ⟲ miss: the frontier came by again
//! Orphaned ──────┘
//!     ▲ orphan: from every state on the chain
//! ```
//!
//! A block that was proved and returns is opened as Proved. Whatever is opened is looked at by the sweeper until it is settled:
//! `settle` ends its watch, in every state from Open on. A cut starts as Open. Only the methods here change a scope's life,
//! each named after what happened. `advance` alone calls them, but for `adopt` of a block that is appended to the tip, which is
//! `record`'s.

mod id;
mod queries;
mod stored;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::id::{BadScopeId, NamedScope, ScopeId};
use self::stored::StoredScope;
use super::{Blocked, KeyFamily, PipelineHash, Subject};
use crate::port::Key;
use crate::state::ChainName;
use crate::transaction::{Item, too_large};

/// A block or a cut, with how far its proving has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredScope", into = "StoredScope")]
pub struct Scope {
    id: ScopeId,
    chain: ChainName,
    subject: Subject,
    pipeline: PipelineHash,
    recorded_ms: u64,
    /// When the block's sender was told that it is kept, where that was before it was recorded.
    acknowledged_ms: Option<u64>,
    standing: Standing,
    canonical_ms: Option<u64>,
    opened_ms: Option<u64>,
    proved_ms: Option<u64>,
    relist: bool,
    disagreements: Vec<String>,
    /// One for each stage that is.
    blocked: Vec<Blocked>,
}

/// What a scope is.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Acknowledged, never canonical.
    Stored,
    /// On the chain, and not opened, or not again: the window has not reached it.
    Waiting,
    Open {
        watch: Watch,
    },
    /// The proof that commits or emits it is accepted.
    Proved {
        watch: Watch,
    },
    /// A block's commit, or a cut's commit or emission.
    Committed {
        at_ms: u64,
        watch: Watch,
    },
    /// Given up; `at_ms` is absent in older state.
    Missed {
        at_ms: Option<u64>,
        watch: Watch,
    },
    /// Left the chain; for a cut: holds a block that did. It had come so far.
    Orphaned {
        progress: Progress,
        missed_ms: Option<u64>,
    },
}

/// Whether the sweeper looks at an opened scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    Due(Option<u64>),
    /// Nothing is left to do, late quorum members included.
    Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// Acknowledged, never canonical.
    Stored,
    Canonical,
    /// Left the chain; for a cut: holds a block that did.
    Orphaned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    Waiting,
    Open,
    /// The proof that commits or emits it is accepted.
    Proved,
    Missed,
}

impl Scope {
    pub fn key_of(id: &ScopeId) -> Key {
        KeyFamily::Scope.key(id)
    }

    /// Which scope's item this key is of.
    pub fn id_of_key(key: &Key) -> Option<ScopeId> {
        let is_scope = KeyFamily::of(key) == Some(KeyFamily::Scope);
        is_scope.then(|| ScopeId::as_written(KeyFamily::about(key)))
    }

    /// As it is when it is first recorded: off the chain, with nothing done.
    pub(crate) fn new(id: ScopeId, chain: &ChainName, subject: Subject, recorded_ms: u64) -> Self {
        Self {
            id,
            chain: chain.clone(),
            subject,
            pipeline: PipelineHash::none(),
            recorded_ms,
            acknowledged_ms: None,
            standing: Standing::Stored,
            canonical_ms: None,
            opened_ms: None,
            proved_ms: None,
            relist: false,
            disagreements: Vec::new(),
            blocked: Vec::new(),
        }
    }

    /// Its sender was told that it is kept before it was recorded.
    pub fn acknowledged_at(self, at_ms: Option<u64>) -> Self {
        let acknowledged_ms = at_ms.filter(|at_ms| *at_ms < self.recorded_ms);
        Self { acknowledged_ms, ..self }
    }

    /// Takes the fields that were not kept when the block came; says whether there are any. None is changed.
    pub fn add_fields(&mut self, fields: &BTreeMap<String, String>) -> bool {
        let Subject::Block(block) = &mut self.subject else { return false };
        let before = block.fields.len();
        for (name, value) in fields {
            block.fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
        block.fields.len() > before
    }

    /// It is on the chain, for the first time or again: then it opens when the window reaches it, with all the proofs it has.
    pub fn adopt(&mut self, since_ms: Option<u64>) {
        if !self.is_canonical() {
            self.standing = Standing::Waiting;
            self.canonical_ms = since_ms;
            self.relist = self.opened_ms.is_some();
        }
    }

    /// It left the chain. Its proofs are kept for its return.
    pub fn orphan(&mut self) {
        if self.is_canonical() {
            self.standing = Standing::Orphaned { progress: self.progress(), missed_ms: self.missed_ms() };
        }
    }

    /// The window reached it. A block that returned keeps the pipeline it opened with, and its proof.
    pub fn open(&mut self, pipeline: &PipelineHash, now_ms: u64, due_ms: Option<u64>) {
        if self.standing != Standing::Waiting {
            return;
        }
        let watch = Watch::Due(due_ms);
        self.standing = match self.proved_ms {
            None => Standing::Open { watch },
            Some(_) => Standing::Proved { watch },
        };
        self.opened_ms.get_or_insert(now_ms);
        if self.pipeline.is_none() {
            self.pipeline.clone_from(pipeline);
        }
    }

    /// Its open tasks are listed again.
    pub fn relisted(&mut self) {
        self.relist = false;
    }

    /// The proof that commits or emits it is accepted.
    pub fn prove(&mut self, now_ms: u64) {
        if let Standing::Open { watch } = self.standing {
            self.standing = Standing::Proved { watch };
            self.proved_ms = Some(now_ms);
        }
    }

    /// The frontier, or a cut's out log, moves over it.
    pub fn commit(&mut self, now_ms: u64) {
        if let Standing::Proved { watch } | Standing::Committed { watch, .. } = self.standing {
            self.standing = Standing::Committed { at_ms: now_ms, watch };
        }
    }

    /// The frontier moves over it without a proof. It stays watched, since members of its quorums may still disagree.
    pub fn miss(&mut self, now_ms: u64, due_ms: u64) {
        if matches!(self.standing, Standing::Waiting | Standing::Open { .. } | Standing::Missed { .. }) {
            let at_ms = Some(self.missed_ms().unwrap_or(now_ms));
            self.standing = Standing::Missed { at_ms, watch: Watch::Due(Some(due_ms)) };
        }
    }

    /// Nothing is left to do for it.
    pub fn settle(&mut self) {
        if let Standing::Open { watch }
        | Standing::Proved { watch }
        | Standing::Committed { watch, .. }
        | Standing::Missed { watch, .. } = &mut self.standing
        {
            *watch = Watch::Settled;
        }
    }

    /// So many more proofs of a quorum stage are not of the largest group.
    pub fn dissent(&mut self, stage: &str, more: usize) {
        self.disagreements.extend((0..more).map(|_| stage.to_owned()));
    }

    /// A stage cannot start. Of each, the last reason counts.
    pub fn block_stage(&mut self, blocked: Blocked) {
        self.blocked.retain(|before| before.stage != blocked.stage);
        self.blocked.push(blocked);
    }
}

impl Item for Scope {
    fn key(&self) -> Key {
        Self::key_of(&self.id)
    }
    fn due_ms(&self) -> Option<u64> {
        self.due_ms()
    }
    fn damage(&self) -> Option<String> {
        let (from, to) = self.heights();
        if !self.id.is_about(&self.chain, &self.subject) {
            return Some(format!("it says that it is of {from} to {to}, and has another id"));
        }
        if self.cut().is_some_and(|cut| to.checked_sub(from) != (cut.members.len() as u64).checked_sub(1)) {
            return Some(format!("it says that it is of {from} to {to}, and has not that many blocks"));
        }
        let times = [
            self.canonical_ms,
            self.acknowledged_ms,
            self.opened_ms,
            self.proved_ms,
            self.missed_ms(),
            self.committed_ms(),
            self.due_ms(),
        ];
        let members = self.cut().map_or(&[][..], |cut| &cut.members);
        let generations = members.iter().map(|member| member.generation);
        let payload_bytes = self.block().map_or(0, |block| block.payload.bytes);
        let counts = [self.recorded_ms, to, payload_bytes];
        too_large(times.into_iter().flatten().chain(counts).chain(generations))
    }
}
