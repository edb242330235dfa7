//! A chain's own steps: finish a reorg, adopt stored blocks, commit, open, close cuts, emit. Each step writes by itself; this
//! only orders them.

use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::port::Wake;
use crate::state::{ChainName, Cursor, Frontier};
use crate::transaction::{read, read_stored, transact};
use crate::yard::{ChainReads, Yard, boxed};

/// Steps that one call takes; the rest is left to who is woken. Each is a few rounds.
const MAX_STEPS: u32 = 32;

impl Yard {
    /// Takes the steps of a chain that are due, and wakes somebody for those that are too many for one call. What this call
    /// commits or emits is on disk when it returns: all of it by one sync.
    #[boxed(?Send)]
    pub async fn advance_chain(&self, chain: &ChainName) -> Result<(), Error> {
        let mut commits = false;
        let done = self.take_chain_steps(chain, &mut commits).await;
        if commits {
            self.port.sync().await?;
        }
        done
    }

    /// `commits` says whether anything was committed or emitted, also where a later step fails.
    async fn take_chain_steps(&self, chain: &ChainName, commits: &mut bool) -> Result<(), Error> {
        let mut steps = 0;
        // A reorg says since when blocks are on the chain: that is for who has the yard's clock, and it is due for the sweeper.
        if !self.port.has_yards_clock() && self.chain_state(chain).await?.reorg.is_some() {
            return Ok(());
        }
        while self.finish_reorg(chain).await? {
            let (state, pipeline) = self.chain(chain).await?;
            while steps < MAX_STEPS {
                let adopted = self.port.has_yards_clock() && self.adopt(chain).await?;
                let committed = self.commit_next(chain, &pipeline).await?;
                *commits |= committed;
                let opened = self.open_next(chain, &state.pipeline, &pipeline).await?;
                if !(adopted || committed || opened) {
                    break;
                }
                steps += 1;
            }
            let closed = self.close_cuts(chain, &pipeline).await?;
            let emitted = self.emit_next(chain, &pipeline).await?;
            *commits |= emitted;
            steps += 1;
            if steps > MAX_STEPS {
                break;
            }
            if !(closed || emitted) {
                return Ok(());
            }
        }
        self.port.send(&[Wake::Chain { chain: chain.clone() }]).await;
        Ok(())
    }

    /// When the sweeper must look at the chain again; `None` if only something new can give it work.
    pub(crate) async fn next_look(&self, chain: &ChainName) -> Result<Option<u64>, Error> {
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
        chain: &ChainName,
        pipeline: &Pipeline,
        frontier: &Frontier,
    ) -> Result<bool, Error> {
        let epoch = self.chain_state(chain).await?.epoch;
        for (name, sink) in &pipeline.sinks {
            let is_behind = match sink.is_level() {
                true => self.level_is_behind(chain, name).await?,
                false => {
                    let log = pipeline.log_of(sink.stage);
                    let cursor = self.sink_cursor(chain, name, log).await?;
                    // A sink that is told once in a while is due by itself, unless it has an entry, or a reorg may have brought
                    // a retract.
                    let waits_for_its_time = sink.every_ms.is_some() && cursor.chosen.is_none();
                    let is_early = waits_for_its_time
                        && cursor.has_looked_at(epoch)
                        && cursor.next_call_ms.is_some_and(|next_ms| next_ms > self.port.now_ms());
                    !cursor.paused
                        && !is_early
                        && cursor.next_sequence < self.out_sequence(log, frontier).await?
                }
            };
            if is_behind {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Wakes the sinks of a chain, if one has not got all: what told it may be lost.
    pub(crate) async fn wake_sinks(&self, chain: &ChainName) -> Result<(), Error> {
        let pipeline = self.chain(chain).await?.1;
        let frontier = self.frontier(chain).await?;
        if self.sink_is_behind(chain, &pipeline, &frontier).await? {
            let sinks = pipeline.sinks.keys();
            let wakes: Vec<Wake> =
                sinks.map(|sink| Wake::Sink { chain: chain.clone(), sink: sink.clone() }).collect();
            self.port.send(&wakes).await;
        }
        Ok(())
    }

    /// The frontier's due time after a visit: again at the next tick, at the time a waiting cut closes, or never.
    ///
    /// A time beyond the next tick is written, and the tip with it, so that an append which saw an earlier due time and
    /// left it alone meets a conflict, or makes this one meet it.
    pub(crate) async fn rest_chain(&self, chain: &ChainName) -> Result<(), Error> {
        let key = Frontier::key_of(chain);
        let Some((version, seen)) = read_stored::<Frontier>(&self.port, &key).await? else {
            return Ok(());
        };
        let (state, pipeline) = self.chain(chain).await?;
        let tip_seen = self.tip(chain).await?;
        let next_ms = self.next_look(chain).await?;
        let next_tick_ms = self.port.now_ms() + pipeline.chain.tick_ms;
        if let Some(next_ms) =
            next_ms.filter(|next_ms| *next_ms <= next_tick_ms || seen.due_ms == Some(*next_ms))
        {
            self.port.reschedule(&key, version, Some(next_ms.max(next_tick_ms))).await?;
            return Ok(());
        }
        transact(&self.port, async |tx| {
            let now = tx.check_chain(chain).await?;
            let frontier = tx.check_frontier(chain).await?;
            let tip = tx.check_tip(chain).await?;
            if now == state && frontier == seen && tip == tip_seen {
                tx.put(&Frontier { due_ms: next_ms, ..frontier })?;
                tx.put(&tip)?;
            }
            Ok(())
        })
        .await
    }
}
