//! As much of protobuf's encoding as messages of byte strings need.

/// Wire types: <https://protobuf.dev/programming-guides/encoding/>.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// Appends a field of bytes, a text or a message.
pub(crate) fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(message, field << 3 | LENGTH_DELIMITED);
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Appends a field that is a number, or one of an enumeration.
pub(crate) fn put_number(message: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(message, field << 3 | VARINT);
    put_varint(message, value);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order, but for those of fixed length. None if it is no message.
pub(crate) fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let value = match tag & 7 {
            VARINT => Value::Number(take_varint(&mut message)?),
            LENGTH_DELIMITED => {
                let length = take_varint(&mut message)?;
                Value::Bytes(take(&mut message, usize::try_from(length).ok()?)?)
            }
            FIXED_64 => {
                take(&mut message, 8)?;
                continue;
            }
            FIXED_32 => {
                take(&mut message, 4)?;
                continue;
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

/// The bytes of the last field of this number: an earlier one is overwritten by it.
pub(crate) fn bytes<'a>(fields: &[(u64, Value<'a>)], number: u64) -> Option<&'a [u8]> {
    fields.iter().rev().find_map(|(field, value)| match value {
        Value::Bytes(bytes) if *field == number => Some(*bytes),
        _ => None,
    })
}

/// As [`bytes`], of a number.
pub(crate) fn number(fields: &[(u64, Value<'_>)], number: u64) -> Option<u64> {
    fields.iter().rev().find_map(|(field, value)| match value {
        Value::Number(value) if *field == number => Some(*value),
        _ => None,
    })
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
