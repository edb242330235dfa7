//! The next cut of a `sequential` stage: what it holds so far, and whether it closes.

use super::work::ChainLook;
use crate::error::Error;
use crate::pipeline::{CutRule, Stage};
use crate::port::Port;
use crate::state::Cursor;
use crate::strategy::sequential::{Around, Closed, Lacking, close, lacking, until_fork};
use crate::transaction::read;
use crate::yard::Yard;

pub(crate) struct NextCut {
    /// Its first height.
    pub(crate) from: u64,
    /// Blocks that it can hold at most: its size, or what is left before a fork.
    pub(crate) most: u64,
    /// Blocks that it could hold now.
    pub(crate) have: u64,
    /// Since when its first block waits.
    pub(crate) since_ms: Option<u64>,
    /// What closes it now, at the next look.
    pub(crate) closed: Option<Closed>,
    /// Why it can never close, as things are: a block lacks what the rule looks at.
    pub(crate) lacking: Option<String>,
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
        let until_fork = until_fork(&look.pipeline.forks_of_cut(index), from);
        let most = until_fork.map_or(rule.size, |blocks| blocks.min(rule.size));
        let to = end.min(from.saturating_add(most));
        let waiting = self.waiting(chain, from, to, commits).await?;
        let candidates: Vec<_> = waiting.iter().map(|block| block.candidate.clone()).collect();
        let have = candidates.len() as u64;
        let ended = look.tip.ended && look.tip.height().is_some_and(|tip| tip < end);
        let around = Around { until_fork, ended: ended && from + have == end, now_ms: look.now_ms };
        let closed = close(rule, &candidates, around);
        let lacking = lacking(rule, &candidates, around)
            .map(|Lacking { index, what }| format!("block {} {what}", from + index as u64));
        let since_ms = candidates.first().map(|first| first.since_ms);
        Ok(NextCut { from, most, have, since_ms, closed, lacking })
    }
}
