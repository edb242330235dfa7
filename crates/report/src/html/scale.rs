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

/// A logarithmic scale over the figures that are shown.
pub(super) struct Decades {
    least: f64,
    most: f64,
    length: f64,
}

impl Decades {
    /// `None` where nothing above 0 is shown.
    pub(super) fn over(figures: impl Iterator<Item = f64>, length: f64) -> Option<Self> {
        let (least, most) = figures
            .filter(|figure| *figure > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(least, most), figure| (least.min(figure), most.max(figure)));
        (most > 0.0).then(|| Self { least: round_down(least), most: round_up(most), length })
    }

    /// Whatever is below the scale stands at its beginning.
    pub(super) fn at(&self, figure: f64) -> f64 {
        let place = (figure.max(self.least) / self.least).log10();
        place / (self.most / self.least).log10() * self.length
    }

    /// Powers of ten, and where they are few, twice and five times those.
    pub(super) fn ticks(&self) -> Vec<f64> {
        const MANY: f64 = 1_000.0;
        let digits: &[f64] = if self.most / self.least > MANY { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = -6..=12;
        let all = powers.flat_map(|power| digits.iter().map(move |digit| shifted(*digit, power)));
        all.filter(|figure| (self.least..=self.most).contains(figure)).collect()
    }
}

/// The next figure of those 1, 2 or 5 times a power of ten, below and above.
fn round_down(figure: f64) -> f64 {
    let power = figure.log10().floor() as i32;
    let of = |digit| shifted(digit, power);
    [5.0, 2.0, 1.0].map(of).into_iter().find(|round| *round < figure).unwrap_or_else(|| of(0.5))
}

fn round_up(figure: f64) -> f64 {
    let power = figure.log10().floor() as i32;
    let of = |digit| shifted(digit, power);
    [2.0, 5.0].map(of).into_iter().find(|round| *round > figure).unwrap_or_else(|| of(10.0))
}

/// A figure times a power of ten, exactly as it is written.
fn shifted(digit: f64, power: i32) -> f64 {
    if power < 0 { digit / 10_f64.powi(-power) } else { digit * 10_f64.powi(power) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_scale_has_room_for_all_that_is_shown() {
        let scale = Decades::over([0.0, 0.3, 7.0].into_iter(), 100.0).unwrap();
        assert_eq!(scale.ticks(), [0.2, 0.5, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!([scale.at(0.0), scale.at(0.2), scale.at(10.0)], [0.0, 0.0, 100.0]);
        assert!(scale.at(0.3) > 0.0 && scale.at(7.0) < 100.0);
        let far = Decades::over([1.0, 5_000.0].into_iter(), 100.0).unwrap();
        assert_eq!(far.ticks(), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        assert!(Decades::over([0.0].into_iter(), 100.0).is_none());
    }

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
