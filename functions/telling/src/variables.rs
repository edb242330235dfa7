//! What `proofyard-notify` needs from outside, where a function tells a sink by it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use proofyard_notify::Surroundings;

use crate::Secrets;

/// What the function's secret holds.
pub struct Variables {
    secret: String,
    are: BTreeMap<String, String>,
}

impl Variables {
    pub fn of(secrets: &Secrets, are: BTreeMap<String, String>) -> Self {
        Self { secret: secrets.id().to_owned(), are }
    }
}

impl Surroundings for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        self.are.get(name).cloned()
    }

    fn variables_are_in(&self) -> String {
        format!("the secret {}", self.secret)
    }

    fn now_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}
