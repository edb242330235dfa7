//! What proofs and blocks cost in money and energy, as far as it is known. What is not known is no figure, never 0, and how
//! many attempts a sum lacks goes with it.

use serde::Serialize;

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

/// Sums over some attempts; of how many is counted apart, so that what they lack shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) attempts: u64,
    usage: Usage,
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
    pub(crate) fn nanousd(self) -> Option<u64> {
        (self.usage.priced > 0).then_some(self.usage.nanousd)
    }

    pub(crate) fn energy_mj(self) -> Option<u64> {
        (self.usage.metered() > 0).then(|| self.usage.energy_mj())
    }

    pub(crate) fn lacks(self) -> [u64; 2] {
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

pub(crate) fn usd(nanousd: u64) -> f64 {
    nanousd as f64 / 1e9
}

pub(crate) fn joules(mj: u64) -> f64 {
    mj as f64 / 1e3
}
