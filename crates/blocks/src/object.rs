//! A JSON object whose values are left as they stand in the line: its names are known, and each value is read only when
//! it is asked for.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fault::Fault;

/// Many times what any chain's blocks have.
const MAX_FIELDS: usize = 512;

/// A parser's message may quote the line, which may be long.
const MESSAGE_LIMIT_CHARS: usize = 200;

/// The object's fields in their order, each name once, within the text of one line.
#[derive(Default)]
pub(crate) struct Object<'a> {
    line: &'a str,
    fields: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// The object that a whole line is.
    pub fn of_line(line: &'a str) -> Result<Self, Fault> {
        let fields: Fields<'a> = serde_json::from_str(line).map_err(|error| bad_json(&error, line, 0, ""))?;
        Ok(Self { line, fields: fields.0 })
    }

    /// The object that one of the fields is; `None` where there is no such field, or it is null.
    pub fn object(&self, name: &str) -> Result<Option<Self>, Fault> {
        let fields: Option<Fields<'a>> = self.read(name)?;
        Ok(fields.map(|fields| Self { line: self.line, fields: fields.0 }))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, raw)| *raw)
    }

    pub fn is_null(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|raw| raw.get() == "null")
    }

    /// A field's value; `None` where there is no such field, or it is null.
    pub fn read<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Fault> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        // A raw value is a part of the line that it was read from.
        let at = raw.get().as_ptr().addr().saturating_sub(self.line.as_ptr().addr());
        serde_json::from_str(raw.get()).map_err(|error| bad_json(&error, self.line, at, name))
    }
}

/// `at` is how many bytes of the line stand before what was parsed.
fn bad_json(error: &serde_json::Error, line: &str, at: usize, name: &str) -> Fault {
    if error.is_eof() {
        return Fault::Truncated { bytes: line.len() };
    }
    // The parser counts lines within what it was given, which is one line.
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let mut short: String = text.chars().take(MESSAGE_LIMIT_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    let text = if name.is_empty() { short } else { format!("{name}: {short}") };
    Fault::BadJson { column: at + error.column(), text }
}

struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields: Vec<(String, &'de RawValue)> = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom(format!("duplicate field `{name}`")));
            }
            if fields.len() == MAX_FIELDS {
                return Err(de::Error::custom(format!("more than {MAX_FIELDS} fields")));
            }
            fields.push((name, raw));
        }
        Ok(Fields(fields))
    }
}
