//! From the text of a pipeline file to a [`Pipeline`], or to every mistake in it at once.

use sha2::{Digest, Sha256};
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
    match rules::settle(file, &mut mistakes, &mut warnings) {
        Some(pipeline) if mistakes.is_empty() => Ok(Checked { pipeline, warnings: warnings.located(text) }),
        _ => Err(mistakes.located(text)),
    }
}

/// The name under which a pipeline's text is stored: its SHA-256 in hex.
pub fn text_hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says whether the text cannot be read on; a key that is set twice is the one slip after which it can.
fn report_syntax(errors: &[toml::de::Error], text: &str, mistakes: &mut Mistakes) -> bool {
    let mut broken = false;
    let mut lines_told = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        if error.message() == "duplicate key" {
            let key = shown(text.get(span.clone()).unwrap_or_default());
            mistakes.add(span.start, format!("`{key}` is there twice"), "keep one of them");
            continue;
        }
        broken = true;
        // Recovery stumbles over the rest of a broken line again.
        let line = text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count();
        if !lines_told.contains(&line) {
            lines_told.push(line);
            mistakes.add(span.start, format!("not TOML: {}", error.message()), SYNTAX_HELP);
        }
    }
    broken
}

const SYNTAX_HELP: &str = "write key = \"text\", key = 1, key = [\"a\", \"b\"] or a [table] on a line";
