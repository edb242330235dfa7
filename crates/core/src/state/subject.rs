//! What a scope is about: a block or a cut. Part of the scope, and fixed when it is first written, but for a block's fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ArtifactRef, BlockHash, ChainName, ScopeId};

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
    pub hash: BlockHash,
    pub parent: BlockHash,
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
    pub first_parent: BlockHash,
    pub last_hash: BlockHash,
    pub timestamp_s: u64,
    /// Why it closed, for people.
    pub closed_by: String,
    pub members: Vec<CutMember>,
}

impl Cut {
    /// The scope of a member, counted from the first.
    pub fn member_id(&self, chain: &ChainName, member: u32) -> Option<ScopeId> {
        let CutMember { hash, generation } = self.members.get(member as usize)?;
        Some(ScopeId::of_block(chain, self.from + u64::from(member), hash, *generation))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutMember {
    pub hash: BlockHash,
    pub generation: u64,
}
