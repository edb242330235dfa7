//! How long proofs take: given for all alike, or by stage and prover in a file.

use std::collections::BTreeMap;

use proofyard_memory_store::Random;
use serde::{Deserialize, Serialize};

use crate::PlanError;
use crate::latencies::{draw, mean};

/// Of one stage or one prover: a median and a 99th percentile, or times that were measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofTime {
    #[serde(default)]
    pub p50_s: Option<f64>,
    /// The median where it is left out.
    #[serde(default)]
    pub p99_s: Option<f64>,
    /// One of these is taken each time, by chance.
    #[serde(default)]
    pub measured_s: Vec<f64>,
    #[serde(default)]
    pub verify_s: f64,
}

/// All proof times of a plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provers {
    /// Where nothing else is said.
    #[serde(default)]
    pub default: Option<ProofTime>,
    #[serde(default)]
    pub stage: BTreeMap<String, ProofTime>,
    #[serde(default)]
    pub prover: BTreeMap<String, ProofTime>,
}

/// What is read of the answer of `proofyard report --json`.
#[derive(Deserialize)]
struct Reported {
    provers: Vec<ReportedProver>,
}

#[derive(Deserialize)]
struct ReportedProver {
    stage: String,
    prove_p50_ms: Option<f64>,
    prove_p99_ms: Option<f64>,
    verify_p50_ms: Option<f64>,
}

impl Provers {
    /// All proofs take so long.
    pub fn all(prove_s: f64) -> Result<Self, PlanError> {
        let default = ProofTime { p50_s: Some(prove_s), ..ProofTime::default() };
        let all = Self { default: Some(default), ..Self::default() };
        all.check().map(|()| all)
    }

    /// TOML, JSON of the same form, or the answer of `proofyard report --json`.
    pub fn read(text: &str) -> Result<Self, PlanError> {
        let read = if text.trim_start().starts_with('{') {
            match serde_json::from_str::<Reported>(text) {
                Ok(reported) => Self::reported(reported),
                Err(_) => serde_json::from_str(text).map_err(|error| PlanError::Provers(error.into()))?,
            }
        } else {
            toml::from_str(text).map_err(|error| PlanError::Provers(error.into()))?
        };
        read.check()?;
        Ok(read)
    }

    fn reported(reported: Reported) -> Self {
        let mut provers = Self::default();
        for row in reported.provers {
            let Some(p50_ms) = row.prove_p50_ms else { continue };
            let time = ProofTime {
                p50_s: Some(p50_ms / 1_000.0),
                p99_s: row.prove_p99_ms.map(|ms| ms / 1_000.0),
                measured_s: Vec::new(),
                verify_s: row.verify_p50_ms.unwrap_or(0.0) / 1_000.0,
            };
            provers.stage.insert(row.stage, time);
        }
        provers
    }

    fn check(&self) -> Result<(), PlanError> {
        for time in self.default.iter().chain(self.stage.values()).chain(self.prover.values()) {
            let all = time.p50_s.iter().chain(&time.p99_s).chain(&time.measured_s).chain([&time.verify_s]);
            if all.clone().any(|s| !(0.0..=1e6).contains(s)) {
                return Err(PlanError::Provers("a time is not from 0 to a million seconds".into()));
            }
            if time.p50_s.is_none() == time.measured_s.is_empty() {
                return Err(PlanError::Provers("each needs either p50_s or measured_s".into()));
            }
        }
        Ok(())
    }

    /// The stage's own first, then its prover's, then what counts for all.
    pub(crate) fn time_of(&self, stage: &str, prover: &str) -> Option<&ProofTime> {
        self.stage.get(stage).or_else(|| self.prover.get(prover)).or(self.default.as_ref())
    }
}

impl ProofTime {
    pub(crate) fn draw_us(&self, random: &mut Random) -> u64 {
        let seconds = match self.p50_s {
            Some(p50_s) => draw(random, p50_s, self.p99_s.unwrap_or(p50_s)),
            None => *random.pick(&self.measured_s),
        };
        (seconds * 1e6).round() as u64
    }

    /// With its verification.
    pub(crate) fn mean_s(&self) -> f64 {
        let proving_s = match self.p50_s {
            Some(p50_s) => mean(p50_s, self.p99_s.unwrap_or(p50_s)),
            None => self.measured_s.iter().sum::<f64>() / self.measured_s.len() as f64,
        };
        proving_s + self.verify_s
    }

    pub(crate) fn verify_us(&self) -> u64 {
        (self.verify_s * 1e6).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_either_kind_is_read() {
        let toml = Provers::read("[stage.segment]\np50_s = 3.0\np99_s = 4.0\n[default]\nmeasured_s = [1.0]")
            .unwrap();
        assert_eq!(toml.time_of("segment", "p").unwrap().p99_s, Some(4.0));
        assert_eq!(toml.time_of("join", "p").unwrap().measured_s, [1.0]);
        let report = r#"{"chain": "c", "provers": [{"stage": "a", "prover": "p", "prove_p50_ms": 1500,
            "prove_p99_ms": null, "verify_p50_ms": 20, "tasks": 4}]}"#;
        let reported = Provers::read(report).unwrap();
        let of_stage = reported.time_of("a", "p").unwrap();
        assert_eq!((of_stage.p50_s, of_stage.verify_s), (Some(1.5), 0.02));
        for bad in ["[stage.a]\nverify_s = 1.0", "[stage.a]\np50_s = -1.0", "{}{}", "[stages.a]\np50_s = 1.0"]
        {
            Provers::read(bad).unwrap_err();
        }
    }
}
