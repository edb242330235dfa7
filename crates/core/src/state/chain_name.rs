//! What a chain is called: the name that its pipeline file gives it.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::KeyFamily;
use crate::port::Key;

/// What a chain may be called, for people. Stages, pools, provers and sinks are named by the same rule.
pub(crate) const NAME_RULE: &str = "1 to 32 letters a-z, digits and -";

/// Whether this is as [`NAME_RULE`] says. Names stand in keys, ids and paths, where `#`, `:` and `/` divide: none has these.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A chain's name, cheap to clone. Parsed where a pipeline file or a person names a chain. Stored and sent as the text that it
/// is; one that was read there need not be the name of anything, and its chain is then not known. The default one names none.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(Arc<str>);

impl ChainName {
    /// As it stands somewhere, whether a chain can be called so or not.
    pub(in crate::state) fn as_written(text: &str) -> Self {
        Self(text.into())
    }

    /// Of the chain in whose partition this item lies.
    pub(crate) fn of_key(key: &Key) -> Self {
        Self::as_written(KeyFamily::about(key))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChainName {
    type Err = BadChainName;

    fn from_str(text: &str) -> Result<Self, BadChainName> {
        match is_name(text) {
            true => Ok(Self::as_written(text)),
            false => Err(BadChainName(text.to_owned())),
        }
    }
}

/// With the text that was to be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the name of a chain: {NAME_RULE}")]
pub struct BadChainName(pub(crate) String);

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// As its text, quoted.
impl fmt::Debug for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for ChainName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A map by chain is looked into by text too.
impl Borrow<str> for ChainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for ChainName {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for ChainName {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl Serialize for ChainName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChainName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// Tests name chains by literals.
#[cfg(test)]
impl From<&'static str> for ChainName {
    fn from(literal: &'static str) -> Self {
        literal.parse().expect("a chain's name")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_has_1_to_32_small_letters_digits_and_dashes() {
        for name in ["c", "a-1", "0", "-", "abcdefghijklmnopqrstuvwxyz012345"] {
            assert_eq!(name.parse::<ChainName>().unwrap().to_string(), name);
        }
        let long = "a".repeat(33);
        for text in ["", "C", "a_b", "a b", "a.b", "a:b", "a#b", "a/b", "ä", &long] {
            assert_eq!(text.parse::<ChainName>(), Err(BadChainName(text.to_owned())));
        }
        assert_eq!(
            "a:b".parse::<ChainName>().unwrap_err().to_string(),
            "\"a:b\" cannot be the name of a chain: 1 to 32 letters a-z, digits and -"
        );
    }

    #[test]
    fn a_name_is_stored_as_its_text() {
        let name: ChainName = "demo".parse().unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), r#""demo""#);
        assert_eq!(serde_json::from_str::<ChainName>(r#""demo""#).unwrap(), name);
        // Whoever looks for it then says that there is no such chain.
        assert_eq!(serde_json::from_str::<ChainName>(r#""A:b\n""#).unwrap(), "A:b\n");
        serde_json::from_str::<ChainName>("7").unwrap_err();
    }

    #[test]
    fn a_name_is_printed_and_looked_up_as_its_text() {
        let name: ChainName = "demo".parse().unwrap();
        assert_eq!(
            (format!("{name:>6}|"), format!("{name:?}")),
            ("  demo|".to_owned(), r#""demo""#.to_owned())
        );
        assert!(name == "demo" && name == *"demo" && name != "other");
        assert_eq!(BTreeMap::from([(name, 7)]).get("demo"), Some(&7));
    }
}
