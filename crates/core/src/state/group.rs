//! `S#scope g#stage`: a scope's groups, the tasks of one stage each. `advance` alone writes them.

use serde::{Deserialize, Serialize};

use super::{ArtifactRef, KeyFamily, ScopeId};
use crate::port::Key;
use crate::strategy::reduce::Tree;
use crate::transaction::{Item, too_large};

/// The tasks of one stage in one scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub scope: ScopeId,
    pub stage: String,
    /// How many tasks it has; 0 for a quorum that just decides.
    pub expected: u32,
    /// Tasks created so far. Until this equals `expected`, no open markers does not mean that all is accepted.
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

/// What a group is made of: its inputs and how many tasks it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub inputs: Inputs,
    pub expected: u32,
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
    pub fn key_of(scope: &ScopeId, stage: &str) -> Key {
        KeyFamily::Group.key_in(scope, stage)
    }
    /// What it was made of.
    pub fn plan(&self) -> Plan {
        Plan { inputs: self.inputs.clone(), expected: self.expected }
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
    pub fn is_decided(&self) -> bool {
        self.decided.is_some()
    }
    pub fn is_over(&self) -> bool {
        self.is_decided() || self.cancelled
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
