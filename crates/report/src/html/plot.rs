//! Plots of figures that were measured: lines over a few places, on a logarithmic scale, with every point's figure.

use std::fmt::{Result, Write};

use super::COLOURS;
use super::escape::Text;
use super::frame::{LEFT, RIGHT, WIDTH, begin, begin_chart, end_chart, line_at, word_below};
use super::scale::Decades;

const HEIGHT: f64 = 300.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 34.0;

/// Lines over the same places.
pub struct Plot {
    /// Its name in the page.
    pub id: &'static str,
    pub title: &'static str,
    pub about: &'static str,
    pub unit: &'static str,
    /// From left to right.
    pub places: Vec<String>,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub name: String,
    /// What cannot be surpassed: a broken line in the colour of the one before it.
    pub is_ideal: bool,
    /// One for each place.
    pub points: Vec<Option<f64>>,
}

impl Plot {
    pub(super) fn write(&self, page: &mut String) -> Result {
        let figures = || self.lines.iter().flat_map(|line| line.points.iter().copied().flatten());
        let Some(scale) = Decades::over(figures(), HEIGHT - TOP - BOTTOM) else { return Ok(()) };
        begin(page, self.id, &format!("{}, {}", self.title, self.unit), self.about)?;
        let colours = self.colours();
        writeln!(page, "<p class=\"legend\">")?;
        for (line, colour) in self.lines.iter().zip(&colours).filter(|(line, _)| !line.is_ideal) {
            writeln!(page, "<span class=\"s{colour}\"><i></i>{}</span>", Text(&line.name))?;
        }
        writeln!(page, "</p>")?;
        begin_chart(page, HEIGHT, self.title)?;
        for figure in scale.ticks() {
            line_at(page, HEIGHT - BOTTOM - scale.at(figure), &figure.to_string())?;
        }
        for (place, name) in self.places.iter().enumerate() {
            word_below(page, self.x(place), HEIGHT - BOTTOM + 18.0, name)?;
        }
        for (line, colour) in self.lines.iter().zip(&colours) {
            self.line(page, line, *colour, &scale)?;
        }
        end_chart(page)
    }

    /// An ideal line has that of the line before it.
    fn colours(&self) -> Vec<usize> {
        let mut next = 0;
        let colour = |line: &Line| {
            next += usize::from(!line.is_ideal);
            (next - usize::from(next > 0)).min(COLOURS)
        };
        self.lines.iter().map(colour).collect()
    }

    fn x(&self, place: usize) -> f64 {
        LEFT + (place as f64 + 0.5) / self.places.len().max(1) as f64 * (WIDTH - LEFT - RIGHT)
    }

    fn line(&self, page: &mut String, line: &Line, colour: usize, scale: &Decades) -> Result {
        let at = |(place, figure): (usize, &Option<f64>)| {
            figure.map(|figure| (place, figure, self.x(place), HEIGHT - BOTTOM - scale.at(figure)))
        };
        let points: Vec<_> = line.points.iter().enumerate().filter_map(at).collect();
        let path: Vec<String> = points.iter().map(|(_, _, x, y)| format!("{x:.1} {y:.1}")).collect();
        let class = if line.is_ideal { "line ideal" } else { "line" };
        writeln!(page, "<g class=\"s{colour}\"><path class=\"{class}\" d=\"M{}\"/>", path.join("L"))?;
        for (place, figure, x, y) in points.iter().filter(|_| !line.is_ideal) {
            writeln!(
                page,
                "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}\n{}: {figure:.2} {}</title></circle>",
                Text(&line.name),
                Text(self.places.get(*place).map_or("", String::as_str)),
                self.unit
            )?;
        }
        writeln!(page, "</g>")
    }
}
