//! What many proofs or blocks cost in money and energy, each on its own and all together.

use serde::Serialize;

use super::figures::percentile;
use crate::spending::{Spending, Used, joules, usd};

/// Figures of many proofs or blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SpendingFigures {
    /// Of those of which all attempts are known, by nearest rank.
    pub cost_usd_p50: Option<f64>,
    pub cost_usd_p99: Option<f64>,
    /// Those of which not all attempts are known. Nothing is said of those for which none was made.
    pub cost_not_known: u64,
    pub energy_j_p50: Option<f64>,
    pub energy_j_p99: Option<f64>,
    pub energy_not_known: u64,
    /// Of all of them together.
    #[serde(flatten)]
    pub sum: Spending,
}

/// Gathers what many have used, one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedByEach {
    sum: Used,
    count: u64,
    nanousd: Vec<u64>,
    energy_mj: Vec<u64>,
}

impl UsedByEach {
    pub(super) fn add(&mut self, used: Used) {
        self.add_to_sum(used);
        self.add_to_each(used);
    }

    /// What belongs to one of them, though it is summed otherwise.
    pub(super) fn add_to_each(&mut self, used: Used) {
        if used.attempts == 0 {
            return;
        }
        self.count += 1;
        let [cost_lacks, energy_lacks] = used.lacks();
        self.nanousd.extend(used.nanousd().filter(|_| cost_lacks == 0));
        self.energy_mj.extend(used.energy_mj().filter(|_| energy_lacks == 0));
    }

    /// What belongs to none of them, or to several together.
    pub(super) fn add_to_sum(&mut self, used: Used) {
        self.sum = self.sum.with(used);
    }

    pub(super) fn figures(mut self) -> SpendingFigures {
        self.nanousd.sort_unstable();
        self.energy_mj.sort_unstable();
        SpendingFigures {
            cost_usd_p50: percentile(&self.nanousd, 50).map(usd),
            cost_usd_p99: percentile(&self.nanousd, 99).map(usd),
            cost_not_known: self.count - self.nanousd.len() as u64,
            energy_j_p50: percentile(&self.energy_mj, 50).map(joules),
            energy_j_p99: percentile(&self.energy_mj, 99).map(joules),
            energy_not_known: self.count - self.energy_mj.len() as u64,
            sum: self.sum.spending(),
        }
    }
}
