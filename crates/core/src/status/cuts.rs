//! The next cut of a `sequential` stage: what it holds so far, and whether it closes.

use super::work::ChainLook;
use crate::error::Error;
use crate::pipeline::{CutRule, Stage};
use crate::port::Port;
use crate::state::Cursor;
use crate::strategy::sequential::{Closed, close};
use crate::transaction::read;
use crate::yard::Yard;

pub(crate) struct NextCut {
    /// Its first height.
    pub(crate) from: u64,
    /// Blocks that it could hold now.
    pub(crate) have: u64,
    /// Since when its first block waits.
    pub(crate) since_ms: Option<u64>,
    /// What closes it now, at the next look.
    pub(crate) closed: Option<Closed>,
}

impl<P: Port> Yard<P> {
    pub(crate) async fn next_cut(
        &self,
        look: &ChainLook,
        index: usize,
        stage: &Stage,
        rule: &CutRule,
    ) -> Result<NextCut, Error> {
        let chain = look.chain();
        let cursor: Option<Cursor> = read(&self.port, &Cursor::key_of(chain, &stage.name)).await?;
        let from = cursor.map_or(look.state.start_height, |cursor| cursor.next);
        let commits = look.pipeline.commit_cut() == Some(index);
        let end = if commits { look.frontier.opened } else { look.frontier.height };
        let to = end.min(from.saturating_add(rule.size));
        let waiting = self.waiting(chain, from, to, commits).await?;
        let candidates: Vec<_> = waiting.iter().map(|block| block.candidate.clone()).collect();
        let have = candidates.len() as u64;
        let ended = look.tip.ended && look.tip.height().is_some_and(|tip| tip < end);
        let closed = close(rule, &candidates, ended && from + have == end, look.now_ms);
        Ok(NextCut { from, have, since_ms: candidates.first().map(|first| first.since_ms), closed })
    }
}
