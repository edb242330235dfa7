//! Gauges: how a chain stands, as values for metrics. Whoever exports them names and prints them.
//!
//! What a block took is exported once, by whichever process looks first after the frontier passed it: [`MetricsCursor`]
//! remembers how far. Only [`Yard::gauges`] and [`Yard::pass_metrics_cursor`] write it.

use serde::{Deserialize, Serialize};

use super::{BlockTimes, SinkPlace, SinkStatus};
use crate::error::Error;
use crate::port::Key;
use crate::state::{ChainName, KeyFamily, OutEntry};
use crate::transaction::{Item, read, transact};
use crate::yard::{Yard, boxed};

/// How one chain stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainGauges {
    /// When this was read.
    pub now_ms: u64,
    /// Since the newest block was acknowledged; `None` before the first, and where no more are expected.
    pub tip_age_ms: Option<u64>,
    /// Since a followed node last named a new block; `None` where none is followed, or none was ever looked for.
    pub node_silent_ms: Option<u64>,
    /// Known blocks that are not committed.
    pub lag_blocks: u64,
    /// Since the oldest of them was acknowledged.
    pub lag_ms: u64,
    pub parked_tasks: usize,
    pub halted: bool,
    pub passed: PassedBlocks,
    /// What each lags in time is read by itself ([`Yard::sink_lag_ms`]): an entry that cannot be read hides nothing else.
    pub sinks: Vec<SinkStatus>,
}

/// The blocks that the frontier passed since gauges were last read, by whichever process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassedBlocks {
    pub committed: usize,
    pub missed: usize,
    /// Attempts of theirs that failed, crashes included.
    pub failures: u64,
    pub losses: u64,
    /// From acknowledged to committed, of each committed block.
    pub latencies_ms: Vec<u64>,
    /// What each cost, and its energy: of those of which all attempts are known.
    pub costs_usd: Vec<f64>,
    pub energies_j: Vec<f64>,
}

/// Up to which height blocks were exported.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct MetricsCursor {
    chain: ChainName,
    frontier: u64,
}

impl MetricsCursor {
    fn key_of(chain: &ChainName) -> Key {
        KeyFamily::MetricsCursor.key(chain)
    }
}

impl Item for MetricsCursor {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
}

impl Yard {
    /// How a chain stands, and what the blocks took that the frontier passed since gauges were last read: of the newest
    /// `max_blocks` of those.
    #[boxed(?Send)]
    pub async fn gauges(&self, chain: &ChainName, max_blocks: usize) -> Result<ChainGauges, Error> {
        let status = self.status(chain, false).await?;
        let frontier = status.frontier;
        let from = self.pass_metrics_cursor(chain, status.start_height, frontier).await?;
        let passed = if from < frontier {
            let from = from.max(frontier.saturating_sub(max_blocks as u64));
            self.block_times(chain, from, frontier - 1).await?
        } else {
            Vec::new()
        };
        Ok(ChainGauges {
            now_ms: status.now_ms,
            node_silent_ms: status
                .following
                .filter(|_| !status.ended)
                .map(|following| status.now_ms.saturating_sub(following.head_since_ms)),
            tip_age_ms: status.tip.filter(|_| !status.ended).map(|tip| tip.age_ms),
            lag_blocks: status.lag_blocks,
            lag_ms: status.lag_ms,
            parked_tasks: status.parked.len(),
            halted: status.halted.is_some(),
            passed: PassedBlocks::of(&passed),
            sinks: status.sinks,
        })
    }

    /// Since the next entry that a sink has not got was written; 0 where there is none, where it waits until its blocks are safe
    /// or final, and where it is paused. Of a level sink that cannot be told: the age of the lowest block that is not settled.
    #[boxed(?Send)]
    pub async fn sink_lag_ms(&self, chain: &ChainName, sink: &SinkStatus) -> Result<u64, Error> {
        let waits_since_ms = match &sink.place {
            // An operator wants it so.
            _ if sink.paused => None,
            // It has its time.
            SinkPlace::Log { .. }
                if sink.failures == 0
                    && sink.next_call_ms.is_some_and(|next_ms| next_ms > self.port.now_ms()) =>
            {
                None
            }
            SinkPlace::Log { log, next_sequence } => {
                let key = OutEntry::key_of(chain, log, *next_sequence);
                let next: Option<OutEntry> = read(&self.port, &key).await?;
                match next {
                    Some(entry) if !self.is_withheld(sink.confirm, &entry).await? => Some(entry.at_ms),
                    _ => None,
                }
            }
            // What is not settled waits for the sink only where it cannot be told.
            SinkPlace::Blocks { settled_below, .. } if sink.failures > 0 => {
                let block = self.block_scope(chain, *settled_below).await?;
                block.map(|block| block.acknowledged_ms())
            }
            SinkPlace::Blocks { .. } => None,
        };
        Ok(waits_since_ms.map_or(0, |since_ms| self.port.now_ms().saturating_sub(since_ms)))
    }

    /// From which height blocks are to be exported, up to `frontier`. Whoever is answered exports them, and nobody else.
    #[boxed(?Send)]
    pub async fn pass_metrics_cursor(
        &self,
        chain: &ChainName,
        start: u64,
        frontier: u64,
    ) -> Result<u64, Error> {
        transact(&self.port, async |tx| {
            let cursor: Option<MetricsCursor> = tx.check(&MetricsCursor::key_of(chain)).await?;
            let from = cursor.map_or(start, |cursor| cursor.frontier);
            if from != frontier {
                tx.put(&MetricsCursor { chain: chain.clone(), frontier })?;
            }
            Ok(from)
        })
        .await
    }
}

impl PassedBlocks {
    fn of(blocks: &[BlockTimes]) -> Self {
        let spent = || blocks.iter().map(|block| block.spending);
        Self {
            committed: blocks.iter().filter(|block| !block.missed).count(),
            missed: blocks.iter().filter(|block| block.missed).count(),
            failures: blocks.iter().map(|block| block.failures + block.crashes).sum(),
            losses: blocks.iter().map(|block| block.losses).sum(),
            latencies_ms: blocks
                .iter()
                .filter_map(|block| Some(block.committed_ms?.saturating_sub(block.acknowledged_ms)))
                .collect(),
            costs_usd: spent()
                .filter_map(|spent| spent.cost_usd.filter(|_| spent.cost_lacks_attempts == 0))
                .collect(),
            energies_j: spent()
                .filter_map(|spent| spent.energy_j.filter(|_| spent.energy_lacks_attempts == 0))
                .collect(),
        }
    }
}
