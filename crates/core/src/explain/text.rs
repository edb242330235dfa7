//! Explanations as people read them.

use std::fmt::{Display, Formatter, Result};

use super::{Explanation, Line};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{}", self.verdict)?;
        for line in &self.details {
            write_line(f, line, 1)?;
        }
        if !self.what_would_move_it.is_empty() {
            writeln!(f, "What would move it:")?;
            for way in &self.what_would_move_it {
                writeln!(f, "  - {way}")?;
            }
        }
        Ok(())
    }
}

fn write_line(f: &mut Formatter<'_>, line: &Line, depth: usize) -> Result {
    writeln!(f, "{:indent$}{}", "", line.text, indent = 2 * depth)?;
    line.under.iter().try_for_each(|under| write_line(f, under, depth + 1))
}

/// A length of time in at most two units.
pub fn span(ms: u64) -> String {
    let s = ms / 1_000;
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s} s"),
        60..3_600 => two(s / 60, "min", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s / 60 % 60, "min"),
        _ => two(s / 86_400, "d", s / 3_600 % 24, "h"),
    }
}

/// "1 task", "2 tasks".
pub fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// The first few of a list, and how many there are beyond.
pub(super) fn some<T: Display>(items: &[T], shown: usize) -> String {
    let mut text: Vec<String> = items.iter().take(shown).map(T::to_string).collect();
    if items.len() > shown {
        text.push(format!("and {} more", items.len() - shown));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        let spans = [(400, "400 ms"), (12_900, "12 s"), (60_000, "1 min"), (61_000, "1 min 1 s")];
        let long = [(7_260_000, "2 h 1 min"), (180_000_000, "2 d 2 h")];
        for (ms, text) in spans.into_iter().chain(long) {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn lists_say_what_they_leave_out() {
        assert_eq!(some(&[1, 2, 3], 2), "1, 2, and 1 more");
        assert_eq!(some(&["a", "b"], 2), "a, b");
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(0, "task"), "0 tasks");
    }
}
