//! What CloudWatch gets, and when. The values are computed elsewhere: a chain's by the domain
//! (`proofyard_core::status::gauges`), a pool's by [`crate::pools::supply`]; here they are given CloudWatch's names and
//! printed. Another exporter is a file beside [`emf`] that prints the same values.

pub mod emf;

use std::sync::atomic::{AtomicU64, Ordering};

use proofyard_core::cadence::GAUGES_EVERY_MS;
use proofyard_core::error::{Coded, Error, with_causes};
use proofyard_core::port::Port;
use proofyard_core::state::ChainName;
use proofyard_core::status::gauges::ChainGauges;
use proofyard_core::status::{SinkPlace, SinkStatus};
use proofyard_core::yard::Yard;
use serde_json::{Value, json};
use tracing::warn;

use self::emf::{MAX_VALUES, line, print};
use crate::pools::supply::{PoolGauges, Supply};
use crate::store::port::AwsPort;

/// Prints a yard's metrics, each kind at most every 15 s of this process.
pub struct Metrics {
    yard: String,
    printed_gauges_ms: AtomicU64,
    printed_sweep_ms: AtomicU64,
}

impl Metrics {
    pub(crate) fn of(yard: &str) -> Self {
        Self {
            yard: yard.to_owned(),
            printed_gauges_ms: AtomicU64::default(),
            printed_sweep_ms: AtomicU64::default(),
        }
    }

    /// How each pool and each chain stands.
    pub(crate) async fn print_gauges(&self, yard: &Yard<AwsPort>, supply: &Supply) -> Result<(), Error> {
        if !is_time(&self.printed_gauges_ms, yard.port.now_ms()) {
            return Ok(());
        }
        for (pool, gauges) in supply.gauges(yard).await? {
            match gauges {
                Ok(gauges) => self.print_pool(yard.port.now_ms(), pool, &gauges),
                Err(error) => {
                    warn!(pool, code = %error.code(), error = %with_causes(&error), "a pool has no metrics this time")
                }
            }
        }
        // One chain that cannot be read hides no other one.
        let mut ended = Ok(());
        for chain in yard.chains().await? {
            ended = ended.and(self.print_chain_and_sinks(yard, &chain).await);
        }
        ended
    }

    /// The chain first: a sink that cannot be read does not hide that the chain lags.
    async fn print_chain_and_sinks(&self, yard: &Yard<AwsPort>, chain: &ChainName) -> Result<(), Error> {
        let gauges = yard.gauges(chain, MAX_VALUES).await?;
        self.print_chain(chain, &gauges);
        for sink in &gauges.sinks {
            let lag_ms = yard.sink_lag_ms(chain, sink).await?;
            self.print_sink(yard.port.now_ms(), chain, sink, lag_ms);
        }
        Ok(())
    }

    /// A sweep has visited everything that was due: there is an alarm for when none has.
    pub(crate) fn print_sweep(&self, now_ms: u64) {
        if is_time(&self.printed_sweep_ms, now_ms) {
            self.print(now_ms, &[], &[("Looks", "Count", json!(1))]);
        }
    }

    /// A sender's blocks were refused because the yard could not keep them. It has no dimension but the yard: the sender is
    /// not authenticated, and could name any chain.
    pub(crate) fn print_ingest_unavailable(&self, now_ms: u64) {
        self.print(now_ms, &[], &[("IngestUnavailable", "Count", json!(1))]);
    }

    fn print_pool(&self, now_ms: u64, pool: &str, gauges: &PoolGauges) {
        let metrics = [
            ("WorkersRunning", "Count", json!(gauges.running)),
            ("WorkersComing", "Count", json!(gauges.coming)),
            ("RunnableSeconds", "Seconds", seconds(gauges.runnable_ms)),
            ("FailedStarts", "Count", json!(gauges.failed_starts)),
        ];
        self.print(now_ms, &[("Pool", pool)], &metrics);
    }

    fn print_chain(&self, chain: &ChainName, gauges: &ChainGauges) {
        let (now_ms, of_chain) = (gauges.now_ms, [("Chain", chain.as_str())]);
        if let Some(age_ms) = gauges.tip_age_ms {
            self.print(now_ms, &of_chain, &[("TipAgeSeconds", "Seconds", seconds(age_ms))]);
        }
        if let Some(silent_ms) = gauges.node_silent_ms {
            self.print(now_ms, &of_chain, &[("NodeSilentSeconds", "Seconds", seconds(silent_ms))]);
        }
        let passed = &gauges.passed;
        let metrics = [
            ("LagBlocks", "Count", json!(gauges.lag_blocks)),
            ("LagSeconds", "Seconds", seconds(gauges.lag_ms)),
            ("ParkedTasks", "Count", json!(gauges.parked_tasks)),
            ("Halted", "Count", json!(u8::from(gauges.halted))),
            ("CommittedBlocks", "Count", json!(passed.committed)),
            ("MissedBlocks", "Count", json!(passed.missed)),
            ("Failures", "Count", json!(passed.failures)),
            ("Losses", "Count", json!(passed.losses)),
        ];
        self.print(now_ms, &of_chain, &metrics);
        if !passed.latencies_ms.is_empty() {
            let latencies = [("BlockLatency", "Milliseconds", json!(passed.latencies_ms))];
            self.print(now_ms, &of_chain, &latencies);
        }
        // No values where nothing is known: a metric that is never printed costs nothing either.
        if !passed.costs_usd.is_empty() {
            self.print(now_ms, &of_chain, &[("BlockCostUsd", "None", json!(passed.costs_usd))]);
        }
        if !passed.energies_j.is_empty() {
            self.print(now_ms, &of_chain, &[("BlockEnergyJoules", "None", json!(passed.energies_j))]);
        }
    }

    fn print_sink(&self, now_ms: u64, chain: &ChainName, sink: &SinkStatus, lag_ms: u64) {
        let mut metrics =
            vec![("SinkBehind", "Count", json!(sink.behind)), ("SinkLagSeconds", "Seconds", seconds(lag_ms))];
        if let SinkPlace::Blocks { refused, .. } = &sink.place {
            metrics.push(("SinkRefused", "Count", json!(refused)));
        }
        self.print(now_ms, &[("Chain", chain.as_str()), ("Sink", &sink.sink)], &metrics);
    }

    fn print(&self, now_ms: u64, dimensions: &[(&str, &str)], metrics: &[emf::Metric<'_>]) {
        let mut all = vec![("Yard", self.yard.as_str())];
        all.extend(dimensions);
        print(&line(now_ms, &all, metrics));
    }
}

fn seconds(ms: u64) -> Value {
    json!(ms as f64 / 1_000.0)
}

/// Whether the last time is long enough ago; if so, it is now.
fn is_time(last_ms: &AtomicU64, now_ms: u64) -> bool {
    let is_time = last_ms.load(Ordering::Relaxed).saturating_add(GAUGES_EVERY_MS) <= now_ms;
    if is_time {
        last_ms.store(now_ms, Ordering::Relaxed);
    }
    is_time
}
