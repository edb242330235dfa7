//! What CloudWatch is told: lines of JSON in its embedded metric format on the standard output, which AWS turns into
//! metrics without a call.
//!
//! The format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use proofyard_core::error::Error;
use proofyard_core::port::{Key, Port};
use proofyard_core::state::OutEntry;
use proofyard_core::status::BlockTimes;
use proofyard_core::transaction::{Item, read, transact};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::home::Home;
use crate::jobs::Alive;

const NAMESPACE: &str = "Proofyard";
/// Gauges are read from the state, which costs calls: CloudWatch keeps one value a minute.
const GAUGES_EVERY_MS: u64 = 15_000;
/// Values of one metric in one line, as the format has it; so many blocks are told of in one look.
const MAX_VALUES: usize = 100;

/// When this process told last.
#[derive(Default)]
pub struct Watch {
    told_ms: AtomicU64,
    looked_ms: AtomicU64,
}

/// Up to which height blocks were told of, by whichever process: each block is told once.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    chain: String,
    frontier: u64,
}

impl Told {
    fn key_of(chain: &str) -> Key {
        Key::new(format!("L#{chain}"), "told")
    }
}

impl Item for Told {
    fn key(&self) -> Key {
        Self::key_of(&self.chain)
    }
}

/// One line: metrics with units, under all of these dimensions, and under the first one alone, which is what alarms
/// look at: they know the yard, and not which chains it will have.
pub fn line(now_ms: u64, dimensions: &[(&str, &str)], metrics: &[(&str, &str, Value)]) -> String {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let sets: Vec<&[&str]> = if names.len() > 1 { vec![&names[..1], &names] } else { vec![&names] };
    let units: Vec<Value> =
        metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut root = Map::new();
    root.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now_ms,
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": sets, "Metrics": units }],
        }),
    );
    root.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    root.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())));
    Value::Object(root).to_string()
}

/// Tells one line.
pub fn tell(line: &str) {
    use std::io::Write;
    // Whoever closed the standard output wants no metrics.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

impl Home {
    /// Tells where each chain and each pool is, unless that was told a moment ago.
    pub(crate) async fn tell_metrics(&self) -> Result<(), Error> {
        let now_ms = self.yard.port.now_ms();
        let told_ms = self.watch.told_ms.load(Ordering::Relaxed);
        if told_ms.saturating_add(GAUGES_EVERY_MS) > now_ms {
            return Ok(());
        }
        self.watch.told_ms.store(now_ms, Ordering::Relaxed);
        let troubles = if self.pools.is_empty() { BTreeMap::new() } else { self.start_troubles().await? };
        for (pool, jobs) in &self.pools {
            let failed_starts = troubles.get(pool).map_or(0, |trouble| trouble.rounds);
            match self.jobs.listed(jobs).await {
                Ok(listed) => self.tell_pool(pool, listed.alive(), failed_starts),
                Err(trouble) => warn!(pool, %trouble, "nothing is told of a pool"),
            }
        }
        // One chain that cannot be read hides no other one.
        let mut trouble = Ok(());
        for chain in self.yard.chains().await? {
            trouble = trouble.and(self.tell_chain(&chain).await);
        }
        trouble
    }

    /// Tells that somebody looks at all: what is never told is never alarming. Only when all that was due has been looked
    /// at since the last time.
    pub(crate) fn tell_looks(&self) {
        let now_ms = self.yard.port.now_ms();
        let told_ms = self.watch.looked_ms.load(Ordering::Relaxed);
        if told_ms.saturating_add(GAUGES_EVERY_MS) <= now_ms {
            self.watch.looked_ms.store(now_ms, Ordering::Relaxed);
            tell(&line(now_ms, &[("Yard", self.names.yard())], &[("Looks", "Count", json!(1))]));
        }
    }

    /// Tells that somebody outside was sent away with blocks that the yard could not keep.
    pub(crate) fn tell_unavailable(&self) {
        let metrics = [("IngestUnavailable", "Count", json!(1))];
        // By the yard alone: who asks is not known, and would name what it likes.
        tell(&line(self.yard.port.now_ms(), &[("Yard", self.names.yard())], &metrics));
    }

    fn tell_pool(&self, pool: &str, alive: Alive, failed_starts: u32) {
        let now_ms = self.yard.port.now_ms();
        let waits_ms = alive.runnable_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
        tell(&line(
            now_ms,
            &[("Yard", self.names.yard()), ("Pool", pool)],
            &[
                ("WorkersRunning", "Count", json!(alive.running)),
                ("WorkersComing", "Count", json!(alive.coming)),
                ("RunnableSeconds", "Seconds", json!(waits_ms as f64 / 1_000.0)),
                ("FailedStarts", "Count", json!(failed_starts)),
            ],
        ));
    }

    async fn tell_chain(&self, chain: &str) -> Result<(), Error> {
        let status = self.yard.status(chain, false).await?;
        let yard = self.names.yard();
        let dimensions = [("Yard", yard), ("Chain", chain)];
        let frontier = status.frontier;
        let from = self.blocks_to_tell(chain, status.start_height, frontier).await?;
        let passed = self.passed(chain, from, frontier).await?;
        if let Some(tip) = status.tip.as_ref().filter(|_| !status.ended) {
            let age = [("TipAgeSeconds", "Seconds", json!(tip.age_ms as f64 / 1_000.0))];
            tell(&line(status.now_ms, &dimensions, &age));
        }
        tell(&line(
            status.now_ms,
            &dimensions,
            &[
                ("LagBlocks", "Count", json!(status.lag_blocks)),
                ("LagSeconds", "Seconds", json!(status.lag_ms as f64 / 1_000.0)),
                ("ParkedTasks", "Count", json!(status.parked.len())),
                ("Halted", "Count", json!(u8::from(status.halted.is_some()))),
                ("CommittedBlocks", "Count", json!(passed.iter().filter(|block| !block.missed).count())),
                ("MissedBlocks", "Count", json!(passed.iter().filter(|block| block.missed).count())),
                (
                    "Failures",
                    "Count",
                    json!(passed.iter().map(|block| block.failures + block.crashes).sum::<u64>()),
                ),
                ("Losses", "Count", json!(passed.iter().map(|block| block.losses).sum::<u64>())),
            ],
        ));
        let committed = passed.iter().filter_map(|block| Some(block.committed_ms? - block.recorded_ms));
        let latencies: Vec<u64> = committed.take(MAX_VALUES).collect();
        if !latencies.is_empty() {
            let latency = [("BlockLatency", "Milliseconds", json!(latencies))];
            tell(&line(status.now_ms, &dimensions, &latency));
        }
        for sink in &status.sinks {
            let waits_ms = self.sink_waits_ms(chain, &sink.log, sink.next_sequence).await?;
            let dimensions = [("Yard", yard), ("Chain", chain), ("Sink", &sink.sink)];
            tell(&line(
                status.now_ms,
                &dimensions,
                &[
                    ("SinkBehind", "Count", json!(sink.behind)),
                    ("SinkLagSeconds", "Seconds", json!(waits_ms as f64 / 1_000.0)),
                ],
            ));
        }
        Ok(())
    }

    /// From which height blocks are to be told up to the frontier; whoever asks tells them, and nobody else does.
    pub async fn blocks_to_tell(&self, chain: &str, start: u64, frontier: u64) -> Result<u64, Error> {
        transact(&self.yard.port, async |tx| {
            let told: Option<Told> = tx.check(&Told::key_of(chain)).await?;
            let told = told.map_or(start, |told| told.frontier);
            if told != frontier {
                tx.put(&Told { chain: chain.to_owned(), frontier })?;
            }
            Ok(told)
        })
        .await
    }

    /// The blocks that the frontier passed since the last look, at most as many as one look tells.
    async fn passed(&self, chain: &str, from: u64, to: u64) -> Result<Vec<BlockTimes>, Error> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.yard.block_times(chain, from.max(to.saturating_sub(MAX_VALUES as u64)), to - 1).await
    }

    /// How long the next entry has waited for its sink; 0 where there is none.
    async fn sink_waits_ms(&self, chain: &str, log: &str, sequence: u64) -> Result<u64, Error> {
        let next: Option<OutEntry> = read(&self.yard.port, &OutEntry::key_of(chain, log, sequence)).await?;
        Ok(next.map_or(0, |entry| self.yard.port.now_ms().saturating_sub(entry.at_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_embedded_metric_format() {
        let said = line(7, &[("Yard", "y"), ("Chain", "c")], &[("LagBlocks", "Count", json!(3))]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            said,
            json!({
                "_aws": {
                    "Timestamp": 7,
                    "CloudWatchMetrics": [{
                        "Namespace": "Proofyard",
                        "Dimensions": [["Yard"], ["Yard", "Chain"]],
                        "Metrics": [{ "Name": "LagBlocks", "Unit": "Count" }],
                    }],
                },
                "Yard": "y",
                "Chain": "c",
                "LagBlocks": 3,
            })
        );
    }
}
