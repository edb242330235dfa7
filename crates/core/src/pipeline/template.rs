//! Texts with values put in: what a contract is called with, and what is compared.
//!
//! `{NAME}` stands for a value, and `{NAME.FIELD}` for a part of it. Behind it may stand, in this order, `[0..32]`, some of its
//! bytes; `+1` or `-1`, a number more or less; and a format: `:hex` (`0x1b`, as nodes write numbers), `:u256` and the like (big
//! endian, in hex, without `0x`, for packing), `:raw` (bytes in hex, without `0x`).

use std::ops::Range;

/// A text of the pipeline file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Value(Reference),
}

/// What stands in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub name: String,
    /// The part of a part of it.
    pub path: Vec<String>,
    pub bytes: Option<Range<usize>>,
    pub plus: i64,
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As it is.
    Plain,
    /// A number as nodes write it.
    Quantity,
    /// A number in so many bytes, big endian.
    Bytes(usize),
    /// Bytes without `0x`.
    Raw,
}

/// More than any call has.
const MAX_BYTES: usize = 1 << 20;

impl Template {
    /// Or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let mut pieces = Vec::new();
        while let Some((before, behind)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (inside, behind) = behind.split_once('}').ok_or("a brace that is not closed")?;
            pieces.push(Piece::Value(Reference::parse(inside)?));
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(reference) => Some(reference),
        })
    }
}

impl Reference {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{{{text}}}`: {what}");
        let (text_before, format) = match text.split_once(':') {
            None => (text, Format::Plain),
            Some((before, "hex")) => (before, Format::Quantity),
            Some((before, "raw")) => (before, Format::Raw),
            Some((before, other)) => {
                let bits = other.strip_prefix('u').and_then(|bits| bits.parse::<usize>().ok());
                let bits = bits.filter(|bits| (8..=256).contains(bits) && bits % 8 == 0);
                (
                    before,
                    bits.map(|bits| Format::Bytes(bits / 8))
                        .ok_or_else(|| wrong("a format is hex, raw, or u8 to u256 in steps of 8"))?,
                )
            }
        };
        let sign = text_before.rfind(['+', '-']);
        let (text_before, plus) = match sign {
            None => (text_before, 0),
            Some(at) => {
                let (before, number) = text_before.split_at(at);
                (before, number.parse().map_err(|_| wrong("behind + or - stands a whole number"))?)
            }
        };
        let (named, bytes) = match text_before.split_once('[') {
            None => (text_before, None),
            Some((before, range)) => {
                let range = range.strip_suffix(']').and_then(|range| range.split_once(".."));
                let range = range.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
                let range = range.filter(|range| range.start < range.end && range.end <= MAX_BYTES);
                (before, Some(range.ok_or_else(|| wrong("some of its bytes are written [0..32]"))?))
            }
        };
        let mut parts = named.split('.').map(str::to_owned);
        let name = parts.next().unwrap_or_default();
        let path: Vec<String> = parts.collect();
        let is_word = |word: &String| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !is_word(&name) || !path.iter().all(is_word) {
            return Err(wrong("a value's name has letters, digits and `_`, and its parts stand behind dots"));
        }
        Ok(Self { name, path, bytes, plus, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_braces_is_read_with_its_parts() {
        let template = Template::parse("0x{to-1:u256}{output.block.l1:u32}").unwrap();
        let references: Vec<&Reference> = template.references().collect();
        assert_eq!(references[0].name, "to");
        assert_eq!((references[0].plus, references[0].format), (-1, Format::Bytes(32)));
        assert_eq!(references[1].path, ["block", "l1"]);
        assert_eq!(
            Template::parse("{public_values[32..64]}").unwrap().references().next().unwrap().bytes,
            Some(32..64)
        );
        assert_eq!(Template::parse("plain").unwrap().pieces, [Piece::Text("plain".to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, named) in [
            ("{to", "not closed"),
            ("{}", "a value's name"),
            ("{to:u7}", "u8 to u256"),
            ("{to:u512}", "u8 to u256"),
            ("{to+x}", "a whole number"),
            ("{proof[4..2]}", "[0..32]"),
            ("{a b}", "a value's name"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
