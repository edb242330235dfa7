//! What is wrong with a pipeline file: each mistake with its place, what is wrong there, and what would be right.

use std::fmt;

use serde::Serialize;

/// More than this many mistakes help nobody.
const MAX_MISTAKES: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong with the named thing.
    pub message: String,
    /// What would be right.
    pub help: String,
}

impl Mistake {
    /// `demo.toml:12:8: unknown prover "midn"`, and its help on a line of its own.
    pub fn display(&self, file: &str) -> impl fmt::Display + '_ {
        let Self { line, column, message, help } = self;
        format!("{file}:{line}:{column}: {message}\n  help: {help}")
    }
}

/// Mistakes while they are gathered, at byte offsets of the text.
#[derive(Default)]
pub(super) struct Mistakes {
    found: Vec<(usize, String, String)>,
}

impl Mistakes {
    pub(super) fn add(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        self.found.push((at, message.into(), help.into()));
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// In file order, each once.
    pub(super) fn located(mut self, text: &str) -> Vec<Mistake> {
        self.found.sort_by_key(|(at, ..)| *at);
        self.found.dedup_by(|later, earlier| later.0 == earlier.0 && later.1 == earlier.1);
        let more = self.found.len().saturating_sub(MAX_MISTAKES);
        if more > 0 {
            self.found.truncate(MAX_MISTAKES);
        }
        let mut place = Place { text, offset: 0, line: 1, column: 1 };
        let mut mistakes: Vec<Mistake> = self
            .found
            .into_iter()
            .map(|(at, message, help)| place.move_to(at).mistake(message, help))
            .collect();
        if more > 0 {
            let message = format!("and {more} more mistakes");
            mistakes.push(place.mistake(message, "mend those above and check again".to_string()));
        }
        mistakes
    }
}

/// Walks the text once, since mistakes come in file order.
struct Place<'t> {
    text: &'t str,
    offset: usize,
    line: usize,
    column: usize,
}

impl Place<'_> {
    fn move_to(&mut self, at: usize) -> &Self {
        let rest = self.text.get(self.offset..).unwrap_or_default();
        for (index, character) in rest.char_indices() {
            if self.offset + index >= at {
                break;
            }
            if character == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        self.offset = self.offset.max(self.text.ceil_char_boundary(at));
        self
    }

    fn mistake(&self, message: String, help: String) -> Mistake {
        Mistake { line: self.line, column: self.column, message, help }
    }
}
