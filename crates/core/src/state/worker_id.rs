//! Which worker: `PREFIX-POOL-PROCESS-RANDOM`, new at each start.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One start of a worker's process. Whoever registers makes it up: nobody takes it apart, so any text is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(String);

impl WorkerId {
    /// `prefix` says where it runs, for people.
    pub fn new(prefix: &str, pool: &str, process: u32, random: u32) -> Self {
        Self(format!("{prefix}-{pool}-{process}-{random:08x}"))
    }

    /// Of one that has not registered yet.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for WorkerId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_stored_as_its_text() {
        let id = WorkerId::new("local", "gpu", 7, 0xab);
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""local-gpu-7-000000ab""#);
        assert_eq!(serde_json::from_str::<WorkerId>(r#""w""#).unwrap(), WorkerId::from("w"));
    }
}
