//! Which block or cut: `CHAIN:b:HEIGHT:HASH:GENERATION` or `CHAIN:c:STAGE:FROM-TO:EPOCH`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::state::{BlockHash, ChainName, Subject};

/// A scope's name, derived from what it is about, so that anyone may tell it. Stored and sent as the text that it is; one that
/// was read need not be the name of anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeId(String);

/// What a scope's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedScope<'a> {
    Block { chain: &'a str, height: u64, hash: &'a str, generation: u64 },
    Cut { chain: &'a str, stage: &'a str, from: u64, to: u64, epoch: u64 },
}

impl ScopeId {
    pub fn of_block(chain: &ChainName, height: u64, hash: &BlockHash, generation: u64) -> Self {
        NamedScope::Block { chain: chain.as_str(), height, hash: hash.as_str(), generation }.id()
    }

    pub fn of_cut(chain: &ChainName, stage: &str, from: u64, to: u64, epoch: u64) -> Self {
        NamedScope::Cut { chain: chain.as_str(), stage, from, to, epoch }.id()
    }

    /// Where there is no scope to name.
    pub fn none() -> Self {
        Self::default()
    }

    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// As it stands somewhere, whether a scope can be called so or not.
    pub(in crate::state) fn as_written(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The chain that it names first.
    pub fn chain(&self) -> ChainName {
        ChainName::as_written(self.0.split(':').next().unwrap_or_default())
    }

    /// `None` where no scope can be called so.
    pub fn named(&self) -> Option<NamedScope<'_>> {
        let (chain, rest) = self.0.split_once(':')?;
        let (kind, rest) = rest.split_once(':')?;
        let (what, rest) = rest.split_once(':')?;
        // A hash is whatever its source calls it.
        let (which, last) = rest.rsplit_once(':')?;
        match kind {
            "b" => Some(NamedScope::Block {
                chain,
                height: what.parse().ok()?,
                hash: which,
                generation: last.parse().ok()?,
            }),
            "c" => {
                let (from, to) = which.split_once('-')?;
                let (from, to, epoch) = (from.parse().ok()?, to.parse().ok()?, last.parse().ok()?);
                Some(NamedScope::Cut { chain, stage: what, from, to, epoch })
            }
            _ => None,
        }
    }

    /// Whether it names this block, in whichever generation, or this cut, of whichever epoch.
    pub(super) fn is_about(&self, chain: &ChainName, subject: &Subject) -> bool {
        let any = match subject {
            Subject::Block(block) => Self::of_block(chain, block.height, &block.hash, 0),
            Subject::Cut(cut) => Self::of_cut(chain, &cut.stage, cut.from, cut.to, 0),
        };
        let without_last = any.0.rsplit_once(':').map_or("", |(start, _)| start);
        self.0.strip_prefix(without_last).is_some_and(|rest| rest.starts_with(':'))
    }
}

impl NamedScope<'_> {
    fn id(&self) -> ScopeId {
        ScopeId(match self {
            Self::Block { chain, height, hash, generation } => {
                format!("{chain}:b:{height}:{hash}:{generation}")
            }
            Self::Cut { chain, stage, from, to, epoch } => format!("{chain}:c:{stage}:{from}-{to}:{epoch}"),
        })
    }
}

impl fmt::Display for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ScopeId {
    type Err = BadScopeId;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, BadScopeId> {
        let id = Self::as_written(text);
        match id.named() {
            Some(_) => Ok(id),
            None => Err(BadScopeId(id.0)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names neither a block nor a cut")]
pub struct BadScopeId(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let block = NamedScope::Block { chain: "c", height: 7, hash: "0xab", generation: 2 };
        let cut = NamedScope::Cut { chain: "c", stage: "wrap", from: 7, to: 9, epoch: 1 };
        for (named, text) in [(block, "c:b:7:0xab:2"), (cut, "c:c:wrap:7-9:1")] {
            let id: ScopeId = text.parse().unwrap();
            assert_eq!((named.id().to_string(), id.chain()), (text.to_owned(), "c".into()));
            assert_eq!(id.named(), Some(named));
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("{text:?}"));
        }
        let hash = NamedScope::Block { chain: "c", height: 7, hash: "a:b#c", generation: 0 };
        assert_eq!(hash.id().named(), Some(hash));
        for text in ["", "c", "c:b:7:0xab", "c:b:x:0xab:0", "c:c:wrap:7:1", "c:d:7:0xab:0"] {
            text.parse::<ScopeId>().unwrap_err();
        }
    }
}
