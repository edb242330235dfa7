//! A line of the table that people read, whoever measured it.

use serde::{Deserialize, Serialize};

use crate::Quantiles;

/// One thing that was measured under one load, or a sentence about it. A program that measures what Proofyard is compared with
/// answers its own as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Who, and under which load: rows of one name stand together.
    pub step: String,
    pub what: String,
    /// Of each run; empty where it is a sentence.
    #[serde(default)]
    pub runs: Vec<Quantiles>,
}

impl Row {
    pub fn sentence(step: &str, what: String) -> Self {
        Self { step: step.to_owned(), what, runs: Vec::new() }
    }

    /// The middle of the runs, each figure by itself; `None` in a sentence.
    pub fn middle(&self) -> Option<Quantiles> {
        let of = |figure: fn(&Quantiles) -> f64| middle(self.runs.iter().map(figure));
        Some(Quantiles {
            samples: self.runs.first()?.samples,
            p50_ms: of(|run| run.p50_ms),
            p90_ms: of(|run| run.p90_ms),
            p99_ms: of(|run| run.p99_ms),
            p999_ms: of(|run| run.p999_ms),
            max_ms: of(|run| run.max_ms),
        })
    }

    /// The least and the greatest P50 of the runs, where there are several.
    pub fn spread(&self) -> Option<(f64, f64)> {
        (self.runs.len() > 1).then(|| spread(self.runs.iter().map(|run| run.p50_ms)))
    }
}

/// The median, the lower one of two; 0 of nothing.
pub fn middle(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// The least and the greatest.
pub fn spread(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    figures.fold((f64::INFINITY, 0.0), |(least, most), figure| (figure.min(least), figure.max(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_runs_are_told_by_their_middle_and_their_spread() {
        let run = |p50_ms, p99_ms| Quantiles { samples: 7, p50_ms, p99_ms, ..Quantiles::default() };
        let row = Row {
            step: "a".to_owned(),
            what: "b".to_owned(),
            runs: vec![run(3.0, 9.0), run(1.0, 4.0), run(2.0, 30.0)],
        };
        let middle = row.middle().map(|all| (all.samples, all.p50_ms, all.p99_ms));
        assert_eq!((middle, row.spread()), (Some((7, 2.0, 9.0)), Some((1.0, 3.0))));
        let sentence = Row::sentence("a", "said".to_owned());
        assert_eq!((sentence.middle(), sentence.spread()), (None, None));
        let read: Row = serde_json::from_str("{\"step\":\"a\",\"what\":\"said\"}").unwrap();
        assert_eq!(read, sentence);
    }
}
