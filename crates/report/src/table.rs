//! Tables for terminals: columns two spaces apart, numbers to the right.

use std::fmt::{Display, Formatter, Result};

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

pub struct Table {
    sides: Vec<Side>,
    /// The first one holds the titles.
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(columns: [(&str, Side); N]) -> Self {
        let (titles, sides): (Vec<_>, Vec<_>) =
            columns.iter().map(|(title, side)| (title.to_string(), *side)).unzip();
        Self { sides, rows: vec![titles] }
    }

    /// Cells beyond the last column are not shown; missing ones are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().take(self.sides.len()).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl Display for Table {
    /// Without a newline at the end.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..self.sides.len()).map(|column| width(column).unwrap_or(0)).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for ((cell, side), width) in row.iter().zip(&self.sides).zip(&widths) {
                let padding = " ".repeat(width - cell.chars().count());
                match side {
                    Side::Left => line.extend([cell, padding.as_str(), "  "]),
                    Side::Right => line.extend([padding.as_str(), cell, "  "]),
                }
            }
            let newline = if number == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new([("stage", Side::Left), ("tasks", Side::Right), ("note", Side::Left)]);
        table.row(["a".to_owned(), "7".to_owned()]);
        table.row(["longer".to_owned(), "12345678".to_owned(), "é …".to_owned()]);
        let expected = "stage      tasks  note\na              7\nlonger  12345678  é …";
        assert_eq!(table.to_string(), expected);
    }
}
