//! The page around whatever is shown: its head with styles and rules, and the script at its end; and a page of plots and a
//! table.

use std::fmt::{Result, Write};

use super::escape::Text;
use super::frame::begin;
use super::plot::Plot;

/// Above all that is shown.
pub(super) struct Heading<'a> {
    pub title: &'a str,
    pub brand: &'a str,
    pub heading: &'a str,
    pub about: &'a str,
}

/// A whole page; `body` writes what stands below the heading.
pub(super) fn whole(
    heading: &Heading<'_>,
    notes: impl IntoIterator<Item = impl std::fmt::Display>,
    body: impl FnOnce(&mut String) -> Result,
) -> String {
    let mut page = String::new();
    // Writing into a string cannot fail.
    let _ = head(&mut page, heading).and_then(|()| body(&mut page)).and_then(|()| foot(&mut page, notes));
    page
}

fn head(page: &mut String, heading: &Heading<'_>) -> Result {
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <main>\n<header>\n<p class=\"brand\">{}</p>\n<h1>{}</h1>\n<p class=\"about\">{}</p>\n</header>\n",
        Text(heading.title),
        include_str!("page.css"),
        Text(heading.brand),
        Text(heading.heading),
        Text(heading.about),
    )
}

fn foot(page: &mut String, notes: impl IntoIterator<Item = impl std::fmt::Display>) -> Result {
    writeln!(page, "<footer>")?;
    for note in notes {
        writeln!(page, "<p>{}</p>", Text(note))?;
    }
    write!(
        page,
        "</footer>\n</main>\n<div id=\"tip\" hidden></div>\n<script>\n{}</script>\n</body>\n</html>\n",
        include_str!("page.js")
    )
}

/// Plots and the table that they are drawn from.
pub struct Page<'a> {
    pub brand: &'a str,
    pub heading: &'a str,
    pub about: &'a str,
    pub plots: Vec<Plot>,
    pub columns: Vec<String>,
    /// Missing cells are empty.
    pub rows: Vec<Vec<String>>,
    pub notes: &'a [&'a str],
}

impl Page<'_> {
    pub fn html(&self) -> String {
        let Page { brand, heading, about, .. } = *self;
        whole(&Heading { title: brand, brand, heading, about }, self.notes, |page| {
            self.plots.iter().try_for_each(|plot| plot.write(page))?;
            self.table(page)
        })
    }

    fn table(&self, page: &mut String) -> Result {
        begin(page, "figures", "All figures", "")?;
        write!(page, "<div class=\"wide\"><table>\n<thead><tr>")?;
        self.columns.iter().try_for_each(|column| write!(page, "<th>{}</th>", Text(column)))?;
        writeln!(page, "</tr></thead>\n<tbody>")?;
        for row in &self.rows {
            write!(page, "<tr>")?;
            for place in 0..self.columns.len() {
                let cell = row.get(place).map_or("", String::as_str);
                write!(page, "<td>{}</td>", Text(cell))?;
            }
            writeln!(page, "</tr>")?;
        }
        writeln!(page, "</tbody></table></div>\n</section>")
    }
}
