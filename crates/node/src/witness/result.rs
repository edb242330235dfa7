//! The `result` of a JSON-RPC answer, copied out of it without ever having it in memory: a witness may be hundreds of megabytes.

use std::io::{self, BufRead, Write};

/// Bytes of a node's error that are kept.
const ERROR_BYTES: usize = 4_096;

/// What an answer holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So many bytes were copied.
    Result(u64),
    /// The result is `null`: the node has none.
    Nothing,
    /// The beginning of the `error` object.
    Error(String),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("its answer ends in the middle, after {0} bytes")]
    CutOff(u64),
    #[error("it answered with no JSON-RPC")]
    NoAnswer,
    #[error("what it answered cannot be read or kept")]
    Io(#[from] io::Error),
}

/// Copies the result, whatever it is. Only the outermost object is understood; what is inside a value is not checked beyond
/// that its brackets and quotes close.
pub(crate) fn copy_result(input: impl BufRead, output: &mut impl Write) -> Result<Answer, AnswerError> {
    let mut bytes = Bytes { input, read: 0 };
    if bytes.next_solid()? != b'{' {
        return Err(AnswerError::NoAnswer);
    }
    let (mut copied, mut error) = (None, None);
    loop {
        match bytes.next_solid()? {
            b'"' => {}
            b'}' => break,
            _ => return Err(AnswerError::NoAnswer),
        }
        let mut name = Vec::new();
        bytes.string(&mut Keep { kept: &mut name, most: 64 })?;
        if bytes.next_solid()? != b':' {
            return Err(AnswerError::NoAnswer);
        }
        let end = match name.as_slice() {
            b"result\"" => {
                let mut counted = Count { output: &mut *output, bytes: 0, first: None };
                let end = bytes.value(&mut counted)?;
                copied = Some((counted.bytes, counted.first));
                end
            }
            b"error\"" => {
                let mut kept = Vec::new();
                let end = bytes.value(&mut Keep { kept: &mut kept, most: ERROR_BYTES })?;
                error = Some(String::from_utf8_lossy(&kept).into_owned());
                end
            }
            _ => bytes.value(&mut io::sink())?,
        };
        match end {
            b',' => {}
            b'}' => break,
            _ => return Err(AnswerError::NoAnswer),
        }
    }
    match (copied, error.filter(|error| error != "null")) {
        (_, Some(error)) => Ok(Answer::Error(error)),
        (Some((_, Some(b'n'))), None) => Ok(Answer::Nothing),
        (Some((bytes, Some(_))), None) => Ok(Answer::Result(bytes)),
        (Some((_, None)) | None, None) => Err(AnswerError::NoAnswer),
    }
}

struct Bytes<R> {
    input: R,
    read: u64,
}

impl<R: BufRead> Bytes<R> {
    fn next(&mut self) -> Result<u8, AnswerError> {
        match self.input.fill_buf()?.first().copied() {
            Some(byte) => {
                self.input.consume(1);
                self.read += 1;
                Ok(byte)
            }
            None => Err(AnswerError::CutOff(self.read)),
        }
    }

    fn next_solid(&mut self) -> Result<u8, AnswerError> {
        loop {
            let byte = self.next()?;
            if !byte.is_ascii_whitespace() {
                return Ok(byte);
            }
        }
    }

    /// The rest of a string, its closing quote included.
    fn string(&mut self, output: &mut impl Write) -> Result<(), AnswerError> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Err(AnswerError::CutOff(self.read));
            }
            // Most of a witness is long hex strings: they are copied in pieces.
            let end = buffer.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let piece = end.map_or(buffer.len(), |end| end + 1);
            output.write_all(&buffer[..piece])?;
            let last = end.map(|end| buffer[end]);
            self.input.consume(piece);
            self.read += piece as u64;
            match last {
                Some(b'"') => return Ok(()),
                Some(_) => output.write_all(&[self.next()?])?,
                None => {}
            }
        }
    }

    /// A value; answers what stands behind it.
    fn value(&mut self, output: &mut impl Write) -> Result<u8, AnswerError> {
        let mut depth = 0_u64;
        let mut byte = self.next_solid()?;
        loop {
            match byte {
                b',' | b'}' if depth == 0 => return Ok(byte),
                b']' if depth == 0 => return Err(AnswerError::NoAnswer),
                _ if byte.is_ascii_whitespace() => {}
                _ => output.write_all(&[byte])?,
            }
            match byte {
                b'"' => self.string(output)?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            byte = self.next()?;
        }
    }
}

/// Writes on, and knows how much that was and how it began.
struct Count<W> {
    output: W,
    bytes: u64,
    first: Option<u8>,
}

impl<W: Write> Write for Count<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.first = self.first.or_else(|| bytes.first().copied());
        self.bytes += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Keeps the beginning.
struct Keep<'a> {
    kept: &'a mut Vec<u8>,
    most: usize,
}

impl Write for Keep<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.most.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// With buffers of any size: nothing may depend on where one ends.
    fn copied(answer: &str) -> Result<(Answer, String), AnswerError> {
        let mut found = None;
        for size in [1, 2, 3, 7, 8_192] {
            let mut output = Vec::new();
            let answer = copy_result(BufReader::with_capacity(size, answer.as_bytes()), &mut output)?;
            let now = (answer, String::from_utf8(output).unwrap());
            assert_eq!(
                *found.get_or_insert_with(|| (Answer::Nothing, String::new())) == now,
                found.as_ref() == Some(&now)
            );
            found = Some(now);
        }
        Ok(found.unwrap())
    }

    #[test]
    fn the_result_is_copied_as_it_is() {
        for result in [
            r#"{"state":["0xab","0x"],"codes":[]}"#,
            "\"a \\\" quote, and a } brace\"",
            "[1,[2,{\"a\":3}]]",
            "17",
            "true",
        ] {
            let answer =
                format!("{{ \"jsonrpc\":\"2.0\", \"id\" : {{\"result\":5}},\n\"result\": {result} }}");
            let (answer, text) = copied(&answer).unwrap();
            assert_eq!((answer, text.as_str()), (Answer::Result(result.len() as u64), result));
        }
    }

    #[test]
    fn what_is_no_result_is_told_apart() {
        assert_eq!(copied(r#"{"id":1,"result":null}"#).unwrap().0, Answer::Nothing);
        assert_eq!(copied(r#"{"result":{},"error":null}"#).unwrap().0, Answer::Result(2));
        let error = r#"{"code":-32601,"message":"no"}"#;
        assert_eq!(copied(&format!(r#"{{"error":{error},"id":1}}"#)).unwrap().0, Answer::Error(error.into()));
        for bad in ["<html>", "[]", "{}", r#"{"id":1}"#, r#"{"result"}"#, r#"{"result":]}"#, r#"{"result":}"#]
        {
            assert!(matches!(copied(bad), Err(AnswerError::NoAnswer)), "{bad}");
        }
        let whole = r#"{"id":1,"result":{"state":["0xab"]}}"#;
        for end in 0..whole.len() {
            assert!(matches!(copied(&whole[..end]), Err(AnswerError::CutOff(_))), "{}", &whole[..end]);
        }
    }
}
