//! How an item lies in DynamoDB: its attributes, and the conditions on them.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use proofyard_core::port::{Expect, Key, PortError, Stored};

pub(super) const PARTITION: &str = "p";
pub(super) const SORT: &str = "s";
pub(super) const VERSION: &str = "v";
const VALUE: &str = "d";
pub(super) const DUE_SHARD: &str = "b";
pub(super) const DUE_MS: &str = "t";
/// When DynamoDB may delete the item, in seconds since the Unix epoch; it does so some time later.
pub const EXPIRES_S: &str = "x";

pub(super) type Row = HashMap<String, AttributeValue>;

pub(super) fn condition(expect: Expect) -> Option<String> {
    match expect {
        Expect::Any => None,
        Expect::Absent => Some("attribute_not_exists(p)".to_owned()),
        Expect::Version(_) => Some("v = :v".to_owned()),
    }
}

pub(super) fn seen(expect: Expect) -> Option<Row> {
    match expect {
        Expect::Version(version) => Some(Row::from([(":v".to_owned(), number(version))])),
        Expect::Any | Expect::Absent => None,
    }
}

/// The attributes that are its key.
pub(super) fn key_row(key: &Key) -> Row {
    Row::from([(PARTITION.to_owned(), text(&key.partition)), (SORT.to_owned(), text(&key.sort))])
}

pub(super) fn row(version: u64, key: &Key, value: &[u8], due_ms: Option<u64>, expires_s: Option<u64>) -> Row {
    // Text where it is text, so that people can read the table too.
    let value = match std::str::from_utf8(value) {
        Ok(value) => text(value),
        Err(_) => AttributeValue::B(Blob::new(value)),
    };
    let mut row = Row::from([
        (PARTITION.to_owned(), text(&key.partition)),
        (SORT.to_owned(), text(&key.sort)),
        (VERSION.to_owned(), number(version)),
        (VALUE.to_owned(), value),
    ]);
    if let Some(due_ms) = due_ms {
        row.insert(DUE_SHARD.to_owned(), number(key.due_shard().into()));
        row.insert(DUE_MS.to_owned(), number(due_ms));
    }
    if let Some(expires_s) = expires_s {
        row.insert(EXPIRES_S.to_owned(), number(expires_s));
    }
    row
}

pub(super) fn stored(row: &Row) -> Result<(String, Stored), PortError> {
    let value = match row.get(VALUE) {
        Some(AttributeValue::S(value)) => value.clone().into_bytes(),
        Some(AttributeValue::B(value)) => value.clone().into_inner(),
        _ => return Err(unreadable(row, VALUE)),
    };
    Ok((text_of(row, SORT)?.to_owned(), Stored { version: number_of(row, VERSION)?, value }))
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn text_of<'a>(row: &'a Row, name: &str) -> Result<&'a str, PortError> {
    let value = row.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| unreadable(row, name))
}

pub(super) fn number_of(row: &Row, name: &str) -> Result<u64, PortError> {
    let value = row.get(name).and_then(|value| value.as_n().ok()).and_then(|value| value.parse().ok());
    value.ok_or_else(|| unreadable(row, name))
}

fn unreadable(row: &Row, name: &str) -> PortError {
    let key = |name| row.get(name).and_then(|value: &AttributeValue| value.as_s().ok()).map_or("?", |s| s);
    let reason = format!(
        "item {} / {} has no readable attribute {name}; another version, or another program, wrote it",
        key(PARTITION),
        key(SORT)
    );
    PortError::Broken(reason.into())
}
