//! A height, or a range of them with both ends in it, as it is typed.

use std::ops::RangeInclusive;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heights(pub RangeInclusive<u64>);

impl FromStr for Heights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let end = |end: &str, open: u64| match (end, text.contains("..")) {
            ("", true) => Ok(open),
            _ => end.parse().map_err(|_| format!("{end:?} is no height; write one, or FROM..TO")),
        };
        let heights = end(from, 0)?..=end(to, u64::MAX)?;
        if heights.is_empty() {
            return Err("the range ends before it starts".to_owned());
        }
        Ok(Self(heights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        let read = |text: &str| text.parse::<Heights>().map(|heights| heights.0);
        assert_eq!(read("3..7"), Ok(3..=7));
        assert_eq!(read("3.."), Ok(3..=u64::MAX));
        assert_eq!(read("..7"), Ok(0..=7));
        assert_eq!(read("7"), Ok(7..=7));
        for wrong in ["", "x", "7..3", "1..2..3", "-1"] {
            read(wrong).unwrap_err();
        }
    }
}
