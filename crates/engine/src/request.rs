//! What a call asks for, found out without reading more of it than must be: a payload has megabytes.

use std::ops::Range;

use memchr::memchr2;

/// Where a call's method stands: the text between its quotes. `None` for what is no single call.
pub(crate) fn method_of(body: &[u8]) -> Option<Range<usize>> {
    let mut cursor = Cursor { body, at: 0 };
    cursor.expect(b'{')?;
    loop {
        cursor.expect(b'"')?;
        let name = cursor.string()?;
        cursor.expect(b':')?;
        if &body[name] == b"method" {
            cursor.expect(b'"')?;
            return cursor.string();
        }
        cursor.skip_value()?;
        cursor.expect(b',')?;
    }
}

struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn next_solid(&mut self) -> Option<u8> {
        let skipped = self.body.get(self.at..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.at += skipped;
        self.body.get(self.at).copied()
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        let found = self.next_solid()?;
        self.at += 1;
        (found == wanted).then_some(())
    }

    /// The rest of a string behind its first quote.
    fn string(&mut self) -> Option<Range<usize>> {
        let from = self.at;
        loop {
            let end = self.at + memchr2(b'"', b'\\', self.body.get(self.at..)?)?;
            if self.body[end] == b'"' {
                self.at = end + 1;
                return Some(from..end);
            }
            self.at = end + 2;
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_u64;
        loop {
            match self.next_solid()? {
                b'"' => {
                    self.at += 1;
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b',' | b'}' | b']' if depth == 0 => return Some(()),
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        method_of(text.as_bytes()).map(|place| &text[place])
    }

    #[test]
    fn the_method_is_found_wherever_it_stands() {
        for text in [
            r#"{"method":"m","params":[]}"#,
            r#" { "jsonrpc" : "2.0" , "id" : 1 , "method" : "m" }"#,
            r#"{"params":[{"method":"x","a":"\"}]{["},[[{}]],-1.5e3,null],"id":{},"method":"m"}"#,
        ] {
            assert_eq!(found(text), Some("m"), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_call_has_none() {
        let whole = r#"{"params":["0xab",{"a":[1]}],"method":"m"}"#;
        for end in 0..whole.len() - 1 {
            assert_eq!(found(&whole[..end]), None, "{}", &whole[..end]);
        }
        for text in ["", "[]", "{}", r#"[{"method":"m"}]"#, r#"{"method":1}"#, r#"{method:"m"}"#, "\u{0}"] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
