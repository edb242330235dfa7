//! The order in which tasks must start, computed here from the block, the stage and the chain's lane; the ranks that the
//! handlers wrote are never read.

use std::cmp::Reverse;

use proofyard_core::pipeline::{Pipeline, Source};
use proofyard_core::state::{Subject, TaskId};

use super::Context;

/// The lower goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    lane: u8,
    is_after_commit: bool,
    timestamp_s: u64,
    height: u64,
    /// Longest path from the block; the later stage goes first.
    depth: Reverse<u32>,
}

/// A cut has its first block's place.
pub fn rank_of(context: &Context<'_>, task: &TaskId) -> Option<Rank> {
    let scope = context.mirror.scope(&task.scope)?;
    let pipeline = context.pipeline_of(scope)?;
    let stage = pipeline.stage(&task.stage)?.0;
    let (timestamp_s, height) = match scope.subject() {
        Subject::Block(block) => (block.timestamp_s, block.height),
        Subject::Cut(cut) => {
            let member = cut.member_id(scope.chain(), 0)?;
            let first = context.mirror.scope(&member)?.block()?;
            (first.timestamp_s, first.height)
        }
    };
    Some(Rank {
        lane: pipeline.chain.lane,
        is_after_commit: !leads_to(pipeline, stage, pipeline.commit),
        timestamp_s,
        height,
        depth: Reverse(depth(pipeline, stage)),
    })
}

fn sources(pipeline: &Pipeline, stage: usize) -> impl Iterator<Item = usize> {
    pipeline.stages[stage].from.iter().filter_map(|source| match source {
        Source::Block => None,
        Source::Stage(source) => Some(*source),
    })
}

/// Whether `later` is this stage, or reads from it directly or through others.
fn leads_to(pipeline: &Pipeline, stage: usize, later: usize) -> bool {
    stage == later || sources(pipeline, later).any(|source| leads_to(pipeline, stage, source))
}

fn depth(pipeline: &Pipeline, stage: usize) -> u32 {
    sources(pipeline, stage).map(|source| depth(pipeline, source) + 1).max().unwrap_or(0)
}
