//! The frame of a chart: its place on the page, lines across it at round figures, and words below it.

use std::fmt::{Result, Write};

use super::escape::Text;

pub(super) const WIDTH: f64 = 1_080.0;
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = 16.0;

/// A section with a title, a sentence about it, and room for a chart; `label` is what it shows.
pub(super) fn begin(page: &mut String, id: &str, title: &str, about: &str) -> Result {
    writeln!(page, "<section id=\"{id}\">\n<h2>{}</h2>", Text(title))?;
    if about.is_empty() { Ok(()) } else { writeln!(page, "<p class=\"about\">{}</p>", Text(about)) }
}

pub(super) fn begin_chart(page: &mut String, height: f64, label: &str) -> Result {
    writeln!(
        page,
        "<div class=\"wide\"><svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        Text(label)
    )
}

pub(super) fn end_chart(page: &mut String) -> Result {
    writeln!(page, "</svg></div>\n</section>")
}

/// A line across the chart, and its figure beside it.
pub(super) fn line_at(page: &mut String, y: f64, figure: &str) -> Result {
    writeln!(
        page,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
         <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        WIDTH - RIGHT,
        LEFT - 8.0,
        y + 4.0,
        Text(figure)
    )
}

/// What stands below a place.
pub(super) fn word_below(page: &mut String, x: f64, y: f64, word: impl std::fmt::Display) -> Result {
    writeln!(
        page,
        "<text class=\"tick\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
        Text(word)
    )
}
