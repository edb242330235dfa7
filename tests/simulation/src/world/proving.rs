//! What is true of proofs. Fake provers write artifacts here, and only this says whether one proves its task; a
//! verifier looks here too.

use std::collections::BTreeMap;

use proofyard_core::record::FailureKind;
use proofyard_core::state::{ArtifactRef, List, TaskId};

/// What an artifact is.
#[derive(Clone, Debug)]
pub struct Artifact {
    pub task: TaskId,
    pub is_true: bool,
    /// What a verifier reads from it.
    pub public_values: String,
    pub list: Option<List>,
}

/// How an attempt ends, as its worker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Failed(FailureKind),
    Lost,
    Released,
}

#[derive(Debug, Default)]
pub struct Proving {
    /// What is handed on must have been judged.
    pub is_judged: bool,
    /// What a worker is about to say of each claim.
    endings: BTreeMap<String, Ending>,
    artifacts: BTreeMap<String, Artifact>,
    failures: BTreeMap<TaskId, u32>,
    /// For each scope, the one stage whose prover may disagree with the others.
    disagreeing: BTreeMap<String, String>,
}

impl Proving {
    pub fn new(is_judged: bool) -> Self {
        Self { is_judged, ..Self::default() }
    }

    /// A prover writes its output.
    pub fn write(&mut self, artifact: Artifact) -> ArtifactRef {
        let sha256 = format!("{:064x}", self.artifacts.len() + 1);
        self.artifacts.insert(sha256.clone(), artifact);
        ArtifactRef { sha256, bytes: 100 }
    }

    pub fn artifact(&self, artifact: &ArtifactRef) -> Option<&Artifact> {
        self.artifacts.get(&artifact.sha256)
    }

    pub fn is_true_for(&self, artifact: &ArtifactRef, scope: &str, stage: &str, index: u32) -> bool {
        self.artifact(artifact).is_some_and(|artifact| {
            let task = &artifact.task;
            artifact.is_true
                && (task.scope.as_str(), task.stage.as_str(), task.index) == (scope, stage, index)
        })
    }

    /// At most one prover of a block is wrong, so that the others can still agree: early or late, by this number.
    pub fn may_disagree(&mut self, scope: &str, stage: &str, members: &[String], number: u64) -> bool {
        let one = || members[number as usize % members.len()].clone();
        self.disagreeing.entry(scope.to_owned()).or_insert_with(one) == stage
    }

    /// A prover, or a verifier, says no; before the yard is told.
    pub fn note_failure(&mut self, task: &TaskId) {
        *self.failures.entry(task.clone()).or_default() += 1;
    }

    /// What the worker will say of this claim, unless it says something else before.
    pub fn note_ending(&mut self, claim: &str, ending: Ending) {
        self.endings.insert(claim.to_owned(), ending);
    }

    /// What it said; a worker that said nothing let go.
    pub fn ending(&self, claim: &str) -> Ending {
        self.endings.get(claim).copied().unwrap_or(Ending::Released)
    }

    pub fn failures_reported(&self, task: &TaskId) -> u32 {
        self.failures.get(task).copied().unwrap_or(0)
    }
}
