//! Cuts the witness out of an answer while it comes: what remains is byte for byte what the execution client would have answered
//! without one, and no more of the witness is in memory than a piece.

use bytes::Bytes;
use memchr::memchr2;

/// Bytes of an answer without its witness: some hundred are usual.
const MOST_KEPT_BYTES: usize = 1 << 20;
/// Bytes of a name that are looked at.
const NAME_BYTES: usize = 16;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CutError {
    #[error("its answer is no JSON object")]
    NoObject,
    #[error("its answer ends in the middle")]
    CutOff,
    #[error("its answer is too large beside the witness")]
    TooLarge,
}

/// Reads an answer in pieces.
pub(crate) struct Cutter {
    kept: Vec<u8>,
    /// How many braces and brackets are open.
    depth: u64,
    /// At depth 2: within the `result`, which is an object.
    in_result: bool,
    place: Place,
    /// The last name at a depth where names count.
    name: Vec<u8>,
    /// Where in `kept` the member that is read began, its comma included.
    member_at: usize,
    /// It is the first of its object: it has no comma before it.
    is_first: bool,
    is_done: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a name.
    Name,
    /// Within a name.
    InName,
    /// Behind a name, in its value or where no names count.
    Value,
    InString,
    /// A backslash was the last byte, of a string or a name.
    Escaped {
        in_name: bool,
    },
    /// Within the witness, so deep.
    Witness {
        depth: u64,
    },
    WitnessString {
        depth: u64,
        is_escaped: bool,
    },
}

impl Cutter {
    pub(crate) fn new() -> Self {
        Self {
            kept: Vec::with_capacity(512),
            depth: 0,
            in_result: false,
            place: Place::Value,
            name: Vec::new(),
            member_at: 0,
            is_first: true,
            is_done: false,
        }
    }

    /// The next piece; what of it belongs to the witness is given to `witness`.
    pub(crate) fn push(&mut self, piece: &Bytes, mut witness: impl FnMut(Bytes)) -> Result<(), CutError> {
        let mut at = 0;
        while at < piece.len() {
            let used = match self.place {
                Place::Witness { depth } => self.witness(depth, piece, at, &mut witness),
                Place::WitnessString { depth, is_escaped } => {
                    self.witness_string(depth, is_escaped, piece, at, &mut witness)
                }
                Place::InString => self.string(piece, at),
                _ => {
                    self.byte(piece[at])?;
                    1
                }
            };
            at += used;
            if self.kept.len() > MOST_KEPT_BYTES {
                return Err(CutError::TooLarge);
            }
        }
        Ok(())
    }

    /// What is left of the answer.
    pub(crate) fn finish(self) -> Result<Vec<u8>, CutError> {
        if self.is_done { Ok(self.kept) } else { Err(CutError::CutOff) }
    }

    /// Names count in the outermost object and in its result.
    fn names_count(&self) -> bool {
        self.depth == 1 || (self.depth == 2 && self.in_result)
    }

    fn byte(&mut self, byte: u8) -> Result<(), CutError> {
        if self.depth == 0 && !byte.is_ascii_whitespace() && (byte != b'{' || self.is_done) {
            return Err(CutError::NoObject);
        }
        match self.place {
            Place::Escaped { in_name } => {
                self.place = if in_name { Place::InName } else { Place::InString };
            }
            Place::InName => match byte {
                b'"' => self.place = Place::Value,
                b'\\' => self.place = Place::Escaped { in_name: true },
                _ if self.name.len() < NAME_BYTES => self.name.push(byte),
                _ => {}
            },
            Place::Name if byte == b'"' => {
                self.name.clear();
                self.place = Place::InName;
            }
            _ => return self.structure(byte),
        }
        self.kept.push(byte);
        Ok(())
    }

    fn structure(&mut self, byte: u8) -> Result<(), CutError> {
        match byte {
            b'"' => self.place = Place::InString,
            b':' if self.depth == 2 && self.in_result && self.name == b"witness" => {
                self.kept.truncate(self.member_at);
                self.place = Place::Witness { depth: 0 };
                return Ok(());
            }
            b',' if self.names_count() => {
                (self.member_at, self.is_first) = (self.kept.len(), false);
                self.place = Place::Name;
            }
            b'{' | b'[' => {
                self.in_result |= self.depth == 1 && byte == b'{' && self.name == b"result";
                self.depth += 1;
                self.kept.push(byte);
                if byte == b'{' && self.names_count() {
                    (self.member_at, self.is_first) = (self.kept.len(), true);
                    self.place = Place::Name;
                }
                return Ok(());
            }
            b'}' | b']' => {
                self.depth -= 1;
                self.in_result &= self.depth >= 2;
                self.is_done = self.depth == 0;
                self.place = Place::Value;
            }
            _ => {}
        }
        self.kept.push(byte);
        Ok(())
    }

    /// Most of an answer's strings are short, and all of them are kept.
    fn string(&mut self, piece: &Bytes, at: usize) -> usize {
        let rest = &piece[at..];
        let end = memchr2(b'"', b'\\', rest);
        let used = end.map_or(rest.len(), |end| end + 1);
        self.kept.extend_from_slice(&rest[..used]);
        match end.map(|end| rest[end]) {
            Some(b'"') => self.place = Place::Value,
            Some(_) => self.place = Place::Escaped { in_name: false },
            None => {}
        }
        used
    }

    fn witness(&mut self, depth: u64, piece: &Bytes, at: usize, witness: &mut impl FnMut(Bytes)) -> usize {
        let rest = &piece[at..];
        let mut depth = depth;
        for (used, byte) in rest.iter().enumerate() {
            match byte {
                b',' | b'}' | b']' if depth == 0 => {
                    give(piece, at, used, witness);
                    // A comma behind the first member goes with it.
                    let goes_too = self.is_first && *byte == b',';
                    self.place = if goes_too { Place::Name } else { Place::Value };
                    return used + usize::from(goes_too);
                }
                b'"' => {
                    give(piece, at, used + 1, witness);
                    self.place = Place::WitnessString { depth, is_escaped: false };
                    return used + 1;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        give(piece, at, rest.len(), witness);
        self.place = Place::Witness { depth };
        rest.len()
    }

    fn witness_string(
        &mut self,
        depth: u64,
        is_escaped: bool,
        piece: &Bytes,
        at: usize,
        witness: &mut impl FnMut(Bytes),
    ) -> usize {
        let rest = &piece[at..];
        let skipped = usize::from(is_escaped);
        let end = memchr2(b'"', b'\\', &rest[skipped..]).map(|end| end + skipped);
        let used = end.map_or(rest.len(), |end| end + 1);
        give(piece, at, used, witness);
        self.place = match end.map(|end| rest[end]) {
            Some(b'"') => Place::Witness { depth },
            Some(_) => Place::WitnessString { depth, is_escaped: true },
            None => Place::WitnessString { depth, is_escaped: false },
        };
        used
    }
}

fn give(piece: &Bytes, at: usize, bytes: usize, witness: &mut impl FnMut(Bytes)) {
    if bytes > 0 {
        witness(piece.slice(at..at + bytes));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// In pieces of any size: nothing may depend on where one ends.
    fn cut(answer: &str) -> Result<(String, String), CutError> {
        let mut found = None;
        for size in [1, 2, 3, 7, 8_192] {
            let (mut cutter, mut witness) = (Cutter::new(), Vec::new());
            for piece in answer.as_bytes().chunks(size) {
                cutter.push(&Bytes::copy_from_slice(piece), |bytes| witness.extend_from_slice(&bytes))?;
            }
            let now = (String::from_utf8(cutter.finish()?).unwrap(), String::from_utf8(witness).unwrap());
            assert!(found.as_ref().is_none_or(|found| *found == now), "in pieces of {size}: {now:?}");
            found = Some(now);
        }
        Ok(found.unwrap())
    }

    #[test]
    fn what_remains_is_the_answer_without_a_witness() {
        let witnesses =
            ["\"0xab\"", "{\"state\":[\"0x}\\\"]\"],\"codes\":[],\"headers\":[[]]}", "null", "[1,{}]"];
        for witness in witnesses {
            for (with, without) in [
                (
                    r#"{"id":1,"result":{"status":"VALID","witness":W,"x":null}}"#,
                    r#"{"id":1,"result":{"status":"VALID","x":null}}"#,
                ),
                (
                    r#"{"result":{"status":"VALID","witness":W},"id":1}"#,
                    r#"{"result":{"status":"VALID"},"id":1}"#,
                ),
                (r#"{"result":{"witness":W,"status":"VALID"}}"#, r#"{"result":{"status":"VALID"}}"#),
                (r#"{"result":{"witness":W}}"#, r#"{"result":{}}"#),
                (
                    r#"{ "result" : { "a" : "\"b" , "witness" : W , "c" : 1 } }"#,
                    r#"{ "result" : { "a" : "\"b" , "c" : 1 } }"#,
                ),
            ] {
                let (kept, cut_out) = cut(&with.replace('W', witness)).unwrap();
                assert_eq!(kept, without);
                assert_eq!(cut_out.trim(), witness);
            }
        }
    }

    #[test]
    fn a_witness_anywhere_else_stays() {
        for whole in [
            r#"{"witness":"0xab","result":{"status":"VALID"}}"#,
            r#"{"result":{"a":{"witness":"0xab"},"b":"witness"},"id":"witness"}"#,
            r#"{"result":[{"witness":1}],"error":{"witness":1}}"#,
            r#"{"error":{"code":-32601,"message":"no"},"id":1,"jsonrpc":"2.0"}"#,
            r#"{"id":{"result":{"witness":1}},"result":null}"#,
        ] {
            assert_eq!(cut(whole).unwrap(), (whole.to_owned(), String::new()));
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let whole = r#"{"result":{"status":"VALID","witness":{"state":["0xab"]}},"id":1}"#;
        for end in 0..whole.len() {
            assert_eq!(cut(&whole[..end]), Err(CutError::CutOff), "{}", &whole[..end]);
        }
        for text in ["<html>", "[]", "\"x\"", "{}{}", "null"] {
            assert_eq!(cut(text), Err(CutError::NoObject), "{text}");
        }
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(MOST_KEPT_BYTES));
        assert_eq!(cut(&large), Err(CutError::TooLarge));
    }
}
