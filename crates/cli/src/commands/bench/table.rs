//! What was measured, as people read it.

use proofyard_bench::Row;

use crate::table::{Side, Table};

/// Rows of one step stand together below its name; sentences make no column wider.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new([
        ("", Side::Left),
        ("P50 ms", Side::Right),
        ("P90", Side::Right),
        ("P99", Side::Right),
        ("P99.9", Side::Right),
        ("max", Side::Right),
        ("P50 of the runs", Side::Right),
    ]);
    rows.iter().filter_map(cells).for_each(|cells| table.row(cells));
    let table = table.to_string();
    let mut lines = table.lines();
    let mut text: Vec<String> = lines.by_ref().take(1).map(str::to_owned).collect();
    let mut step = "";
    for row in rows {
        if row.step != step {
            step = &row.step;
            text.extend([String::new(), step.to_owned()]);
        }
        match row.runs.is_empty() {
            true => text.push(format!("  {}", row.what)),
            false => text.extend(lines.next().map(str::to_owned)),
        }
    }
    text.join("\n")
}

/// `None` of a sentence.
fn cells(row: &Row) -> Option<Vec<String>> {
    let times = row.middle()?;
    let spread = row.spread().map(|(least, most)| format!("{least:.2} to {most:.2}"));
    let figures = [times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms, times.max_ms];
    let figures = figures.iter().map(|time| format!("{time:.2}"));
    Some(std::iter::once(format!("  {}", row.what)).chain(figures).chain(spread).collect())
}
