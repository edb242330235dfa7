//! Lines one by one, with never more of one in memory than the limit.

use std::io::{self, BufRead};

use crate::fault::{BlocksError, Fault};
use crate::{Line, Rules, parse_line};

/// Many times what an ordinary block takes; a longer line is more likely no blocks file at all.
pub const LINE_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// The lines of a blocks file with their numbers, from 1. It ends after the first error.
pub struct Reader<R> {
    input: R,
    file: String,
    rules: Rules,
    line_limit_bytes: usize,
    line_number: u64,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// `file` is the name that errors say.
    pub fn new(file: impl Into<String>, input: R, rules: Rules) -> Self {
        let (file, line_limit_bytes) = (file.into(), LINE_LIMIT_BYTES);
        Self { input, file, rules, line_limit_bytes, line_number: 0, ended: false }
    }

    pub fn with_line_limit(self, line_limit_bytes: usize) -> Self {
        Self { line_limit_bytes, ..self }
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The next line without its newline, or nothing at the file's end.
    fn read_line(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let mut line = Vec::new();
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Read(error)),
            };
            if available.is_empty() {
                return Ok(if line.is_empty() { None } else { Some(line) });
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..newline.unwrap_or(available.len())];
            if part.len() > self.line_limit_bytes - line.len() {
                return Err(Fault::LineTooLong { limit_bytes: self.line_limit_bytes });
            }
            line.extend_from_slice(part);
            let used = part.len() + usize::from(newline.is_some());
            self.input.consume(used);
            if newline.is_some() {
                return Ok(Some(line));
            }
        }
    }

    fn next_line(&mut self) -> Option<Result<(u64, Line), BlocksError>> {
        self.line_number += 1;
        match self.read_line() {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(
                parse_line(&self.file, self.line_number, &bytes, &self.rules)
                    .map(|line| (self.line_number, line)),
            ),
            Err(fault) => Some(Err(fault.at(&self.file, self.line_number))),
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<(u64, Line), BlocksError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_line();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
