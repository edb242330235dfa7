//! What proofs and blocks cost in money and energy, as far as it is known. What is not known is no figure, never 0, and how
//! many attempts a sum lacks goes with it.

use serde::Serialize;

use super::figures::percentile;
use crate::state::{Task, Usage};

/// What attempts have used, all those of a task, a block or a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spending {
    /// US dollars: the slots' time times the price of their pools. None where no attempt has both.
    pub cost_usd: Option<f64>,
    /// Attempts that are not in it: those that still run, those without a price, those whose time nobody knows.
    pub cost_lacks_attempts: u64,
    /// Joules, measured or by the power that pools give. None where there is neither of any attempt.
    pub energy_j: Option<f64>,
    pub energy_lacks_attempts: u64,
    /// Attempts in it whose energy was measured, and those by the power that their pool gives.
    pub measured_attempts: u64,
    pub given_attempts: u64,
    /// The parts of it; none where no attempt has such a part.
    pub measured_gpu_j: Option<f64>,
    pub measured_cpu_j: Option<f64>,
    pub given_j: Option<f64>,
}

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

/// Sums over some attempts; of how many is counted apart, so that what they lack shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    attempts: u64,
    usage: Usage,
}

/// Gathers what many have used, one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedByEach {
    sum: Used,
    count: u64,
    nanousd: Vec<u64>,
    energy_mj: Vec<u64>,
}

impl Used {
    pub(crate) fn of(task: &Task) -> Self {
        Self { attempts: u64::from(task.started()), usage: task.usage() }
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self { attempts: self.attempts + other.attempts, usage: self.usage.with(other.usage) }
    }

    /// What some of so many blocks have of it that it was used for. The attempts stay as many: parts of the same attempts are
    /// not to be summed.
    pub(crate) fn parts(self, blocks: u64, of: u64) -> Self {
        Self { usage: self.usage.parts(blocks, of), ..self }
    }

    /// Without which no figure would say anything.
    fn nanousd(self) -> Option<u64> {
        (self.usage.priced > 0).then_some(self.usage.nanousd)
    }

    fn energy_mj(self) -> Option<u64> {
        (self.usage.metered() > 0).then(|| self.usage.energy_mj())
    }

    fn lacks(self) -> [u64; 2] {
        [self.usage.priced, self.usage.metered()].map(|known| self.attempts.saturating_sub(known))
    }

    pub(crate) fn spending(self) -> Spending {
        let Usage { measured, gpu_mj, cpu_mj, given, given_mj, .. } = self.usage;
        let [cost_lacks_attempts, energy_lacks_attempts] = self.lacks();
        Spending {
            cost_usd: self.nanousd().map(usd),
            cost_lacks_attempts,
            energy_j: self.energy_mj().map(joules),
            energy_lacks_attempts,
            measured_attempts: measured,
            given_attempts: given,
            measured_gpu_j: (measured > 0 && gpu_mj > 0).then(|| joules(gpu_mj)),
            measured_cpu_j: (measured > 0 && cpu_mj > 0).then(|| joules(cpu_mj)),
            given_j: (given > 0).then(|| joules(given_mj)),
        }
    }
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

fn usd(nanousd: u64) -> f64 {
    nanousd as f64 / 1e9
}

fn joules(mj: u64) -> f64 {
    mj as f64 / 1e3
}
