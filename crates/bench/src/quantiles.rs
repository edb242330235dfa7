//! A distribution, by what is read of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of times, in milliseconds. Nothing was measured where `samples` is 0; all else is 0 then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    pub samples: usize,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Quantiles {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        // The nearest rank: the smallest time that so many thousandths are not above.
        let at = |per_mille: usize| {
            let rank = (times.len() * per_mille).div_ceil(1_000).max(1);
            times.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
        };
        Self {
            samples: times.len(),
            p50_ms: at(500),
            p90_ms: at(900),
            p99_ms: at(990),
            p999_ms: at(999),
            max_ms: at(1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let of = |millis: std::ops::RangeInclusive<u64>| {
            Quantiles::of(millis.map(Duration::from_millis).collect())
        };
        let hundred = of(1..=100);
        assert_eq!((hundred.samples, hundred.p50_ms, hundred.p90_ms), (100, 50.0, 90.0));
        assert_eq!((hundred.p99_ms, hundred.p999_ms, hundred.max_ms), (99.0, 100.0, 100.0));
        let one = of(7..=7);
        assert_eq!((one.p50_ms, one.max_ms), (7.0, 7.0));
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
