//! `arguments` of a prover: a table of the file, as the JSON that the prover is told when it is set up.

use serde_json::{Map, Value as Json};
use toml::de::{DeTable, DeValue};

use super::Protocol;
use super::reader::{At, Fields, Read, Value, a_type, shown};

/// As JSON: they are sent to every prover process.
const MAX_ARGUMENTS_BYTES: usize = 64 << 10;

/// Empty where a mistake was found.
pub(super) fn read(fields: &mut Fields<'_, '_>, protocol: Option<Protocol>) -> Map<String, Json> {
    let what = "a table: arguments = { segment_cycles = 1048576 }";
    let Read::Is(At { value: table, key_at, at }) = fields.table("arguments", what) else {
        return Map::new();
    };
    if protocol.is_some_and(|protocol| protocol != Protocol::Stream) {
        let help = "a files prover is not set up: put them into its `command` or `environment`";
        fields.mistakes.add(key_at, "`arguments` has no meaning in a files prover", help);
        return Map::new();
    }
    let arguments = read_table(table, fields);
    let bytes = serde_json::to_string(&arguments).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_ARGUMENTS_BYTES {
        let message = format!("`arguments` takes {bytes} bytes as JSON");
        fields.mistakes.add(at, message, format!("at most {MAX_ARGUMENTS_BYTES}; name a file instead"));
    }
    arguments
}

pub(super) fn read_table(table: &DeTable<'_>, fields: &mut Fields<'_, '_>) -> Map<String, Json> {
    let mut keys: Vec<_> = table.iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&toml::Spanned<_>, &Value<'_>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        Some((name.to_string(), read_value(name, value, fields)?))
    };
    keys.into_iter().filter_map(entry).collect()
}

pub(super) fn read_value(name: &str, value: &Value<'_>, fields: &mut Fields<'_, '_>) -> Option<Json> {
    match value.get_ref() {
        DeValue::String(text) => Some(Json::String(text.to_string())),
        DeValue::Boolean(flag) => Some(Json::Bool(*flag)),
        DeValue::Array(list) => {
            let values: Vec<Option<Json>> = list.iter().map(|item| read_value(name, item, fields)).collect();
            values.into_iter().collect::<Option<_>>().map(Json::Array)
        }
        DeValue::Table(table) => Some(Json::Object(read_table(table, fields))),
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
            if number.is_none() {
                let message = format!("`{}` is {}, out of range", shown(name), shown(&integer.to_string()));
                fields.mistakes.add(value.span().start, message, "a whole number of at most 64 bits");
            }
            number.map(Json::from)
        }
        other @ (DeValue::Float(_) | DeValue::Datetime(_)) => {
            let message = format!("`{}` is {}", shown(name), a_type(other));
            let help = "texts, whole numbers, true or false, lists and tables can be said to a prover";
            fields.mistakes.add(value.span().start, message, help);
            None
        }
    }
}
