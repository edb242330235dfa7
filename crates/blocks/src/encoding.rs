//! Ethereum's JSON encodings: bytes as 0x and hex digits, numbers as 0x and hex digits without leading zeros.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Exactly `N` bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed<const N: usize>(pub [u8; N]);

/// Bytes of any length.
pub(crate) struct Bytes(pub Vec<u8>);

/// A number of 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct Quantity(pub u64);

/// A number of 256 bits, big-endian without leading zeros, as RLP wants it.
pub(crate) struct WideQuantity(pub Vec<u8>);

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

impl<const N: usize> Fixed<N> {
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; N];
        hex::decode_to_slice(text.strip_prefix("0x")?, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl Bytes {
    fn parse(text: &str) -> Option<Self> {
        hex::decode(text.strip_prefix("0x")?).ok().map(Self)
    }
}

impl WideQuantity {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x")?;
        let canonical = digits == "0" || !(digits.is_empty() || digits.starts_with('0'));
        if !canonical || digits.len() > 64 {
            return None;
        }
        let even = if digits.len() % 2 == 0 { digits.to_owned() } else { format!("0{digits}") };
        let mut bytes = hex::decode(even).ok()?;
        if bytes == [0] {
            bytes.clear();
        }
        Some(Self(bytes))
    }
}

impl Quantity {
    fn parse(text: &str) -> Option<Self> {
        let WideQuantity(bytes) = WideQuantity::parse(text)?;
        if bytes.len() > 8 {
            return None;
        }
        Some(Self(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
    }

    /// Big-endian without leading zeros.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
    }
}

/// A string of the line, read by `parse`; `what` is said where it does not fit.
struct Text<T> {
    what: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

macro_rules! from_text {
    ($what:expr, $type:ty $(, $length:ident)?) => {
        impl<'de $(, const $length: usize)?> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text { what: $what, parse: <$type>::parse })
            }
        }
    };
}

from_text!("bytes of the right length as 0x and two hex digits each", Fixed<N>, N);
from_text!("bytes as 0x and two hex digits each", Bytes);
from_text!("a number of at most 64 bits as 0x and hex digits without leading zeros", Quantity);
from_text!("a number of at most 256 bits as 0x and hex digits without leading zeros", WideQuantity);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_canonical_and_in_range() {
        let number = |text| Quantity::parse(text).map(|quantity| quantity.0);
        assert_eq!(number("0x0"), Some(0));
        assert_eq!(number("0x1c9c380"), Some(30_000_000));
        assert_eq!(number("0xffffffffffffffff"), Some(u64::MAX));
        for bad in ["", "0x", "0", "12", "0x00", "0x01", "0x10000000000000000", "0xg", "-0x1", "0x+1", "0xé"]
        {
            assert_eq!(number(bad), None, "{bad}");
        }
        let too_wide = format!("0x1{}", "0".repeat(64));
        assert!(WideQuantity::parse(&too_wide).is_none());
        assert_eq!(WideQuantity::parse(&too_wide[..66]).map(|wide| wide.0.len()), Some(32));
    }

    #[test]
    fn bytes_have_their_exact_length() {
        assert!(Fixed::<2>::parse("0x0102").is_some_and(|fixed| fixed.0 == [1, 2]));
        for bad in ["0102", "0x01", "0x010", "0x010203", "0x01zz", "0x€"] {
            assert!(Fixed::<2>::parse(bad).is_none(), "{bad}");
        }
    }
}
