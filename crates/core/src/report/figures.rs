//! Percentiles, shares, and times in a sentence.

use crate::explain::span;

/// The value at a share of `of` values, by nearest rank, where `sorted` has the lowest of them in ascending order;
/// none where it falls on one that is not there.
pub(super) fn percentile_of(sorted: &[u64], of: usize, percent: usize) -> Option<u64> {
    let rank = (of * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

pub(super) fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    percentile_of(sorted, sorted.len(), percent)
}

/// From 0 to 1; none of nothing.
pub(super) fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// Hundredths of a second below a minute, where a deadline is decided.
pub fn seconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        1_000..60_000 => format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10),
        _ => span(ms),
    }
}

/// One line of at most so many characters: the end of a long text, since a failure's cause stands there.
pub fn one_line(text: &str, characters: usize) -> String {
    let line: Vec<char> = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.len().checked_sub(characters) {
        None | Some(0) => line.into_iter().collect(),
        Some(over) => std::iter::once('…').chain(line.into_iter().skip(over + 1)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_by_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(
            [50, 90, 99, 100].map(|percent| percentile(&hundred, percent)),
            [50, 90, 99, 100].map(Some)
        );
        let three = [10, 20, 30];
        assert_eq!(
            [1, 33, 34, 66, 67, 99].map(|percent| percentile(&three, percent)),
            [Some(10), Some(10), Some(20), Some(20), Some(30), Some(30)]
        );
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn what_is_not_there_ranks_last() {
        // 98 of 100 are there: rank 98 is the last of them.
        let sorted: Vec<u64> = (1..=98).collect();
        assert_eq!(percentile_of(&sorted, 100, 98), Some(98));
        assert_eq!(percentile_of(&sorted, 100, 99), None);
    }

    #[test]
    fn times_and_errors_fit_a_sentence() {
        assert_eq!(
            [seconds(999), seconds(10_000), seconds(12_345), seconds(61_000)],
            ["999 ms", "10 s", "12.34 s", "1 min 1 s"]
        );
        assert_eq!(one_line("a\nlong story\n", 7), "… story");
    }
}
