//! What the kit found.

use serde::Serialize;

/// All checks, in the order in which they were tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub command: Vec<String>,
    pub checks: Vec<CheckReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    pub group: &'static str,
    pub name: &'static str,
    pub asks: &'static str,
    pub result: Result,
    /// What was seen, or why it failed or could not be tried.
    pub note: String,
    pub mend: &'static str,
    /// The prover's last log lines, where it failed.
    pub log: Vec<String>,
    pub took_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    Passed,
    Failed,
    /// Cannot be tried.
    Untried,
}

impl Report {
    pub fn count(&self, result: Result) -> usize {
        self.checks.iter().filter(|check| check.result == result).count()
    }

    /// Whether nothing failed.
    pub fn conforms(&self) -> bool {
        self.count(Result::Failed) == 0
    }
}
