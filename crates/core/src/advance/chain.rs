//! A chain's own steps: finish a reorg, adopt stored blocks, commit, open, close cuts, emit.

use crate::error::Error;
use crate::mistake::Mistake;
use crate::pipeline::Pipeline;
use crate::port::Port;
use crate::state::{Cursor, Frontier};
use crate::transaction::{read, transact};
use crate::yard::{ChainReads, Yard};

impl<P: Port> Yard<P> {
    pub async fn advance_chain(&self, chain: &str) -> Result<(), Error> {
        loop {
            self.finish_reorg(chain).await?;
            let (state, pipeline) = self.chain(chain).await?;
            let adopted = self.adopt(chain).await?;
            let committed = self.commit_next(chain, &pipeline).await?;
            let opened = self.open_next(chain, &state.pipeline, &pipeline).await?;
            let closed = self.close_cuts(chain, &pipeline).await?;
            let emitted = self.emit_next(chain, &pipeline).await?;
            if !(adopted || committed || opened || closed || emitted) {
                return Ok(());
            }
        }
    }

    /// When the sweeper must look at the chain again; `None` if only something new can give it work.
    pub(crate) async fn next_look(&self, chain: &str) -> Result<Option<u64>, Error> {
        let now_ms = self.port.now_ms();
        let (state, pipeline) = self.chain(chain).await?;
        let (frontier, tip) = (self.frontier(chain).await?, self.tip(chain).await?);
        let waits = tip.height().is_some_and(|tip| tip >= frontier.height);
        if waits || state.reorg.is_some() || self.sink_is_behind(chain, &pipeline, &frontier).await? {
            return Ok(Some(now_ms));
        }
        let mut soonest = None;
        for (index, stage, rule) in pipeline.cut_stages() {
            let cursor: Option<Cursor> = read(&self.port, &Cursor::key_of(chain, &stage.name)).await?;
            let next = cursor.map_or(state.start_height, |cursor| cursor.next);
            if pipeline.commit_cut() == Some(index) || next >= frontier.height {
                continue;
            }
            let close_ms = match rule.max_wait_ms {
                _ if !state.takes_work() || tip.ended => Some(now_ms),
                Some(wait_ms) => self.waits_since(chain, next).await?.map(|since_ms| since_ms + wait_ms),
                None => None,
            };
            soonest = soonest.into_iter().chain(close_ms).min();
        }
        Ok(soonest)
    }

    async fn sink_is_behind(
        &self,
        chain: &str,
        pipeline: &Pipeline,
        frontier: &Frontier,
    ) -> Result<bool, Error> {
        for (name, sink) in &pipeline.sinks {
            let log = pipeline.log_of(sink.stage);
            let handed = self.sink_cursor(chain, name, log).await?.next_sequence;
            if handed < self.out_sequence(log, frontier).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the frontier's due time away. The tip is rewritten too, so that an append which saw the due time and
    /// left it alone meets a conflict, or makes this one meet it.
    pub(crate) async fn quiet_chain(&self, chain: &str) -> Result<(), Error> {
        let seen = self.frontier(chain).await?;
        if self.next_look(chain).await?.is_some() {
            return Ok(());
        }
        transact(&self.port, async |tx| {
            let frontier = tx.check_frontier(chain).await?;
            let tip = tx.check_tip(chain).await?;
            if frontier == seen && tip.height().is_none_or(|tip| tip < frontier.height) {
                tx.put(&Frontier { due_ms: None, ..frontier })?;
                if !self.planted(Mistake::QuietUnnoticed) {
                    tx.put(&tip)?;
                }
            }
            Ok(())
        })
        .await
    }
}
