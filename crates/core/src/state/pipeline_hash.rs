//! Which pipeline: the SHA-256 of its file's text.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// By this a pipeline's text is stored, and scopes and tasks name the pipeline that they live by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PipelineHash(String);

impl PipelineHash {
    pub fn of_text(text: &str) -> Self {
        Self(hex::encode(Sha256::digest(text.as_bytes())))
    }

    /// Of what was not opened yet.
    pub fn none() -> Self {
        Self::default()
    }

    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PipelineHash {
    /// As it is written down somewhere.
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for PipelineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_named_by_the_sha_256_of_its_text() {
        let hash = PipelineHash::of_text("abc");
        assert_eq!(hash.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{hash}\""));
        assert!(PipelineHash::none().is_none() && !hash.is_none());
    }
}
