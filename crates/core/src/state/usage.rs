//! Money and energy used by attempts. Each sum carries how many attempts it covers, so that unknown is never counted as zero.
//!
//! It is worked out when an attempt ends, by the pipeline that its task lives by, so that a price which is edited later changes
//! nothing of it. Whoever ends the attempt writes it into the task.

use serde::{Deserialize, Serialize};

use super::Attempt;
use crate::pipeline::Pool;
use crate::transaction::MAX_STORED;

/// What a worker's machine measured while an attempt ran, of its part of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// Of the slot's GPUs.
    pub gpu_mj: Option<u64>,
    /// Of the processors.
    pub cpu_mj: Option<u64>,
}

/// Sums over attempts that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Attempts whose pool has a price, and what they cost, in billionths of a US dollar.
    #[serde(skip_serializing_if = "is_zero")]
    pub priced: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub nanousd: u64,
    /// Those whose energy was measured, and what was measured.
    #[serde(skip_serializing_if = "is_zero")]
    pub measured: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub gpu_mj: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_mj: u64,
    /// Those whose energy is taken from the power that the pool gives, and that.
    #[serde(skip_serializing_if = "is_zero")]
    pub given: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub given_mj: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Usage {
    /// Usage of one attempt that held a slot of this pool for `slot_ms`. The machine's own price takes precedence over the pool's.
    pub(crate) fn of_attempt(attempt: &Attempt, pool: &Pool, slot_ms: u64, metered: Option<Metered>) -> Self {
        let mut usage = Self::default();
        let price = attempt.price_microusd_per_hour.or(pool.price_microusd_per_hour);
        if let Some(nanousd) = price.map(|price| pool.cost_nanousd(price, slot_ms)) {
            (usage.priced, usage.nanousd) = (1, nanousd);
        }
        match (metered, pool.given_mj(slot_ms)) {
            (Some(Metered { gpu_mj, cpu_mj }), _) if gpu_mj.or(cpu_mj).is_some() => {
                usage.measured = 1;
                usage.gpu_mj = gpu_mj.unwrap_or(0);
                usage.cpu_mj = cpu_mj.unwrap_or(0);
            }
            (_, Some(given_mj)) => (usage.given, usage.given_mj) = (1, given_mj),
            _ => {}
        }
        Self::default().with(usage)
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let mut sums = self.numbers();
        for (sum, number) in sums.iter_mut().zip(other.numbers()) {
            *sum = sum.saturating_add(number).min(MAX_STORED);
        }
        Self::of_numbers(sums)
    }

    /// `parts`/`of` of the amounts; the attempt counts stay.
    pub(crate) fn parts(self, parts: u64, of: u64) -> Self {
        let part = |amount: u64| {
            let amount = u128::from(amount) * u128::from(parts.min(of)) / u128::from(of.max(1));
            // No more than it was.
            amount as u64
        };
        Self {
            nanousd: part(self.nanousd),
            gpu_mj: part(self.gpu_mj),
            cpu_mj: part(self.cpu_mj),
            given_mj: part(self.given_mj),
            ..self
        }
    }

    /// Attempts whose energy is known, measured or given.
    pub fn metered(&self) -> u64 {
        self.measured.saturating_add(self.given)
    }

    pub fn energy_mj(&self) -> u64 {
        self.gpu_mj.saturating_add(self.cpu_mj).saturating_add(self.given_mj)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn numbers(&self) -> [u64; 7] {
        [self.priced, self.nanousd, self.measured, self.gpu_mj, self.cpu_mj, self.given, self.given_mj]
    }

    fn of_numbers(numbers: [u64; 7]) -> Self {
        let [priced, nanousd, measured, gpu_mj, cpu_mj, given, given_mj] = numbers;
        Self { priced, nanousd, measured, gpu_mj, cpu_mj, given, given_mj }
    }
}
