//! The state, laid out: one type for each kind of item, each next to its key.
//!
//! Separate items, so that versions conflict only where they should. Each file says who writes its items. The table of keys is
//! in ARCHITECTURE.md; how each is written and told apart, in [`key_family`](KeyFamily).

mod attempt;
mod block_hash;
mod blocked;
pub mod chain;
mod chain_name;
mod following;
mod group;
mod halt;
pub mod judgement;
mod key_family;
mod level;
mod listing;
pub mod out;
mod pipeline_hash;
pub mod scope;
mod shown;
mod subject;
pub mod sweeping;
pub mod task;
mod usage;
pub mod worker;
mod worker_id;

pub use attempt::{Attempt, Avoid, FailureKind, List, Note, TaskResult};
pub use block_hash::BlockHash;
pub use blocked::{Blocked, BlockedBy};
pub use chain::{
    Canonical, ChainState, Cursor, CutAt, Frontier, KnownBlock, KnownChain, PipelineText, Reorg, Tip,
};
pub use chain_name::{BadChainName, ChainName};
pub(crate) use chain_name::{NAME_RULE, is_name};
pub use following::{
    AskedFinality, EndpointState, EndpointStatus, Finality, Following, LowerBranch, NamedBlock,
    shortened_trouble,
};
pub use group::{Decision, Group, Inputs, Plan};
pub use halt::{Disagreement, Halt, HaltCause, HaltReason, Wrong, WrongResult};
pub use judgement::Judgement;
pub use key_family::{KeyFamily, Table};
pub use level::{LevelPlace, Told};
pub use listing::{Listing, Marker};
pub(crate) use out::FIRST_EPOCH;
pub use out::{COMMITS, Chosen, Looked, OutEntry, OutKind, OutProof, OutState, SinkCursor};
pub use pipeline_hash::PipelineHash;
pub use scope::{BadScopeId, Branch, NamedScope, Progress, Scope, ScopeId, Standing, Watch};
pub(crate) use shown::{short, shown_value};
pub use subject::{Block, Cut, CutMember, Subject};
pub use sweeping::{KindPlace, SweepPlace, VisitedEntry};
pub use task::{BadTaskId, Life, Task, TaskId};
pub use usage::{Metered, Usage};
pub use worker::{Heartbeat, Held, PoolTasks, SeenHeartbeat, Slot, Worker};
pub use worker_id::WorkerId;

use serde::{Deserialize, Serialize};

/// The due time of what the next sweep must look at, whatever the time is.
pub(crate) const LOOK_NOW_MS: u64 = 0;

/// Bytes in the artifact store, named by their hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArtifactRef {
    /// Hex, 64 digits.
    pub sha256: String,
    pub bytes: u64,
}

/// Whether this is a SHA-256 as artifacts are named by it.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A height as a sort key: decimal, wide enough for any `u64`.
pub(crate) fn height_key(height: u64) -> String {
    format!("{height:020}")
}

/// A row as JSON, with some of its fields written otherwise than plainly; a field without a value is left out.
#[cfg(test)]
fn json_row(fields: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let written = fields.iter().filter_map(|(name, plain)| {
        let value = changes.iter().find(|(other, _)| other == name).map_or(*plain, |(_, value)| *value);
        (!value.is_empty()).then(|| format!("\"{name}\":{value}"))
    });
    format!("{{{}}}", written.collect::<Vec<_>>().join(","))
}
