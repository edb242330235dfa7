//! Axes: from figures to places, with ticks at round figures.

/// Whether a deadline is drawn: far beyond all that is shown it is only told, or nothing else could be seen.
pub(super) fn shows_deadline(deadline_ms: u64, shown_ms: u64) -> bool {
    const REACH: u64 = 4;
    deadline_ms <= shown_ms.saturating_mul(REACH)
}

/// From 0 to `end` milliseconds over `length` units of a drawing.
pub(super) struct Scale {
    pub(super) end_ms: u64,
    pub(super) length: f64,
}

impl Scale {
    pub(super) fn at(&self, ms: u64) -> f64 {
        ms as f64 / self.end_ms.max(1) as f64 * self.length
    }

    /// About `wanted` round figures, 0 first.
    pub(super) fn ticks(&self, wanted: u64) -> Vec<u64> {
        let step = step(self.end_ms, wanted);
        (0..).map(|tick| tick * step).take_while(|ms| *ms <= self.end_ms).collect()
    }
}

/// 1, 2 or 5 times a power of ten, or a round number of seconds that is read as minutes.
fn step(end_ms: u64, wanted: u64) -> u64 {
    const ROUND_MS: [u64; 10] = [
        60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000,
        86_400_000,
    ];
    let small = (0..5)
        .flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)))
        .take_while(|ms| *ms <= 20_000);
    let days = (1..u64::from(u32::MAX)).map(|days| days.saturating_mul(86_400_000));
    small.chain(ROUND_MS).chain(days).find(|ms| end_ms / ms <= wanted).unwrap_or(end_ms.max(1))
}

/// A tick's text.
pub(super) fn tick(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        1..1_000 => format!("{ms} ms"),
        _ if !ms.is_multiple_of(1_000) => format!("{:.1} s", ms as f64 / 1_000.0),
        1_000..60_000 => format!("{} s", ms / 1_000),
        _ => proofyard_core::explain::span(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let ticks = |end_ms| Scale { end_ms, length: 100.0 }.ticks(5);
        assert_eq!(ticks(4_300), [0, 1_000, 2_000, 3_000, 4_000]);
        assert_eq!(ticks(11_000), [0, 2_000, 4_000, 6_000, 8_000, 10_000]);
        assert_eq!(ticks(0), [0]);
        for end_ms in [1, 7, 999, 59_999, 61_000, 3_600_000, 86_400_000, 10_u64.pow(12)] {
            let ticks = ticks(end_ms);
            assert!((1..=6).contains(&ticks.len()), "{end_ms}: {ticks:?}");
        }
        assert_eq!(
            [tick(0), tick(500), tick(2_500), tick(10_000), tick(120_000)],
            ["0", "500 ms", "2.5 s", "10 s", "2 min"]
        );
    }
}
