//! A block's hash, as its source calls it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which of the blocks at a height. What brings blocks checks them against it; here it is only compared, so any text is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockHash(String);

impl BlockHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for BlockHash {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for BlockHash {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// As nodes of Ethereum's kind write it.
impl From<&[u8; 32]> for BlockHash {
    fn from(bytes: &[u8; 32]) -> Self {
        Self(format!("0x{}", hex::encode(bytes)))
    }
}

impl From<BlockHash> for String {
    fn from(hash: BlockHash) -> Self {
        hash.0
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_stored_as_its_text() {
        let hash = BlockHash::from("0xab");
        assert_eq!(serde_json::to_string(&hash).unwrap(), r#""0xab""#);
        assert_eq!(serde_json::from_str::<BlockHash>(r#""a:b#c""#).unwrap(), BlockHash::from("a:b#c"));
    }
}
