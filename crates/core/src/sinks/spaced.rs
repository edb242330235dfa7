//! Ordered sinks that are told at most once in a while: of the newest entry there is then, which stands for all below it.
//!
//! Which entry that is, is written down before it is handed on, and stays until the sink has it or is sure that nothing of it was
//! sent: a repeat after a crash is of the same entry. The cursor then moves behind it in one step. A retract is handed on only where
//! it takes back what the sink was handed. Nothing here reads a log entry by entry: the newest entry is found from the log's end, and
//! retracts are looked for, page by page, only among entries that no look has seen, and after a reorg alone.

use super::ordered::Turn;
use crate::error::Error;
use crate::pipeline::Sink;
use crate::port::Wake;
use crate::state::{ChainState, Chosen, FIRST_EPOCH, Looked, OutEntry, OutKind, SinkCursor};
use crate::transaction::{read, read_range, transact};
use crate::yard::{ChainReads, Yard};

/// Entries in which one call looks for retracts; the sink's own wake continues with the rest.
const ENTRIES_A_LOOK: usize = 64;

/// What is to be handed on of a log's end.
enum Newest {
    Entry(OutEntry),
    /// It is not there yet, or not safe or final yet.
    Waits,
    /// All that is new was taken back again, and nobody was notified of it.
    Nothing,
}

/// What was found of retracts.
enum Retracts {
    /// Nothing that was handed on is taken back below the log's end.
    None,
    /// Nothing below this entry; what lies above is looked at next.
    NoneBelow(u64),
    TakesBack(OutEntry),
}

impl Yard {
    /// What a sink is handed that has nothing chosen: a retract of what it has, or, once its time has come, the newest entry.
    pub(super) async fn choose(
        &self,
        state: &ChainState,
        settings: &Sink,
        (sink, log): (&str, &str),
        every_ms: u64,
        cursor: SinkCursor,
    ) -> Result<Option<OutEntry>, Error> {
        let chain = &state.chain;
        let end = self.out_sequence(log, &self.frontier(chain).await?).await?;
        if cursor.next_sequence >= end {
            return Ok(None);
        }
        let looked = match self.retracts(state.epoch, &cursor, end).await? {
            Retracts::None => Looked { epoch: state.epoch, below: end },
            Retracts::NoneBelow(below) => {
                // The epoch is that of the look before, which makes the next call go on.
                let epoch = cursor.looked.as_ref().map_or(FIRST_EPOCH, |looked| looked.epoch);
                let looked = Some(Looked { epoch, below });
                self.change_sink(state, &cursor, SinkCursor { looked, ..cursor.clone() }).await?;
                self.port.send(&[Wake::Sink { chain: chain.clone(), sink: sink.to_owned() }]).await;
                return Ok(None);
            }
            Retracts::TakesBack(entry) => return self.take_back(state, settings, cursor, entry).await,
        };
        let now_ms = self.port.now_ms();
        let is_early = cursor.next_call_ms.is_some_and(|next_ms| next_ms > now_ms);
        let newest = match is_early {
            true => Newest::Waits,
            false => self.newest(settings, &cursor, end).await?,
        };
        let entry = match newest {
            Newest::Entry(entry) => entry,
            Newest::Nothing => {
                self.change_sink(state, &cursor, cursor.clone().passed_below(end)).await?;
                return Ok(None);
            }
            Newest::Waits => {
                if !cursor.has_looked_at(looked.epoch) {
                    let after = SinkCursor { looked: Some(looked), ..cursor.clone() };
                    self.change_sink(state, &cursor, after).await?;
                }
                return Ok(None);
            }
        };
        let chosen = Some(Chosen { sequence: entry.sequence, handed_below: cursor.handed_below });
        let next_call_ms = Some(now_ms.saturating_add(every_ms));
        let after =
            SinkCursor { chosen, next_call_ms, looked: Some(looked), ..cursor.clone().offered(&entry) };
        Ok(self.change_sink(state, &cursor, after).await?.then_some(entry))
    }

    async fn retracts(&self, epoch: u64, cursor: &SinkCursor, end: u64) -> Result<Retracts, Error> {
        let looked = cursor.looked.clone().unwrap_or(Looked { epoch: FIRST_EPOCH, below: 0 });
        if cursor.handed_below == Some(0) || looked.epoch == epoch {
            return Ok(Retracts::None);
        }
        let from = looked.below.max(cursor.next_sequence);
        let range = OutEntry::range_from(&cursor.chain, &cursor.log, from, ENTRIES_A_LOOK);
        let page = read_range::<OutEntry>(&self.port, &range).await?;
        let next = from.saturating_add(page.len() as u64);
        let takes_back = |entry: &OutEntry| match entry.kind {
            OutKind::Retract { from, .. } => cursor.handed_below.is_none_or(|below| from < below),
            OutKind::Proof { .. } => false,
        };
        Ok(match page.into_iter().map(|(_, _, entry)| entry).find(takes_back) {
            Some(entry) => Retracts::TakesBack(entry),
            None if next >= end => Retracts::None,
            None => Retracts::NoneBelow(next),
        })
    }

    /// Goes on with a retract. What is before it was never handed on, and left the chain with it or is covered by what follows.
    async fn take_back(
        &self,
        state: &ChainState,
        settings: &Sink,
        cursor: SinkCursor,
        entry: OutEntry,
    ) -> Result<Option<OutEntry>, Error> {
        let is_told = settings.follows.has(entry.kind.name());
        let after = match is_told {
            true if cursor.next_sequence == entry.sequence => return Ok(Some(entry)),
            true => cursor.clone().passed_below(entry.sequence),
            false => cursor.clone().handed(&entry),
        };
        Ok(self.change_sink(state, &cursor, after).await?.then_some(entry).filter(|_| is_told))
    }

    /// The newest entry that may be handed on now. Only where so many blocks are not yet safe, or final, is it looked for beyond the
    /// log's last page.
    async fn newest(&self, settings: &Sink, cursor: &SinkCursor, end: u64) -> Result<Newest, Error> {
        let Some(confirmed) = self.confirmed_height(&cursor.chain, settings.confirm).await? else {
            return Ok(Newest::Waits);
        };
        let from = cursor.next_sequence.max(end.saturating_sub(ENTRIES_A_LOOK as u64));
        let page = OutEntry::range_back(&cursor.chain, &cursor.log, from..end);
        // All from this height on was taken back by what comes later.
        let (mut gone_from, mut is_early) = (u64::MAX, false);
        let mut newest = None;
        for (_, _, entry) in read_range::<OutEntry>(&self.port, &page).await? {
            match entry.kind {
                OutKind::Retract { from, .. } => gone_from = gone_from.min(from),
                OutKind::Proof { to, .. } if to >= gone_from => {}
                OutKind::Proof { to, .. } if to > confirmed => is_early = true,
                OutKind::Proof { .. } => {
                    newest = Some(entry);
                    break;
                }
            }
        }
        if newest.is_none() && from > cursor.next_sequence {
            newest = self.newest_below(confirmed.min(gone_from.saturating_sub(1)), cursor, from).await?;
            is_early |= newest.is_none();
        }
        Ok(match newest {
            Some(entry) => match self.turn(settings, cursor, &entry).await? {
                Turn::HandOn => Newest::Entry(entry),
                Turn::PassOver | Turn::Withhold => Newest::Waits,
            },
            None if is_early => Newest::Waits,
            None => Newest::Nothing,
        })
    }

    /// The last proof before those of blocks above this height. These lie at the log's end: how many there are is found in steps that
    /// double, and then by halves. It may miss one between retracts, and then the next proof is waited for.
    async fn newest_below(
        &self,
        confirmed: u64,
        cursor: &SinkCursor,
        end: u64,
    ) -> Result<Option<OutEntry>, Error> {
        let is_above = |entry: &OutEntry| match entry.kind {
            OutKind::Proof { to, .. } => to > confirmed,
            OutKind::Retract { from, .. } => from > confirmed,
        };
        let at = async |sequence| {
            read::<OutEntry>(&self.port, &OutEntry::key_of(&cursor.chain, &cursor.log, sequence)).await
        };
        let (mut above, mut step) = (end, 1);
        let mut found = loop {
            let sequence = end.saturating_sub(step).max(cursor.next_sequence);
            match at(sequence).await? {
                Some(entry) if !is_above(&entry) => break entry,
                _ if sequence == cursor.next_sequence => return Ok(None),
                _ => above = sequence,
            }
            step = step.saturating_mul(2);
        };
        while found.sequence + 1 < above {
            let middle = found.sequence + (above - found.sequence) / 2;
            match at(middle).await? {
                Some(entry) if !is_above(&entry) => found = entry,
                _ => above = middle,
            }
        }
        Ok(Some(found).filter(|entry| matches!(entry.kind, OutKind::Proof { .. })))
    }

    /// Puts a sink elsewhere, unless it moved meanwhile or there was a reorg. Answers whether it did.
    async fn change_sink(
        &self,
        state: &ChainState,
        before: &SinkCursor,
        after: SinkCursor,
    ) -> Result<bool, Error> {
        transact(&self.port, async |tx| {
            tx.durable();
            let cursor: Option<SinkCursor> =
                tx.check(&SinkCursor::key_of(&before.chain, &before.sink, &before.log)).await?;
            let is_as_before = match &cursor {
                Some(cursor) => cursor == before,
                None => *before == SinkCursor::at(&before.chain, &before.sink, &before.log, 0),
            };
            // A try whose outcome was not known may have written it.
            let is_written = cursor.as_ref() == Some(&after);
            if tx.check_chain(&before.chain).await?.epoch != state.epoch || !(is_as_before || is_written) {
                return Ok(false);
            }
            if !is_written {
                tx.put(&after)?;
            }
            Ok(true)
        })
        .await
    }
}
