//! Why a stage cannot start though all that it gathers is there. It is stored as its sentence: all programs that read this
//! format of the state expect a text there.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Blocked {
    pub stage: String,
    pub why: BlockedBy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockedBy {
    /// It splits blocks, and its block was taken under a pipeline that did not.
    NoSegments,
    /// What it joins is not of one kind.
    InputsDiffer { field: String, one: String, other: String },
    /// A stored sentence that cannot be read back as one of the above.
    Text(String),
}

impl fmt::Display for BlockedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSegments => f.write_str("its block names no segments"),
            Self::InputsDiffer { field, one, other } => {
                write!(f, "its inputs differ in `{field}`: {one} and {other}")
            }
            Self::Text(words) => f.write_str(words),
        }
    }
}

impl BlockedBy {
    fn read(text: &str) -> Self {
        if text == Self::NoSegments.to_string() {
            return Self::NoSegments;
        }
        let parts = || {
            let (field, values) = text.strip_prefix("its inputs differ in `")?.split_once("`: ")?;
            let (one, other) = values.split_once(" and ").filter(|(_, other)| !other.contains(" and "))?;
            Some((field.to_owned(), one.to_owned(), other.to_owned()))
        };
        match parts() {
            Some((field, one, other)) => Self::InputsDiffer { field, one, other },
            None => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage.as_str() {
            "" => write!(f, "{}", self.why),
            stage => write!(f, "stage {stage}: {}", self.why),
        }
    }
}

impl From<String> for Blocked {
    /// Reads what `Display` writes; what is of another form is of no stage.
    fn from(text: String) -> Self {
        match text.strip_prefix("stage ").and_then(|text| text.split_once(": ")) {
            Some((stage, why)) => Self { stage: stage.to_owned(), why: BlockedBy::read(why) },
            None => Self { stage: String::new(), why: BlockedBy::Text(text) },
        }
    }
}

impl From<Blocked> for String {
    fn from(blocked: Blocked) -> Self {
        blocked.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_read_back_as_they_were_written() {
        let differ = |one: &str, other: &str| BlockedBy::InputsDiffer {
            field: "root".into(),
            one: one.into(),
            other: other.into(),
        };
        let of = |why| Blocked { stage: "join".into(), why };
        for (text, blocked) in [
            ("stage join: its block names no segments", of(BlockedBy::NoSegments)),
            ("stage join: its inputs differ in `root`: a and b", of(differ("a", "b"))),
            ("stage join: its inputs differ in `root`:  and b", of(differ("", "b"))),
            (
                "stage join: its inputs differ in `root`: a and b and c",
                of(BlockedBy::Text("its inputs differ in `root`: a and b and c".into())),
            ),
            ("no more", Blocked { stage: String::new(), why: BlockedBy::Text("no more".into()) }),
        ] {
            assert_eq!(Blocked::from(text.to_owned()), blocked);
            assert_eq!(blocked.to_string(), text);
        }
    }
}
