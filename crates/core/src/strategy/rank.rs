//! Rank: the order in which tasks start, as a string that sorts.

use crate::pipeline::{Pipeline, Stage};
use crate::state::{Scope, Subject};

/// (chain lane, before or after commit, block timestamp, height, later stage first). A cut has its first block's
/// place.
pub fn rank(pipeline: &Pipeline, stage: &Stage, scope: &Scope) -> String {
    let (timestamp_s, height) = match scope.subject() {
        Subject::Block(block) => (block.timestamp_s, block.height),
        Subject::Cut(cut) => (cut.timestamp_s, cut.from),
    };
    let lane = pipeline.chain.lane;
    let phase = u8::from(stage.after_commit);
    let last_first = 999_u32.saturating_sub(stage.depth);
    format!("{lane:02}-{phase}-{timestamp_s:012}-{height:012}-{last_first:03}")
}
