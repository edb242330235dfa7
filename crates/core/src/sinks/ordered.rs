//! Ordered sinks read an out log in order, each from its own cursor, at least once.
//!
//! The home hands an entry on and then says so here; a repeat after a crash in between carries the same
//! (chain, log, sequence), by which the sink can tell it. A sink that is moved to another log has a place of its own there.
//!
//! A sink may wait until a block is safe or finalized. By then a block may have left the chain: its proof is then passed over,
//! and so is the retract of what was never handed on.

use super::Trouble;
use crate::error::{Error, Refusal};
use crate::pipeline::{Confirm, EntryKind, Follows, Sink, SinkTarget};
use crate::planted_bug::PlantedBug;
use crate::port::Wake;
use crate::state::{Canonical, ChainName, Finality, OutEntry, OutKind, SinkCursor};
use crate::transaction::{read, transact};
use crate::yard::{Yard, boxed};

/// Entries that one call passes over; the sink's own wake continues with the rest.
const MAX_PASSED_OVER: usize = 64;

/// What is to be done with the next entry.
pub(crate) enum Turn {
    HandOn,
    /// It is not for this sink.
    PassOver,
    /// Its block is not yet safe, or final.
    Withhold,
}

impl Yard {
    /// The next entry to hand on, which is on disk. `None` when there is none, it is withheld, the chain is halted, the sink is
    /// paused, or a failed try must wait.
    #[boxed(?Send)]
    pub async fn sink_next(&self, chain: &ChainName, sink: &str) -> Result<Option<OutEntry>, Error> {
        let next = self.next_entry(chain, sink).await?;
        if next.is_some() && !self.planted(PlantedBug::HandOnNotDurable) {
            self.port.sync().await?;
        }
        Ok(next)
    }

    async fn next_entry(&self, chain: &ChainName, sink: &str) -> Result<Option<OutEntry>, Error> {
        let (state, pipeline) = self.chain(chain).await?;
        let Some(settings) = pipeline.sinks.get(sink) else { return Ok(None) };
        let Follows::Log(kinds) = &settings.follows else { return Ok(None) };
        let log = pipeline.log_of(settings.stage);
        let mut cursor = self.sink_cursor(chain, sink, log).await?;
        let waits = cursor.next_try_ms.is_some_and(|next_try_ms| next_try_ms > self.port.now_ms());
        let halted = state.halted.is_some() && !self.planted(PlantedBug::HandOnWhileHalted);
        if halted || waits || cursor.paused {
            return Ok(None);
        }
        if cursor.chosen.is_some() {
            let key = OutEntry::key_of(chain, log, cursor.waits_with());
            let Some(entry) = read::<OutEntry>(&self.port, &key).await? else { return Ok(None) };
            match self.turn(settings, &cursor, &entry).await? {
                Turn::HandOn => return Ok(Some(entry)),
                Turn::Withhold => return Ok(None),
                // It may be under way: its retract is handed on.
                Turn::PassOver => {
                    cursor = self.pass_over(sink, &entry, |cursor| cursor.passed(&entry)).await?
                }
            }
        }
        if let Some(every_ms) = settings.every_ms {
            return self.choose(&state, settings, (sink, log), every_ms, cursor).await;
        }
        for _ in 0..MAX_PASSED_OVER {
            let key = OutEntry::key_of(chain, log, cursor.next_sequence);
            let Some(entry) = read::<OutEntry>(&self.port, &key).await? else { return Ok(None) };
            match self.turn(settings, &cursor, &entry).await? {
                Turn::HandOn if kinds.contains(&entry.kind.name()) => {
                    if is_choosy(settings) && !cursor.may_have(&entry) {
                        // After a crash it is not known whether the sink has it: its retract is then handed on.
                        self.move_sink(sink, &entry, |cursor| cursor.offered(&entry)).await?;
                    }
                    return Ok(Some(entry));
                }
                // It would have got it: what takes that back is handed on.
                Turn::HandOn => cursor = self.pass_over(sink, &entry, |cursor| cursor.handed(&entry)).await?,
                Turn::PassOver => {
                    cursor = self.pass_over(sink, &entry, |cursor| cursor.passed(&entry)).await?
                }
                Turn::Withhold => return Ok(None),
            }
        }
        self.port.send(&[Wake::Sink { chain: chain.clone(), sink: sink.to_owned() }]).await;
        Ok(None)
    }

    /// Goes on behind an entry that is not for this sink; answers where the sink is then.
    async fn pass_over(
        &self,
        sink: &str,
        entry: &OutEntry,
        change: impl Fn(SinkCursor) -> SinkCursor,
    ) -> Result<SinkCursor, Error> {
        self.move_sink(sink, entry, change).await?;
        self.sink_cursor(&entry.chain, sink, &entry.log).await
    }

    pub(crate) async fn turn(
        &self,
        settings: &Sink,
        cursor: &SinkCursor,
        entry: &OutEntry,
    ) -> Result<Turn, Error> {
        if !is_choosy(settings) {
            return Ok(Turn::HandOn);
        }
        match &entry.kind {
            OutKind::Proof { to, hash, .. } => {
                let canonical: Option<Canonical> =
                    read(&self.port, &Canonical::key_of(&entry.chain, *to)).await?;
                Ok(match canonical.is_some_and(|canonical| canonical.hash == *hash) {
                    // Its retract is in the log, and waits for nothing.
                    false => Turn::PassOver,
                    true if self.is_withheld(settings.confirm, entry).await? => Turn::Withhold,
                    true => Turn::HandOn,
                })
            }
            OutKind::Retract { from, .. } => {
                Ok(match cursor.handed_below.is_some_and(|below| below <= *from) {
                    true => Turn::PassOver,
                    false => Turn::HandOn,
                })
            }
        }
    }

    /// Whether an entry waits until the followed node calls its blocks so.
    pub(crate) async fn is_withheld(&self, confirm: Confirm, entry: &OutEntry) -> Result<bool, Error> {
        let OutKind::Proof { to, .. } = &entry.kind else { return Ok(false) };
        Ok(self.confirmed_height(&entry.chain, confirm).await?.is_none_or(|height| height < *to))
    }

    /// The highest height that the followed node calls so, if there is one yet.
    pub(super) async fn confirmed_height(
        &self,
        chain: &ChainName,
        confirm: Confirm,
    ) -> Result<Option<u64>, Error> {
        let finality: Option<Finality> = match confirm {
            Confirm::Latest => return Ok(Some(u64::MAX)),
            Confirm::Safe | Confirm::Finalized => read(&self.port, &Finality::key_of(chain)).await?,
        };
        let block = finality.and_then(|finality| match confirm {
            Confirm::Safe => finality.safe,
            Confirm::Latest | Confirm::Finalized => finality.finalized,
        });
        Ok(block.map(|block| block.height))
    }

    /// The sink has the entry, durably.
    #[boxed(?Send)]
    pub async fn sink_done(&self, sink: &str, entry: &OutEntry) -> Result<(), Error> {
        self.move_sink(sink, entry, |cursor| cursor.handed(entry)).await
    }

    /// The sink could not take the entry; it is tried again after a pause that doubles.
    #[boxed(?Send)]
    pub async fn sink_failed(&self, sink: &str, entry: &OutEntry, trouble: &Trouble) -> Result<(), Error> {
        self.move_sink(sink, entry, |cursor| SinkCursor {
            failures: trouble.failures_after(cursor.failures),
            last_error: Some(trouble.reason.clone()),
            next_try_ms: Some(self.next_try_ms(cursor.failures, trouble)),
            ..match trouble.nothing_sent && cursor.chosen.is_some() {
                true => cursor.unchosen(),
                // It may have it all the same.
                false => cursor.offered(entry),
            }
        })
        .await
    }

    /// How far a sink has come in a log.
    #[boxed(?Send)]
    pub async fn sink_cursor(&self, chain: &ChainName, sink: &str, log: &str) -> Result<SinkCursor, Error> {
        let stored = read(&self.port, &SinkCursor::key_of(chain, sink, log)).await?;
        Ok(stored.unwrap_or_else(|| SinkCursor::at(chain, sink, log, 0)))
    }

    async fn move_sink(
        &self,
        sink: &str,
        entry: &OutEntry,
        change: impl Fn(SinkCursor) -> SinkCursor,
    ) -> Result<(), Error> {
        let OutEntry { chain, log, .. } = entry;
        if !self.chain(chain).await?.1.sinks.contains_key(sink) {
            return Err(Refusal::UnknownSink { chain: chain.clone(), sink: sink.to_owned() }.into());
        }
        transact(&self.port, async |tx| {
            tx.durable();
            let cursor: Option<SinkCursor> = tx.check(&SinkCursor::key_of(chain, sink, log)).await?;
            let cursor = cursor.unwrap_or_else(|| SinkCursor::at(chain, sink, log, 0));
            if cursor.waits_with() == entry.sequence {
                tx.put(&change(cursor))?;
                tx.send(Wake::Sink { chain: chain.clone(), sink: sink.to_owned() });
            }
            Ok(())
        })
        .await
    }
}

/// It gets only what is still on the chain: what waits for finality, and what a contract gets, which cannot be taken back.
fn is_choosy(settings: &Sink) -> bool {
    settings.confirm != Confirm::Latest || matches!(settings.target, SinkTarget::Contract(_))
}

impl OutKind {
    pub(super) fn name(&self) -> EntryKind {
        match self {
            Self::Proof { .. } => EntryKind::Proof,
            Self::Retract { .. } => EntryKind::Retract,
        }
    }
}
