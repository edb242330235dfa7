//! Sinks read an out log in order, each from its own cursor, at least once.
//!
//! The home hands an entry on and then says so here; a repeat after a crash in between carries the same
//! (chain, log, sequence), by which the sink can tell it. A sink that is moved to another log has a place of its own there.

use crate::error::{Error, Refusal};
use crate::pipeline::Sink;
use crate::planted_bug::PlantedBug;
use crate::port::{Port, Wake};
use crate::state::{OutEntry, SinkCursor};
use crate::transaction::{read, transact};
use crate::yard::Yard;

/// The first wait after a failed hand-on, and the longest.
const FIRST_WAIT_MS: u64 = 1_000;
const LONGEST_WAIT_MS: u64 = 300_000;

impl<P: Port> Yard<P> {
    /// The next entry to hand on; `None` when there is none, the chain is halted, or a failed try must wait.
    pub async fn sink_next(&self, chain: &str, sink: &str) -> Result<Option<OutEntry>, Error> {
        let (state, pipeline) = self.chain(chain).await?;
        let Some(Sink { stage, .. }) = pipeline.sinks.get(sink) else { return Ok(None) };
        let log = pipeline.log_of(*stage);
        let cursor = self.sink_cursor(chain, sink, log).await?;
        let waits = cursor.next_try_ms.is_some_and(|next_try_ms| next_try_ms > self.port.now_ms());
        if (state.halted.is_some() && !self.planted(PlantedBug::HandOnWhileHalted)) || waits {
            return Ok(None);
        }
        read(&self.port, &OutEntry::key_of(chain, log, cursor.next_sequence)).await
    }

    /// The sink has the entry, durably.
    pub async fn sink_done(&self, sink: &str, entry: &OutEntry) -> Result<(), Error> {
        self.move_sink(sink, entry, |cursor| SinkCursor {
            next_sequence: entry.sequence + 1,
            failures: 0,
            last_error: None,
            next_try_ms: None,
            ..cursor
        })
        .await
    }

    /// The sink could not take the entry; it is tried again after a pause that doubles.
    pub async fn sink_failed(&self, sink: &str, entry: &OutEntry, error: &str) -> Result<(), Error> {
        let now_ms = self.port.now_ms();
        self.move_sink(sink, entry, |cursor| {
            let wait_ms = FIRST_WAIT_MS.saturating_mul(1 << cursor.failures.min(16)).min(LONGEST_WAIT_MS);
            SinkCursor {
                failures: cursor.failures.saturating_add(1),
                last_error: Some(error.to_owned()),
                next_try_ms: Some(now_ms + wait_ms),
                ..cursor
            }
        })
        .await
    }

    /// How far a sink has come in a log.
    pub async fn sink_cursor(&self, chain: &str, sink: &str, log: &str) -> Result<SinkCursor, Error> {
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
            let cursor: Option<SinkCursor> = tx.check(&SinkCursor::key_of(chain, sink, log)).await?;
            let cursor = cursor.unwrap_or_else(|| SinkCursor::at(chain, sink, log, 0));
            if cursor.next_sequence == entry.sequence {
                tx.put(&change(cursor))?;
                tx.send(Wake::Sink { chain: chain.clone(), sink: sink.to_owned() });
                tx.durable();
            }
            Ok(())
        })
        .await
    }
}
