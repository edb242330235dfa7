//! What CloudWatch is told: lines of JSON in its embedded metric format on the standard output, which AWS turns into
//! metrics without a call.
//!
//! The format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use proofyard_core::error::Error;
use proofyard_core::port::Port;
use proofyard_core::state::OutEntry;
use proofyard_core::status::BlockTimes;
use proofyard_core::transaction::read;
use serde_json::{Map, Value, json};

use crate::home::Home;

const NAMESPACE: &str = "Proofyard";
/// Gauges are read from the state, which costs calls: CloudWatch keeps one value a minute.
const GAUGES_EVERY_MS: u64 = 15_000;
/// Values of one metric in one line, as the format has it; so many blocks are told of in one look.
const MAX_VALUES: usize = 100;

/// What was told already. A new process begins anew, and tells the latency of blocks committed from then on.
#[derive(Default)]
pub struct Watch {
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    told_ms: u64,
    /// By chain, up to where blocks were told.
    frontiers: BTreeMap<String, u64>,
}

/// One line: metrics with units, under dimensions.
pub fn line(now_ms: u64, dimensions: &[(&str, &str)], metrics: &[(&str, &str, Value)]) -> String {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let units: Vec<Value> =
        metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut root = Map::new();
    root.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now_ms,
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": units }],
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
    /// Tells where each chain is, unless that was told a moment ago.
    pub(crate) async fn tell_metrics(&self) -> Result<(), Error> {
        let now_ms = self.yard.port.now_ms();
        {
            let mut last = self.watch.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.told_ms.saturating_add(GAUGES_EVERY_MS) > now_ms {
                return Ok(());
            }
            last.told_ms = now_ms;
        }
        for chain in self.yard.chains().await? {
            self.tell_chain(&chain).await?;
        }
        Ok(())
    }

    async fn tell_chain(&self, chain: &str) -> Result<(), Error> {
        let status = self.yard.status(chain, false).await?;
        let yard = self.names.yard();
        let dimensions = [("Yard", yard), ("Chain", chain)];
        let frontier = status.frontier;
        let from = {
            let mut last = self.watch.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.frontiers.insert(chain.to_owned(), frontier).unwrap_or(frontier)
        };
        let passed = self.passed(chain, from, frontier).await?;
        tell(&line(
            status.now_ms,
            &dimensions,
            &[
                ("LagBlocks", "Count", json!(status.lag_blocks)),
                ("LagSeconds", "Seconds", json!(status.lag_ms as f64 / 1_000.0)),
                ("ParkedTasks", "Count", json!(status.parked.len())),
                ("Halted", "Count", json!(u8::from(status.halted.is_some()))),
                ("MissedBlocks", "Count", json!(passed.iter().filter(|block| block.missed).count())),
                ("Failures", "Count", json!(passed.iter().map(|block| block.failures).sum::<u64>())),
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
            let waits_ms = self.sink_waits_ms(chain, &sink.stage, sink.next_sequence).await?;
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

    /// The blocks that the frontier passed since the last look, at most as many as one look tells.
    async fn passed(&self, chain: &str, from: u64, to: u64) -> Result<Vec<BlockTimes>, Error> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.yard.block_times(chain, from.max(to.saturating_sub(MAX_VALUES as u64)), to - 1).await
    }

    /// How long the next entry has waited for its sink; 0 where there is none.
    async fn sink_waits_ms(&self, chain: &str, stage: &str, sequence: u64) -> Result<u64, Error> {
        let next: Option<OutEntry> = read(&self.yard.port, &OutEntry::key_of(chain, stage, sequence)).await?;
        Ok(next.map_or(0, |entry| self.yard.port.now_ms().saturating_sub(entry.at_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_embedded_metric_format() {
        let said = line(7, &[("Yard", "y")], &[("LagBlocks", "Count", json!(3))]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            said,
            json!({
                "_aws": {
                    "Timestamp": 7,
                    "CloudWatchMetrics": [{
                        "Namespace": "Proofyard",
                        "Dimensions": [["Yard"]],
                        "Metrics": [{ "Name": "LagBlocks", "Unit": "Count" }],
                    }],
                },
                "Yard": "y",
                "LagBlocks": 3,
            })
        );
    }
}
