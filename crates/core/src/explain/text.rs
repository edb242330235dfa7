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
