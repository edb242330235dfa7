//! A small typed reader over TOML tables that knows where everything stands in the text.
//!
//! It takes every value once and says what is wrong with it on the spot. What was wrong reads as [`Read::Bad`] from
//! then on, so that no rule complains about it a second time.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::TABLES;
use super::mistake::Mistakes;
use super::suggest;

pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A value and where it stands: byte offsets of its key and of itself.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub key_at: usize,
    pub at: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Read<T> {
    Absent,
    /// There, and its mistake is recorded.
    Bad,
    Is(At<T>),
}

impl<T> Read<T> {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn is(&self) -> Option<&At<T>> {
        match self {
            Self::Is(at) => Some(at),
            _ => None,
        }
    }

    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Is(at) => Some(at.value),
            _ => None,
        }
    }

    pub(super) fn value_at(self) -> Option<At<T>> {
        match self {
            Self::Is(at) => Some(at),
            _ => None,
        }
    }

    pub(super) fn or(self, default: T) -> T {
        self.value().unwrap_or(default)
    }

    fn and_then<U>(self, read: impl FnOnce(&At<T>) -> Option<U>) -> Read<U> {
        match self {
            Self::Absent => Read::Absent,
            Self::Bad => Read::Bad,
            Self::Is(found) => match read(&found) {
                Some(value) => Read::Is(At { value, key_at: found.key_at, at: found.at }),
                None => Read::Bad,
            },
        }
    }
}

/// A named table of the file: its name, where that stands, and its keys.
pub(super) struct Entry<'t> {
    pub name: String,
    pub at: usize,
    pub keys: &'t DeTable<'t>,
}

/// The keys of one table.
pub(super) struct Fields<'t, 'm> {
    /// As the file would say it, such as `[stage.join]`.
    pub place: String,
    /// Where it stands, for what is missing in it.
    pub at: usize,
    pub mistakes: &'m mut Mistakes,
    table: &'t DeTable<'t>,
    /// Keys that were meant by an unknown key.
    meant: Vec<&'static str>,
}

impl<'t, 'm> Fields<'t, 'm> {
    /// Complains of each key that is not known.
    pub(super) fn open(
        place: String,
        at: usize,
        table: &'t DeTable<'t>,
        known: &'static [&'static str],
        mistakes: &'m mut Mistakes,
    ) -> Self {
        let mut fields = Self { place, at, mistakes, table, meant: Vec::new() };
        for (key, value) in table.iter() {
            if !known.contains(&key.get_ref().as_ref()) {
                fields.unknown_key(key.get_ref(), key.span().start, value, known);
            }
        }
        fields
    }

    fn unknown_key(&mut self, key: &str, at: usize, value: &Value<'_>, known: &'static [&'static str]) {
        let absent = |meant: &&'static str| !self.table.contains_key(*meant);
        let unit = suggest::key_in_our_unit(key, known).filter(|(meant, _)| absent(meant));
        let (meant, help) = if let Some((meant, scale)) = unit {
            (Some(meant), unit_help(meant, scale, value.get_ref()))
        } else if let Some(meant) = suggest::synonym(key, known).filter(absent) {
            (Some(meant), format!("the key is `{meant}`"))
        } else if let Some(meant) = suggest::closest(key, known.iter().copied()).filter(absent) {
            (Some(meant), format!("did you mean `{meant}`?"))
        } else if let Some((table, _)) = TABLES.iter().find(|(_, keys)| keys.contains(&key)) {
            (None, format!("`{key}` belongs in {table}"))
        } else {
            (None, format!("keys here are {}", known.join(", ")))
        };
        self.meant.extend(meant);
        let message = format!("unknown key `{}` in {}", shown(key), self.place);
        self.mistakes.add(at, message, help);
    }

    pub(super) fn get(&self, key: &str) -> Read<&'t Value<'t>> {
        match self.table.get_key_value(key) {
            Some((name, value)) => Read::Is(At { value, key_at: name.span().start, at: value.span().start }),
            None if self.meant.contains(&key) => Read::Bad,
            None => Read::Absent,
        }
    }

    /// Complains if the key is not there.
    pub(super) fn require(&mut self, key: &str, help: &str) {
        if self.get(key).is_absent() {
            self.mistakes.add(self.at, format!("`{key}` is missing in {}", self.place), help);
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Read<String> {
        self.get(key).and_then(|found| self.text_of(key, found.value))
    }

    pub(super) fn flag(&mut self, key: &str) -> Read<bool> {
        self.get(key).and_then(|found| {
            let flag = found.value.get_ref().as_bool();
            if flag.is_none() {
                self.wrong_type(key, found.value, "true or false");
            }
            flag
        })
    }

    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Read<u64> {
        self.get(key).and_then(|found| self.number_of(key, found.value, range))
    }

    pub(super) fn number_or(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.number(key, range).or(default)
    }

    /// A number from 0 up, with a fraction or without, in millionths.
    pub(super) fn millionths(&mut self, key: &str, most: u64) -> Read<u64> {
        self.get(key).and_then(|found| {
            let help = format!("a number from 0 to {most}, with at most six digits after the point");
            let value = found.value.get_ref();
            let text = match value {
                DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
                DeValue::Float(float) => float.as_str(),
                _ => {
                    self.wrong_type(key, found.value, &help);
                    return None;
                }
            };
            let millionths = text.parse::<f64>().ok().map(|number| number * 1e6);
            let is_right = |millionths: &f64| {
                // A decimal fraction is seldom exact in binary.
                (0.0..=most as f64 * 1e6).contains(millionths)
                    && (millionths - millionths.round()).abs() < 1e-3
            };
            let millionths = millionths.filter(is_right).map(|millionths| millionths.round() as u64);
            if millionths.is_none() {
                self.mistakes.add(found.at, format!("`{key}` is {}, out of range", shown(text)), help);
            }
            millionths
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&'static str, T)]) -> Read<T> {
        self.get(key).and_then(|found| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let words = match words.split_last() {
                Some((only, [])) => only.clone(),
                Some((last, others)) => format!("{} or {last}", others.join(", ")),
                None => String::new(),
            };
            let Some(text) = found.value.get_ref().as_str() else {
                self.wrong_type(key, found.value, &words);
                return None;
            };
            let choice = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
            if choice.is_none() {
                let help = match suggest::closest(text, choices.iter().map(|(word, _)| *word)) {
                    Some(meant) => format!("{words}; did you mean \"{meant}\"?"),
                    None => words,
                };
                self.mistakes.add(found.at, format!("`{key}` is \"{}\"", shown(text)), help);
            }
            choice
        })
    }

    /// A list of texts; at least one.
    pub(super) fn texts(&mut self, key: &str, what: &str) -> Read<Vec<At<String>>> {
        self.get(key).and_then(|found| {
            let Some(list) = found.value.get_ref().as_array() else {
                self.wrong_type(key, found.value, what);
                return None;
            };
            if list.is_empty() {
                self.mistakes.add(found.at, format!("`{key}` is empty"), what);
                return None;
            }
            let texts: Vec<Option<At<String>>> = list
                .iter()
                .map(|item| {
                    let at = item.span().start;
                    Some(At { value: self.text_of(key, item)?, key_at: found.key_at, at })
                })
                .collect();
            texts.into_iter().collect()
        })
    }

    /// A text, or a list of texts.
    pub(super) fn one_or_more_texts(&mut self, key: &str, what: &str) -> Read<Vec<At<String>>> {
        match self.get(key) {
            Read::Is(found) if found.value.get_ref().is_str() => {
                self.text(key).and_then(|text| Some(vec![text.clone()]))
            }
            _ => self.texts(key, what),
        }
    }

    pub(super) fn table(&mut self, key: &str, what: &str) -> Read<&'t DeTable<'t>> {
        self.get(key).and_then(|found| {
            let table = found.value.get_ref().as_table();
            if table.is_none() {
                self.wrong_type(key, found.value, what);
            }
            table
        })
    }

    pub(super) fn text_of(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let at = value.span().start;
        match value.get_ref().as_str() {
            None => {
                self.wrong_type(key, value, "a text in quotes");
                None
            }
            Some("") => {
                self.mistakes.add(
                    at,
                    format!("`{key}` holds an empty text"),
                    "write it out, or leave the key out",
                );
                None
            }
            // A program's arguments, variables and paths end at a NUL; no word of ours holds one.
            Some(text) if text.contains('\0') => {
                self.mistakes.add(at, format!("`{key}` holds a NUL character"), "take it out");
                None
            }
            Some(text) => Some(text.to_string()),
        }
    }

    pub(super) fn number_of(
        &mut self,
        key: &str,
        value: &Value<'_>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let (least, most) = (range.start(), range.end());
        let of = suggest::unit_of(key).map(|unit| format!(" of {unit}")).unwrap_or_default();
        let help = match *most < i64::MAX as u64 {
            true => format!("a whole number{of} from {least} to {most}"),
            false => format!("a whole number{of}, at least {least}"),
        };
        let Some(integer) = value.get_ref().as_integer() else {
            let amount = value.get_ref().as_str().and_then(|text| suggest::amount_in_unit_of(key, text));
            let help = match amount {
                Some(amount) => format!("{help}: {key} = {amount}"),
                None => help,
            };
            self.wrong_type(key, value, &help);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!("`{key}` is {}, out of range", shown(&integer.to_string()));
            self.mistakes.add(value.span().start, message, help);
        }
        number
    }

    pub(super) fn wrong_type(&mut self, key: &str, value: &Value<'_>, right: &str) {
        let message = format!("`{key}` is {}", a_type(value.get_ref()));
        self.mistakes.add(value.span().start, message, right);
    }
}

fn unit_help(meant: &str, scale: Option<u64>, value: &DeValue<'_>) -> String {
    let amount = match (value, scale) {
        (DeValue::Integer(integer), Some(scale)) => {
            integer.to_string().parse().ok().and_then(|number: u64| number.checked_mul(scale))
        }
        (DeValue::String(text), _) => suggest::amount_in_unit_of(meant, text),
        _ => None,
    };
    let unit = suggest::unit_of(meant).unwrap_or_default();
    match amount {
        Some(amount) => format!("the key is `{meant}`, in {unit}: {meant} = {amount}"),
        None => format!("the key is `{meant}`, in {unit}"),
    }
}

pub(super) fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Text from the file as a message shows it: on one line, and not too long.
pub(super) fn shown(text: &str) -> String {
    const MAX_CHARACTERS: usize = 64;
    let mut shown: String = text.chars().take(MAX_CHARACTERS).flat_map(escaped).collect();
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        shown.push_str("...");
    }
    shown
}

fn escaped(letter: char) -> Vec<char> {
    if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }
}
