//! How long AWS's services take, and what they cost: `latencies.toml`, or a file like it.

use std::collections::BTreeMap;

use proofyard_memory_store::Random;
use serde::{Deserialize, Serialize};

use crate::PlanError;

const BUILT_IN: &str = include_str!("latencies.toml");

/// How many standard deviations the 99th percentile is above the median.
const P99_DEVIATIONS: f64 = 2.326_347_9;

/// A log-normal distribution by its median and 99th percentile, in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// More for each item of a call that takes several.
    #[serde(default)]
    pub item_ms: f64,
    pub source: String,
}

impl Latency {
    /// In microseconds.
    pub(crate) fn draw_us(&self, random: &mut Random, items: usize) -> u64 {
        let once_ms = draw(random, self.p50_ms, self.p99_ms);
        ((once_ms + self.item_ms * items.saturating_sub(1) as f64) * 1_000.0).round() as u64
    }
}

/// From a log-normal distribution by its median and 99th percentile; without spread where they are equal.
pub(crate) fn draw(random: &mut Random, p50: f64, p99: f64) -> f64 {
    if p50 <= 0.0 || p99 <= p50 {
        return p50.max(0.0);
    }
    p50 * ((p99 / p50).ln() / P99_DEVIATIONS * normal(random)).exp()
}

/// Of such a distribution.
pub(crate) fn mean(p50: f64, p99: f64) -> f64 {
    if p50 <= 0.0 || p99 <= p50 {
        return p50.max(0.0);
    }
    let deviation = (p99 / p50).ln() / P99_DEVIATIONS;
    p50 * (deviation * deviation / 2.0).exp()
}

/// Evenly from above 0 to 1.
pub(crate) fn evenly(random: &mut Random) -> f64 {
    ((random.number() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// Of the standard normal distribution, by Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let (radius, angle) = (evenly(random), evenly(random));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// A number that is no distribution.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    pub value: f64,
    pub source: String,
}

/// A list price.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub usd: f64,
    /// For what; a word for people.
    pub per: String,
    pub source: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    pub dynamodb_get: Latency,
    pub dynamodb_batch_get: Latency,
    pub dynamodb_query: Latency,
    pub dynamodb_put: Latency,
    pub dynamodb_transact: Latency,
    pub s3_put: Latency,
    pub s3_get: Latency,
    pub sqs_send: Latency,
    pub batch_list: Latency,
    pub webhook_to_function: Latency,
    pub fifo_to_function: Latency,
    pub standard_to_function: Latency,
    pub standard_to_worker: Latency,
    pub function_cold_start: Latency,
    pub function_cpu_a_call: Latency,
    pub worker_cpu_a_call: Latency,
    pub batch_start: Latency,
    pub function_stays_warm_s: Given,
    pub spot_reclaims_an_hour: Given,
    pub prices: Prices,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    pub read_units: Price,
    pub write_units: Price,
    pub object_puts: Price,
    pub object_gets: Price,
    pub fifo_requests: Price,
    pub standard_requests: Price,
    pub function_calls: Price,
    pub gb_seconds: Price,
    pub webhook_requests: Price,
    pub gpu_hours: Price,
}

impl Default for Latencies {
    /// Those that come with the program.
    fn default() -> Self {
        Self::read(BUILT_IN).unwrap_or_else(|_| unreachable!("a test reads it"))
    }
}

impl Latencies {
    /// What a file leaves out is as it comes with the program.
    pub fn read(text: &str) -> Result<Self, PlanError> {
        let unreadable = |error: toml::de::Error| PlanError::Latencies(error.into());
        let mut all: toml::Table = BUILT_IN.parse().map_err(unreadable)?;
        let given: toml::Table = text.parse().map_err(unreadable)?;
        overlay(&mut all, given);
        let all: Self = all.try_into().map_err(unreadable)?;
        all.check()?;
        Ok(all)
    }

    fn check(&self) -> Result<(), PlanError> {
        let numbers = self.by_name();
        let bad = |what: &str, why: &str| Err(PlanError::Latencies(format!("{what}: {why}").into()));
        for (name, latency) in numbers {
            let all = [latency.p50_ms, latency.p99_ms, latency.item_ms];
            if all.iter().any(|ms| !(0.0..=3_600_000.0).contains(ms)) {
                return bad(name, "each must be from 0 to an hour");
            }
            if latency.p99_ms < latency.p50_ms {
                return bad(name, "its 99th percentile is below its median");
            }
        }
        for (name, given) in [
            ("function_stays_warm_s", &self.function_stays_warm_s),
            ("spot_reclaims_an_hour", &self.spot_reclaims_an_hour),
        ] {
            if !(0.0..=1e6).contains(&given.value) {
                return bad(name, "it must be from 0 to a million");
            }
        }
        Ok(())
    }

    /// All distributions.
    pub fn by_name(&self) -> BTreeMap<&'static str, &Latency> {
        BTreeMap::from([
            ("dynamodb_get", &self.dynamodb_get),
            ("dynamodb_batch_get", &self.dynamodb_batch_get),
            ("dynamodb_query", &self.dynamodb_query),
            ("dynamodb_put", &self.dynamodb_put),
            ("dynamodb_transact", &self.dynamodb_transact),
            ("s3_put", &self.s3_put),
            ("s3_get", &self.s3_get),
            ("sqs_send", &self.sqs_send),
            ("batch_list", &self.batch_list),
            ("webhook_to_function", &self.webhook_to_function),
            ("fifo_to_function", &self.fifo_to_function),
            ("standard_to_function", &self.standard_to_function),
            ("standard_to_worker", &self.standard_to_worker),
            ("function_cold_start", &self.function_cold_start),
            ("function_cpu_a_call", &self.function_cpu_a_call),
            ("worker_cpu_a_call", &self.worker_cpu_a_call),
            ("batch_start", &self.batch_start),
        ])
    }

    /// Without any latency: what is left is what the handlers themselves wait for.
    pub fn none() -> Self {
        let mut all = Self::default();
        for latency in all.by_name_mut() {
            (latency.p50_ms, latency.p99_ms, latency.item_ms) = (0.0, 0.0, 0.0);
        }
        all.spot_reclaims_an_hour.value = 0.0;
        all
    }

    fn by_name_mut(&mut self) -> [&mut Latency; 17] {
        [
            &mut self.dynamodb_get,
            &mut self.dynamodb_batch_get,
            &mut self.dynamodb_query,
            &mut self.dynamodb_put,
            &mut self.dynamodb_transact,
            &mut self.s3_put,
            &mut self.s3_get,
            &mut self.sqs_send,
            &mut self.batch_list,
            &mut self.webhook_to_function,
            &mut self.fifo_to_function,
            &mut self.standard_to_function,
            &mut self.standard_to_worker,
            &mut self.function_cold_start,
            &mut self.function_cpu_a_call,
            &mut self.worker_cpu_a_call,
            &mut self.batch_start,
        ]
    }
}

/// Tables are merged, all else is replaced.
fn overlay(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => _ = below.insert(key, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_with_the_program_names_a_source_for_each_number() {
        let all = Latencies::read("").unwrap();
        assert!(all.by_name().values().all(|latency| !latency.source.is_empty()));
    }

    #[test]
    fn a_file_replaces_what_it_names() {
        let all =
            Latencies::read("[dynamodb_get]\np50_ms = 1.5\np99_ms = 2.5\nsource = \"measured\"").unwrap();
        assert_eq!((all.dynamodb_get.p50_ms, all.dynamodb_get.source.as_str()), (1.5, "measured"));
        assert!(all.dynamodb_query.p50_ms > 0.0);
        for bad in ["[dynamodb_get]\np50_ms = 9.0\np99_ms = 1.0", "[dynamo_get]\np50_ms = 1.0", "nonsense"] {
            Latencies::read(bad).unwrap_err();
        }
    }

    #[test]
    fn a_distribution_has_the_percentiles_that_it_is_named_by() {
        let mut random = Random::new(3);
        let latency = Latency { p50_ms: 28.0, p99_ms: 645.0, item_ms: 0.0, source: String::new() };
        let mut drawn: Vec<u64> = (0..100_000).map(|_| latency.draw_us(&mut random, 1)).collect();
        drawn.sort_unstable();
        let at = |share: f64| drawn[(drawn.len() as f64 * share) as usize] as f64 / 1_000.0;
        assert!((at(0.5) / 28.0 - 1.0).abs() < 0.05 && (at(0.99) / 645.0 - 1.0).abs() < 0.05);
    }
}
