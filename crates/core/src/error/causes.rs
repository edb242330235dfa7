//! What lies under an error, kept as a value and written down once.
//!
//! An error's own message never repeats that of its source. So whoever shows an error shows [`with_causes`] of it, and
//! whoever passes one on keeps it as a [`Cause`].

use std::error::Error;
use std::fmt;

/// An error that lies under another one. A text becomes one by `into`.
pub type Cause = Box<dyn Error + Send + Sync>;

/// A message that has no type of its own, over the error that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Because {
    message: String,
    source: Cause,
}

/// Says what an error means, and keeps it.
pub fn because(message: impl Into<String>, source: impl Into<Cause>) -> Cause {
    Box::new(Because { message: message.into(), source: source.into() })
}

/// The messages of an error and of all that lie under it, outermost first. Other people's errors often repeat what lies
/// under or over them: of two causes of which one holds the other, the longer stays.
pub fn messages(error: &dyn Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let message = error.to_string();
        let is_first_cause = messages.len() == 1;
        match messages.last_mut() {
            Some(above) if above.contains(&message) => {}
            Some(above) if !is_first_cause && message.contains(above.as_str()) => *above = message,
            _ => messages.push(message),
        }
        next = error.source();
    }
    messages
}

/// All of an error on one line: for log lines, and for what is recorded as text.
pub fn with_causes(error: &dyn Error) -> WithCauses<'_> {
    WithCauses(error)
}

/// See [`with_causes`].
pub struct WithCauses<'a>(&'a dyn Error);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&messages(self.0).join(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_error_is_told_once() {
        let disk = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let said = disk.to_string();
        let error = because("the yard stops", because(format!("a.db cannot be written ({said})"), disk));
        assert_eq!(
            with_causes(error.as_ref()).to_string(),
            format!("the yard stops: a.db cannot be written ({said})")
        );
        let error = because("the yard stops", because("a.db cannot be written", "no room"));
        assert_eq!(messages(error.as_ref()), ["the yard stops", "a.db cannot be written", "no room"]);
        let error = because("the yard stops", because("no room", "error 13: no room"));
        assert_eq!(messages(error.as_ref()), ["the yard stops", "error 13: no room"]);
    }
}
