//! Figures as people read them.

use std::time::Duration;

use proofyard_core::explain::span;

/// Three digits that matter below a minute, then two units.
pub fn duration(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1_000.0;
    match ms {
        0.0..10.0 => format!("{ms:.2} ms"),
        10.0..1_000.0 => format!("{ms:.0} ms"),
        1_000.0..60_000.0 => format!("{:.1} s", ms / 1_000.0),
        _ => span(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    }
}

pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64 / 1_000.0;
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let decimals = if value < 9.95 { 1 } else { 0 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// The value at a share of an ascending list, by nearest rank.
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// One line of at most so many characters: the end of a long text, since a failure's cause stands there.
pub fn shortened(text: &str, shown: usize) -> String {
    let line: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.len().checked_sub(shown) {
        None | Some(0) => line.into_iter().collect(),
        Some(over) => std::iter::once('…').chain(line.into_iter().skip(over + 1)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let shown = |us| duration(Duration::from_micros(us));
        assert_eq!([shown(840), shown(12_345), shown(1_250_000)], ["0.84 ms", "12 ms", "1.2 s"]);
        assert_eq!(shown(61_000_000), "1 min 1 s");
        assert_eq!(
            [bytes(999), bytes(1_234), bytes(999_999), bytes(45_000_000)],
            ["999 B", "1.2 kB", "1.0 MB", "45 MB"]
        );
        assert_eq!(shortened("one\ntwo three", 9), "…wo three");
        assert_eq!(shortened("one\ntwo", 7), "one two");
    }

    #[test]
    fn percentiles_are_values_of_the_list() {
        let list: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&list, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&list, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&list[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }
}
