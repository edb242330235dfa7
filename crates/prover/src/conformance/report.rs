//! The kit's report.

use serde::Serialize;

/// All checks, in the order in which they were tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The prover's program and its arguments.
    pub command: Vec<String>,
    /// One for each check.
    pub checks: Vec<CheckReport>,
}

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    /// The name of its group.
    pub group: &'static str,
    /// The check's own name.
    pub name: &'static str,
    /// What a prover that passes does.
    pub asks: &'static str,
    /// Whether this one did.
    pub result: Result,
    /// What the check has found, or why it failed or could not be tried.
    pub note: String,
    /// What to do about a prover that failed.
    pub mend: &'static str,
    /// The prover's last log lines, where it failed.
    pub log: Vec<String>,
    /// In milliseconds.
    pub took_ms: u64,
}

/// Whether a check was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    /// The prover did what is asked.
    Passed,
    /// It did not.
    Failed,
    /// Cannot be tried.
    Untried,
}

impl Report {
    /// How many checks ended like this.
    pub fn count(&self, result: Result) -> usize {
        self.checks.iter().filter(|check| check.result == result).count()
    }

    /// Whether nothing failed.
    pub fn conforms(&self) -> bool {
        self.count(Result::Failed) == 0
    }
}
