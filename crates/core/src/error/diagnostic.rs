//! An error as it is shown: to people as text, to programs as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::causes::messages;
use super::code::{Code, Coded};

const MARK: &str = "error[";
const CAUSE: &str = "\n  cause: ";

/// An error's code, what it says, and what lies under it, each part once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    pub code: Code,
    pub message: String,
    /// The nearest first.
    pub causes: Vec<String>,
}

impl Diagnostic {
    pub fn of(error: &impl Coded) -> Self {
        let mut causes = messages(error);
        let message = if causes.is_empty() { String::new() } else { causes.remove(0) };
        Self { code: error.code(), message, causes }
    }

    /// Of a message that is no error's.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), causes: Vec::new() }
    }

    #[must_use]
    pub fn caused_by(self, error: &dyn std::error::Error) -> Self {
        Self { causes: messages(error), ..self }
    }

    /// Reads what `Display` wrote. None where another version wrote the text, without a code or with a newer one.
    pub fn read(text: &str) -> Option<Self> {
        let (code, said) = text.strip_prefix(MARK)?.split_once("]: ")?;
        let mut parts = said.split(CAUSE).map(str::to_owned);
        Some(Self { code: code.parse().ok()?, message: parts.next()?, causes: parts.collect() })
    }
}

/// `error[PY0504]: another proofyard uses it`, and each cause on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message, causes } = self;
        write!(f, "{MARK}{code}]: {message}")?;
        causes.iter().try_for_each(|cause| write!(f, "{CAUSE}{cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, because};
    use crate::port::PortError;

    #[test]
    fn what_is_shown_is_read_back() {
        let error = Error::from(PortError::Unavailable(because("no room in /a: free some", "disk full")));
        let shown = Diagnostic::of(&error);
        assert_eq!(
            shown.to_string(),
            "error[PY0201]: storage is not available\n  cause: no room in /a: free some\n  cause: disk full"
        );
        assert_eq!(Diagnostic::read(&shown.to_string()), Some(shown));
        for other in ["chain c is not known here", "error[PY9999]: of a later version", "error[PY0201] no"] {
            assert_eq!(Diagnostic::read(other), None);
        }
    }
}
