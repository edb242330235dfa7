//! From the text of a pipeline file to a [`Pipeline`], or to every mistake in it at once.

use toml::de::DeTable;

use super::mistake::{Mistake, Mistakes};
use super::reader::shown;
use super::tables::File;
use super::{MAX_TEXT_BYTES, Pipeline, rules};

/// A valid pipeline, and what is odd about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub pipeline: Pipeline,
    pub warnings: Vec<Mistake>,
    /// What rests on trust: not odd, and worth knowing for who reads the file.
    pub notes: Vec<Mistake>,
}

/// All mistakes in file order, each once; one that only follows from another is not reported.
pub fn parse(text: &str) -> Result<Checked, Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("the file has {} bytes", text.len());
        mistakes.add(0, message, format!("a pipeline is at most {MAX_TEXT_BYTES} bytes of TOML"));
        return Err(mistakes.located(text));
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    // Where the text is broken, what was read from it is a guess.
    let broken = report_syntax(&errors, text, &mut mistakes);
    if broken {
        return Err(mistakes.located(text));
    }
    let file = File::read(root.get_ref(), &mut mistakes);
    if file.too_large {
        return Err(mistakes.located(text));
    }
    let mut warnings = Mistakes::default();
    let mut notes = Mistakes::default();
    rules::note_trust(&file, &mut notes);
    match rules::settle(file, &mut mistakes, &mut warnings) {
        Some(pipeline) if mistakes.is_empty() => {
            Ok(Checked { pipeline, warnings: warnings.located(text), notes: notes.located(text) })
        }
        _ => Err(mistakes.located(text)),
    }
}

/// Says whether the text cannot be read on; a key that is set twice is the one slip after which it can.
fn report_syntax(errors: &[toml::de::Error], text: &str, mistakes: &mut Mistakes) -> bool {
    let mut errors: Vec<(usize, usize, &str)> = errors
        .iter()
        .map(|error| (error.span().unwrap_or(text.len()..text.len()), error.message()))
        .map(|(span, message)| (span.start, span.end, message))
        .collect();
    errors.sort();
    let mut told = 0;
    let mut told_to = 0;
    for (start, end, message) in errors {
        if message == "duplicate key" {
            let key = shown(text.get(start..end).unwrap_or_default());
            mistakes.add(start, format!("`{key}` is there twice"), "keep one of them");
            continue;
        }
        // Recovery stumbles again over the rest of a broken line, and over all that is behind a list without an end.
        if start < told_to {
            continue;
        }
        told_to =
            text.get(start..).and_then(|rest| rest.find('\n')).map_or(usize::MAX, |end| start + end + 1);
        told += 1;
        let in_list = message.contains("array");
        let help = if in_list { LIST_HELP } else { SYNTAX_HELP };
        mistakes.add(start, format!("not TOML: {message}"), help);
        if in_list || told == MAX_SYNTAX_ERRORS {
            break;
        }
    }
    told > 0
}

/// A file with more than this is something else.
const MAX_SYNTAX_ERRORS: usize = 20;
const SYNTAX_HELP: &str = "write key = \"text\", key = 1, key = [\"a\", \"b\"] or a [table] on a line";
const LIST_HELP: &str = "a list is [\"a\", \"b\"]; is its ] missing before this?";
