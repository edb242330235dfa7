//! What stands in the braces of the pipeline's texts.

use std::collections::BTreeMap;

use alloy_primitives::{U256, hex};
use proofyard_core::pipeline::{Comparison, Condition, ENVIRONMENT, Format, Piece, Reference, Template};
use serde_json::{Map, Value as Json, json};

use crate::abi::{brief, text_of};
use crate::{Failure, Surroundings};

/// What is known so far, by name.
pub(crate) struct Values<'s, S> {
    known: BTreeMap<String, Json>,
    surroundings: &'s S,
}

impl<'s, S: Surroundings> Values<'s, S> {
    pub fn new(surroundings: &'s S) -> Self {
        Self { known: BTreeMap::new(), surroundings }
    }

    pub fn put(&mut self, name: &str, value: Json) {
        self.known.insert(name.to_owned(), value);
    }

    /// What these references name of what is known.
    pub fn named_by<'r>(&self, references: impl Iterator<Item = &'r Reference>) -> Map<String, Json> {
        let mut kept = Map::new();
        'references: for reference in references {
            let Some(mut value) = self.known.get(&reference.name) else { continue };
            let mut place = kept.entry(&reference.name).or_insert_with(|| json!({}));
            for part in &reference.path {
                let Some(within) = part_of(value, part) else { continue 'references };
                value = within;
                // A list that is kept whole has it already.
                let Json::Object(parts) = place else { continue 'references };
                place = parts.entry(part).or_insert_with(|| json!({}));
            }
            *place = value.clone();
        }
        kept
    }

    pub fn known(&self, name: &str) -> Option<&Json> {
        self.known.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// The text with all values put in.
    pub fn filled(&self, text: &str) -> Result<String, Failure> {
        let template = Template::parse(text).map_err(Failure::Refused)?;
        let pieces = template.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Ok(text.clone()),
            Piece::Value(reference) => self.value(reference),
        });
        pieces.collect()
    }

    /// The same, of all texts in it.
    pub fn filled_json(&self, value: &Json) -> Result<Json, Failure> {
        Ok(match value {
            Json::String(text) => Json::String(self.filled(text)?),
            Json::Array(list) => {
                Json::Array(list.iter().map(|item| self.filled_json(item)).collect::<Result<_, _>>()?)
            }
            Json::Object(table) => {
                let filled = table.iter().map(|(name, item)| Ok((name.clone(), self.filled_json(item)?)));
                Json::Object(filled.collect::<Result<_, Failure>>()?)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        })
    }

    /// Whether a condition holds; else what does not.
    pub fn unmet(&self, condition: &Condition) -> Result<Option<String>, Failure> {
        let (left, right) = (self.filled(&condition.left)?, self.filled(&condition.right)?);
        let numbers = number(&left).zip(number(&right));
        let holds = match (numbers, condition.is) {
            (Some((left, right)), Comparison::Equal) => left == right,
            (Some((left, right)), Comparison::NotEqual) => left != right,
            (Some((left, right)), Comparison::Less) => left < right,
            (Some((left, right)), Comparison::AtMost) => left <= right,
            (Some((left, right)), Comparison::More) => left > right,
            (Some((left, right)), Comparison::AtLeast) => left >= right,
            (None, Comparison::Equal) => left.eq_ignore_ascii_case(&right),
            (None, Comparison::NotEqual) => !left.eq_ignore_ascii_case(&right),
            (None, _) => {
                let (left, right) = (brief(&left), brief(&right));
                return Err(Failure::later(format!("{left} and {right} are not both numbers")));
            }
        };
        let (left, right) = (brief(&left), brief(&right));
        Ok((!holds).then(|| {
            format!("{} is {left}, and {} {right} is waited for", condition.left, condition.is.sign())
        }))
    }

    fn value(&self, reference: &Reference) -> Result<String, Failure> {
        if reference.name == ENVIRONMENT {
            let name = reference.path.first().map(String::as_str).unwrap_or_default();
            let value = self.surroundings.variable(name);
            return value.ok_or_else(|| Failure::later(format!("the environment here has no {name}")));
        }
        let missing = |what: &str| Failure::later(format!("there is no {what}"));
        let mut value = self.known.get(&reference.name).ok_or_else(|| missing(&reference.name))?;
        for part in &reference.path {
            value = part_of(value, part).ok_or_else(|| missing(&format!("{part} in {}", reference.name)))?;
        }
        if value.is_null() {
            return Err(missing(&reference.name));
        }
        formatted(text_of(value), reference)
    }
}

fn part_of<'v>(value: &'v Json, part: &str) -> Option<&'v Json> {
    match value {
        Json::Array(list) => part.parse().ok().and_then(|index: usize| list.get(index)),
        other => other.get(part),
    }
}

fn formatted(text: String, reference: &Reference) -> Result<String, Failure> {
    let name = &reference.name;
    let text = match &reference.bytes {
        None => text,
        Some(range) => {
            let bytes = hex::decode(&text).map_err(|_| Failure::Refused(format!("{name} is no bytes")))?;
            let part = bytes.get(range.clone()).ok_or_else(|| {
                Failure::Refused(format!("{name} has {} bytes, and {range:?} is asked for", bytes.len()))
            })?;
            hex::encode_prefixed(part)
        }
    };
    let as_number =
        || number(&text).ok_or_else(|| Failure::Refused(format!("{name} is {}, no number", brief(&text))));
    let text = match reference.plus {
        0 => text,
        plus => {
            let by = U256::from(plus.unsigned_abs());
            let sum = if plus < 0 { as_number()?.checked_sub(by) } else { as_number()?.checked_add(by) };
            sum.ok_or_else(|| Failure::Refused(format!("{name}{plus:+} is out of range")))?.to_string()
        }
    };
    let as_number =
        || number(&text).ok_or_else(|| Failure::Refused(format!("{name} is {}, no number", brief(&text))));
    Ok(match reference.format {
        Format::Plain => text,
        Format::Raw => text.strip_prefix("0x").unwrap_or(&text).to_owned(),
        Format::Quantity => format!("{:#x}", as_number()?),
        Format::Bytes(bytes) => {
            let all = as_number()?.to_be_bytes::<32>();
            let (over, digits) = all.split_at(32 - bytes);
            if over.iter().any(|byte| *byte != 0) {
                return Err(Failure::Refused(format!("{name} does not fit into {} bits", bytes * 8)));
            }
            hex::encode(digits)
        }
    })
}

/// A whole number, in decimal or, behind `0x`, in hex.
pub(crate) fn number(text: &str) -> Option<U256> {
    match text.strip_prefix("0x") {
        Some(digits) => U256::from_str_radix(digits, 16).ok().filter(|_| !digits.is_empty()),
        None => U256::from_str_radix(text, 10).ok().filter(|_| !text.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    struct Here;
    impl Surroundings for Here {
        fn kms(&self) -> &crate::Kms {
            unreachable!("no key is asked for")
        }
        fn variable(&self, name: &str) -> Option<String> {
            (name == "NAME").then(|| "0xabc".to_owned())
        }
        fn now_ms(&self) -> u64 {
            0
        }
        async fn pause(&self, _: Duration) {}
    }

    fn values() -> Values<'static, Here> {
        let mut values = Values::new(&Here);
        values.put("to", json!(27));
        values.put("public_values", json!("0x0011223344"));
        values.put("output", json!({ "root": "0xaa", "l1": { "number": 5 }, "list": ["x", "y"] }));
        values
    }

    #[test]
    fn values_are_put_in_as_they_are_asked_for() {
        let values = values();
        for (text, filled) in [
            ("{to}", "27"),
            ("{to-1}", "26"),
            ("{to:hex}", "0x1b"),
            ("0x{to:u256}{output.l1.number:u32}", &format!("0x{:064x}00000005", 27)),
            ("{public_values[1..3]}", "0x1122"),
            ("{public_values[1..3]:raw}", "1122"),
            ("{output.list.1}", "y"),
            ("{env.NAME}", "0xabc"),
        ] {
            assert_eq!(values.filled(text).unwrap(), filled, "{text}");
        }
    }

    #[test]
    fn what_is_not_there_or_does_not_fit_is_said() {
        let values = values();
        for (text, said) in [
            ("{output.other}", "no other in output"),
            ("{public_values[4..9]}", "has 5 bytes"),
            ("{to-28}", "out of range"),
            ("{public_values:u8}", "8 bits"),
            ("{env.OTHER}", "no OTHER"),
        ] {
            let reason = values.filled(text).unwrap_err().reason();
            assert!(reason.contains(said), "{text}: {reason}");
        }
    }

    #[test]
    fn what_texts_name_is_kept_and_nothing_else() {
        let values = values();
        let kept = |texts: &[&str]| {
            let templates: Vec<Template> = texts.iter().map(|text| Template::parse(text).unwrap()).collect();
            let kept = values.named_by(templates.iter().flat_map(Template::references));
            // It stands for the same.
            let mut again = Values::new(&Here);
            kept.iter().for_each(|(name, value)| again.put(name, value.clone()));
            for text in texts {
                assert_eq!(again.filled(text).unwrap(), values.filled(text).unwrap(), "{text}");
            }
            Json::Object(kept)
        };
        assert_eq!(
            kept(&["{output.l1.number+1}", "{to}"]),
            json!({ "output": { "l1": { "number": 5 } }, "to": 27 })
        );
        assert_eq!(kept(&["{output.list.1}"]), json!({ "output": { "list": { "1": "y" } } }));
        assert_eq!(kept(&["{output.list}", "{output.list.1}"]), json!({ "output": { "list": ["x", "y"] } }));
        assert_eq!(kept(&["{output.list.1}", "{output}"])["output"]["root"], "0xaa");
    }

    #[test]
    fn numbers_are_compared_as_such_and_all_else_as_texts() {
        let values = values();
        let condition =
            |left: &str, is, right: &str| Condition { left: left.to_owned(), is, right: right.to_owned() };
        let holds = |condition| values.unmet(&condition).unwrap().is_none();
        assert!(holds(condition("{to}", Comparison::AtLeast, "0x1b")));
        assert!(holds(condition("9", Comparison::Less, "{to}")));
        assert!(holds(condition("true", Comparison::Equal, "TRUE")));
        assert!(!holds(condition("0xAb", Comparison::NotEqual, "0xab")));
        assert!(values.unmet(&condition("x", Comparison::Less, "{to}")).is_err());
    }
}
