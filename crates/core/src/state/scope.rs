//! `S#scope`: what work belongs to, a block or a cut, and its groups of tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ArtifactRef;
use crate::port::Key;
use crate::strategy::reduce::Tree;
use crate::transaction::{Item, too_large};

/// A block or a cut, with how far its proving has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    pub id: String,
    pub chain: String,
    pub subject: Subject,
    pub branch: Branch,
    pub progress: Progress,
    /// The pipeline it opened with; empty before.
    pub pipeline: String,
    pub recorded_ms: u64,
    /// Since when it is on the chain; absent in older state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_ms: Option<u64>,
    /// When the block's sender was told that it is kept, where that was before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_ms: Option<u64>,
    pub opened_ms: Option<u64>,
    pub proved_ms: Option<u64>,
    /// When it was given up; absent in older state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_ms: Option<u64>,
    /// A block's commit, or a cut's commit or emission.
    pub committed_ms: Option<u64>,
    /// It came back to the chain: open tasks that nobody lists or runs must be listed again.
    pub relist: bool,
    /// Quorum stages whose disagreement was reported, once for each proof that is not of the largest group; each report
    /// halted the chain.
    pub disagreements: Vec<String>,
    /// Why a stage cannot start though all that it gathers is there.
    pub blocked: Option<String>,
    /// Nothing is left to do, late quorum members included.
    pub settled: bool,
    pub due_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Block(Block),
    Cut(Cut),
}

/// What the domain needs to know of a block; the rest is in its payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub height: u64,
    pub hash: String,
    pub parent: String,
    pub timestamp_s: u64,
    /// 0 where it names none.
    pub segments: u32,
    /// Fields of the node's JSON, under its names: those by which the pipeline closed cuts when the block came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// What provers get.
    pub payload: ArtifactRef,
}

/// A closed range of contiguous canonical blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    pub stage: String,
    pub from: u64,
    pub to: u64,
    pub first_parent: String,
    pub last_hash: String,
    pub timestamp_s: u64,
    /// Why it closed, for people.
    pub closed_by: String,
    pub members: Vec<CutMember>,
}

impl Cut {
    /// The scope of a member, counted from the first.
    pub fn member_id(&self, chain: &str, member: u32) -> Option<String> {
        let CutMember { hash, generation } = self.members.get(member as usize)?;
        Some(Scope::block_id(chain, self.from + u64::from(member), hash, *generation))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutMember {
    pub hash: String,
    pub generation: u64,
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
    /// As it is when it is first recorded: off the chain, with nothing done.
    /// Since when its sender relies on this yard.
    pub fn acknowledged_ms(&self) -> u64 {
        self.acknowledged_ms.unwrap_or(self.recorded_ms)
    }

    pub fn new(id: String, chain: &str, subject: Subject, recorded_ms: u64) -> Self {
        Self {
            id,
            chain: chain.to_owned(),
            subject,
            branch: Branch::Stored,
            progress: Progress::Waiting,
            pipeline: String::new(),
            recorded_ms,
            canonical_ms: None,
            acknowledged_ms: None,
            opened_ms: None,
            proved_ms: None,
            missed_ms: None,
            committed_ms: None,
            relist: false,
            disagreements: Vec::new(),
            blocked: None,
            settled: false,
            due_ms: None,
        }
    }

    pub fn key_of(id: &str) -> Key {
        Key::new(format!("S#{id}"), "scope")
    }

    pub fn block_id(chain: &str, height: u64, hash: &str, generation: u64) -> String {
        format!("{chain}:b:{height}:{hash}:{generation}")
    }

    pub fn cut_id(chain: &str, stage: &str, from: u64, to: u64, epoch: u64) -> String {
        format!("{chain}:c:{stage}:{from}-{to}:{epoch}")
    }

    fn id_without_generation(&self) -> String {
        let chain = &self.chain;
        match &self.subject {
            Subject::Block(Block { height, hash, .. }) => format!("{chain}:b:{height}:{hash}:"),
            Subject::Cut(Cut { stage, from, to, .. }) => format!("{chain}:c:{stage}:{from}-{to}:"),
        }
    }

    pub fn block(&self) -> Option<&Block> {
        match &self.subject {
            Subject::Block(block) => Some(block),
            Subject::Cut(_) => None,
        }
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

    pub fn cut(&self) -> Option<&Cut> {
        match &self.subject {
            Subject::Block(_) => None,
            Subject::Cut(cut) => Some(cut),
        }
    }

    /// Proofs of a quorum stage whose dissent was reported.
    pub fn reported_dissent(&self, stage: &str) -> usize {
        self.disagreements.iter().filter(|reported| *reported == stage).count()
    }

    /// First and last height.
    pub fn heights(&self) -> (u64, u64) {
        match &self.subject {
            Subject::Block(block) => (block.height, block.height),
            Subject::Cut(cut) => (cut.from, cut.to),
        }
    }

    /// Its work is wanted: on the chain, opened, not given up.
    pub fn is_live(&self) -> bool {
        self.branch == Branch::Canonical && matches!(self.progress, Progress::Open | Progress::Proved)
    }

    /// Who disagrees in it is to be heard: also where it was given up, while members may still bring their proofs.
    pub fn is_watched(&self) -> bool {
        self.branch == Branch::Canonical && self.progress != Progress::Waiting
    }
}

impl Item for Scope {
    fn key(&self) -> Key {
        Self::key_of(&self.id)
    }
    fn due_ms(&self) -> Option<u64> {
        self.due_ms.filter(|_| self.is_watched() && !self.settled)
    }
    fn damage(&self) -> Option<String> {
        let (from, to) = self.heights();
        if !self.id.starts_with(&self.id_without_generation()) {
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
            self.missed_ms,
            self.committed_ms,
            self.due_ms,
        ];
        let members = self.cut().map_or(&[][..], |cut| &cut.members);
        let generations = members.iter().map(|member| member.generation);
        let payload_bytes = self.block().map_or(0, |block| block.payload.bytes);
        let counts = [self.recorded_ms, to, payload_bytes];
        too_large(times.into_iter().flatten().chain(counts).chain(generations))
    }
}

/// The tasks of one stage in one scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub scope: String,
    pub stage: String,
    /// How many tasks it has; 0 for a quorum that just decides.
    pub expected: u32,
    /// Tasks below this index are there. Only when it reaches `expected` may an empty range of markers mean
    /// anything.
    pub created: u32,
    pub inputs: Inputs,
    /// All its outputs are accepted.
    pub decided: Option<Decision>,
    /// Its one task was cancelled by a quorum that did not need it.
    pub cancelled: bool,
    pub opened_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub at_ms: u64,
}

/// What the tasks of a group work on, by name, so that no task lists thousands of inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// Task i gets element i of this artifact: a block's segment, or an element of a list.
    Elements { artifact: ArtifactRef, of_block: bool, list_hash: Option<String> },
    /// The block, if named, then all outputs of these stages of the same scope, as (stage, tasks).
    Outputs { block: bool, of: Vec<(String, u32)> },
    /// For each block of the cut: its payload, or the one output of this stage.
    Members { stage: Option<String> },
    /// The same, reduced by the tree of [`crate::strategy::reduce`]: each task gets its own children.
    Reduced { stage: Option<String>, members: u32, arity: u32 },
}

impl Inputs {
    /// Who joins what, where the group is a reduction.
    pub fn tree(&self) -> Option<Tree> {
        match self {
            Self::Reduced { members, arity, .. } => Some(Tree::new(*members, *arity)),
            _ => None,
        }
    }
}

impl Group {
    pub fn key_of(scope: &str, stage: &str) -> Key {
        Key::new(format!("S#{scope}"), format!("g#{stage}"))
    }
    /// How many of its tasks, from the first, give what the next stages read.
    pub fn outputs(&self) -> u32 {
        match self.inputs {
            Inputs::Reduced { .. } => 1,
            _ => self.expected,
        }
    }
    pub fn is_created(&self) -> bool {
        self.created >= self.expected
    }
    pub fn is_over(&self) -> bool {
        self.decided.is_some() || self.cancelled
    }
}

impl Item for Group {
    fn key(&self) -> Key {
        Self::key_of(&self.scope, &self.stage)
    }
    fn damage(&self) -> Option<String> {
        too_large([self.opened_ms, self.decided.as_ref().map_or(0, |decision| decision.at_ms)])
    }
}
