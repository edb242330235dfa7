//! Figures as people read them.

use std::time::Duration;

use proofyard_core::explain::span;
use proofyard_core::report::one_line;

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

/// In the unit of the goal for proofs.
pub fn kib(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    match bytes {
        0..KIB => format!("{bytes} B"),
        _ if bytes.is_multiple_of(KIB) && bytes < 10 << 20 => format!("{} KiB", bytes / KIB),
        _ if bytes < 10 << 20 => format!("{:.1} KiB", bytes as f64 / KIB as f64),
        _ => format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64),
    }
}

/// US dollars, without their sign.
pub fn usd(usd: f64) -> String {
    match usd {
        0.0 => "0".to_owned(),
        ..0.000_1 => "<0.0001".to_owned(),
        ..1.0 => format!("{usd:.4}"),
        ..1_000.0 => format!("{usd:.2}"),
        _ => format!("{usd:.0}"),
    }
}

/// Energy with three digits that matter.
pub fn joules(j: f64) -> String {
    const UNITS: [&str; 4] = ["mJ", "J", "kJ", "MJ"];
    if j == 0.0 {
        return "0 J".to_owned();
    }
    let (mut value, mut unit) = (j * 1_000.0, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A share from 0 to 1 in percent, rounded down: 100.0 % is all of it.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", (share * 1_000.0 + 1e-9).floor() / 10.0)
}

/// The value at a share of an ascending list, by nearest rank.
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// One line of at most so many characters: the end of a long text, since a failure's cause stands there.
pub fn shortened(text: &str, shown: usize) -> String {
    one_line(text, shown)
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
        assert_eq!(
            [kib(1_023), kib(307_200), kib(307_300), kib(12 << 20)],
            ["1023 B", "300 KiB", "300.1 KiB", "12.0 MiB"]
        );
        assert_eq!(
            [usd(0.0), usd(0.000_01), usd(0.012_34), usd(12.345), usd(54_321.0)],
            ["0", "<0.0001", "0.0123", "12.35", "54321"]
        );
        assert_eq!(
            [joules(0.0), joules(0.25), joules(9.876), joules(350.0), joules(12_340.0), joules(5e9)],
            ["0 J", "250 mJ", "9.88 J", "350 J", "12.3 kJ", "5000 MJ"]
        );
        assert_eq!([percent(0.7), percent(0.999_99), percent(1.0)], ["70.0 %", "99.9 %", "100.0 %"]);
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
