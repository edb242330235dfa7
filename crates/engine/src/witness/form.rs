//! A witness in the form that provers know, `{"headers": [...], "codes": [...], "state": [...]}` with texts of hex, whichever of
//! two forms it came in: that one, or `"0x…"` of RLP, `[headers, codes, state]` with a list of keys at most behind, which is left
//! out. Copied piece by piece: in both forms its parts are hex already.

use std::io::{self, BufRead, Read, Write};

/// In the order of the RLP.
const NAMES: [&str; 3] = ["headers", "codes", "state"];

#[derive(Debug, thiserror::Error)]
pub(crate) enum FormError {
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn malformed(why: impl Into<String>) -> FormError {
    FormError::Malformed(why.into())
}

pub(crate) fn copy(mut input: impl BufRead, output: &mut impl Write) -> Result<(), FormError> {
    let first = loop {
        match input.fill_buf()?.first().copied() {
            None => return Err(malformed("there is nothing of it")),
            Some(byte) if byte.is_ascii_whitespace() => input.consume(1),
            Some(byte) => break byte,
        }
    };
    match first {
        b'{' => {
            io::copy(&mut input, output)?;
            Ok(())
        }
        b'"' => {
            input.consume(1);
            let mut hex = Hex { input, used: 0 };
            if hex.digits::<2>()? != *b"0x" {
                return Err(malformed("its text does not begin with 0x"));
            }
            hex.used = 0;
            of_rlp(&mut hex, output)
        }
        _ => Err(malformed("it is neither an object nor a text")),
    }
}

fn of_rlp(hex: &mut Hex<impl BufRead>, output: &mut impl Write) -> Result<(), FormError> {
    let outer = hex.item()?;
    if !outer.is_list {
        return Err(malformed("its RLP is no list"));
    }
    let end = hex.end_of(&outer)?;
    for (index, name) in NAMES.iter().enumerate() {
        let list = hex.item()?;
        if !list.is_list {
            return Err(malformed(format!("its {name} are no list")));
        }
        let list_end = hex.end_of(&list)?;
        if list_end > end {
            return Err(malformed(format!("its {name} are longer than all of it")));
        }
        write!(output, "{}\"{name}\":[", if index == 0 { '{' } else { ',' })?;
        let mut is_first = true;
        while hex.used < list_end {
            let item = hex.item()?;
            if hex.end_of(&item)? > list_end {
                return Err(malformed(format!("one of its {name} is longer than all of them")));
            }
            output.write_all(if is_first { b"\"0x" } else { b",\"0x" })?;
            is_first = false;
            // A header is a list, and is hashed with its prefix; the others are the bytes of a text.
            if item.is_list || item.is_its_own {
                output.write_all(item.prefix())?;
            }
            hex.copy(item.bytes, output)?;
            output.write_all(b"\"")?;
        }
        output.write_all(b"]")?;
    }
    output.write_all(b"}")?;
    // Keys, if there are any.
    hex.copy(end - hex.used, &mut io::sink())?;
    match hex.digits::<1>()? {
        [b'"'] => Ok(()),
        _ => Err(malformed("its text is longer than its RLP")),
    }
}

/// An RLP item's beginning.
struct Item {
    is_list: bool,
    /// A byte below 0x80, which has no prefix.
    is_its_own: bool,
    bytes: u64,
    prefix: [u8; 18],
    prefix_digits: usize,
}

impl Item {
    fn prefix(&self) -> &[u8] {
        &self.prefix[..self.prefix_digits]
    }
}

/// Hex digits, two a byte.
struct Hex<R> {
    input: R,
    /// Bytes that were read, of two digits each.
    used: u64,
}

impl<R: BufRead> Hex<R> {
    fn digits<const N: usize>(&mut self) -> Result<[u8; N], FormError> {
        let mut digits = [0; N];
        self.input.read_exact(&mut digits).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => malformed("it ends in the middle"),
            _ => error.into(),
        })?;
        Ok(digits)
    }

    fn byte(&mut self, prefix: &mut Vec<u8>) -> Result<u8, FormError> {
        let digits = self.digits::<2>()?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| malformed("its text is no hex"))?;
        prefix.extend_from_slice(&digits);
        self.used += 1;
        Ok(byte[0])
    }

    fn item(&mut self) -> Result<Item, FormError> {
        let mut prefix = Vec::with_capacity(18);
        let first = self.byte(&mut prefix)?;
        let (is_list, bytes) = match first {
            0..=0x7f => (false, Ok(0)),
            0x80..=0xb7 => (false, Ok(u64::from(first - 0x80))),
            0xb8..=0xbf => (false, Err(first - 0xb7)),
            0xc0..=0xf7 => (true, Ok(u64::from(first - 0xc0))),
            0xf8..=0xff => (true, Err(first - 0xf7)),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(of_length) => {
                let mut length = 0_u64;
                for _ in 0..of_length {
                    length = length << 8 | u64::from(self.byte(&mut prefix)?);
                }
                length
            }
        };
        let mut kept = [0; 18];
        kept[..prefix.len()].copy_from_slice(&prefix);
        Ok(Item { is_list, is_its_own: first < 0x80, bytes, prefix: kept, prefix_digits: prefix.len() })
    }

    fn end_of(&self, item: &Item) -> Result<u64, FormError> {
        self.used.checked_add(item.bytes).ok_or_else(|| malformed("a length in it cannot be"))
    }

    /// So many bytes, as their digits.
    fn copy(&mut self, bytes: u64, output: &mut impl Write) -> Result<(), FormError> {
        let digits = bytes.checked_mul(2).ok_or_else(|| malformed("a length in it cannot be"))?;
        let mut digits_only = DigitsOnly { input: (&mut self.input).take(digits), is_hex: true };
        let copied = io::copy(&mut digits_only, output)?;
        if !digits_only.is_hex {
            return Err(malformed("its text is no hex"));
        }
        if copied != digits {
            return Err(malformed("it ends in the middle"));
        }
        self.used += bytes;
        Ok(())
    }
}

/// Notes whether all that was read were hex digits.
struct DigitsOnly<R> {
    input: R,
    is_hex: bool,
}

impl<R: Read> Read for DigitsOnly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.is_hex &= buffer[..read].iter().all(u8::is_ascii_hexdigit);
        Ok(read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::BufReader;

    use super::*;
    use crate::trie::list;

    fn copied(input: &str) -> Result<String, FormError> {
        let mut output = Vec::new();
        copy(BufReader::with_capacity(3, input.as_bytes()), &mut output)?;
        Ok(String::from_utf8(output).unwrap())
    }

    fn bytes(bytes: &[u8]) -> Vec<u8> {
        alloy_rlp::encode(bytes)
    }

    /// A header with one field, codes and state of all kinds of length.
    fn rlp(with_keys: bool) -> Vec<u8> {
        let header = list(&[bytes(&[7; 32])]);
        let codes = list(&[bytes(&[]), bytes(&[1]), bytes(&[0x80])]);
        let state = list(&[bytes(&[3; 55]), bytes(&[4; 56]), bytes(&[5; 300])]);
        let mut parts = vec![list(&[header]), codes, state];
        if with_keys {
            parts.push(list(&[bytes(&[9; 20])]));
        }
        list(&parts)
    }

    #[test]
    fn both_forms_come_to_the_same() {
        let hex = |byte: &str, times| byte.repeat(times);
        let expected = format!(
            "{{\"headers\":[\"0xe1a0{}\"],\"codes\":[\"0x\",\"0x01\",\"0x80\"],\"state\":[\"0x{}\",\"0x{}\",\"0x{}\"]}}",
            hex("07", 32),
            hex("03", 55),
            hex("04", 56),
            hex("05", 300)
        );
        for with_keys in [false, true] {
            let text = format!("\"0x{}\"", hex::encode(rlp(with_keys)));
            assert_eq!(copied(&text).unwrap(), expected);
        }
        assert_eq!(copied(&format!(" {expected}")).unwrap(), expected);
        assert_eq!(copied("\"0xc3c0c0c0\"").unwrap(), "{\"headers\":[],\"codes\":[],\"state\":[]}");
    }

    #[test]
    fn what_is_no_witness_is_refused() {
        let whole = format!("\"0x{}\"", hex::encode(rlp(false)));
        for end in 0..whole.len() {
            assert!(matches!(copied(&whole[..end]), Err(FormError::Malformed(_))), "{}", &whole[..end]);
        }
        for bad in
            ["null", "[]", "\"\"", "\"0x\"", "\"0x80\"", "\"0xc3c0c0\"", "\"0xc3c080c0\"", "\"0xc3c0c0c0c0\""]
        {
            assert!(matches!(copied(bad), Err(FormError::Malformed(_))), "{bad}");
        }
        let endless = "\"0xffffffffffffffffffff\"";
        assert!(matches!(copied(endless), Err(FormError::Malformed(_))));
        let no_hex = whole.replace("03", "0g");
        assert!(matches!(copied(&no_hex), Err(FormError::Malformed(_))));
    }
}
