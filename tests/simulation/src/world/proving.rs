//! The truth about proofs. Fake provers write artifacts here; verifiers and checks read from here whether an artifact
//! proves its task.

use std::collections::BTreeMap;

use proofyard_core::record::FailureKind;
use proofyard_core::state::{ArtifactRef, List, ScopeId, TaskId};

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
    /// There is a judge: it must have verified whatever is handed on.
    pub is_judged: bool,
    /// How the worker is about to report each claim's end.
    endings: BTreeMap<String, Ending>,
    artifacts: BTreeMap<String, Artifact>,
    failures: BTreeMap<TaskId, u32>,
    /// For each scope, the one stage whose prover may disagree with the others.
    disagreeing: BTreeMap<ScopeId, String>,
    /// Whether its members take longer than its deadline.
    outlasting: BTreeMap<ScopeId, bool>,
    checkpoints: BTreeMap<TaskId, Vec<Checkpoint>>,
}

/// What a prover asked to be kept.
#[derive(Debug)]
struct Checkpoint {
    text: String,
    /// The steps of the simulation at which it was asked for, and heard that it is kept.
    asked: u64,
    kept: Option<u64>,
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

    pub fn is_true_for(&self, artifact: &ArtifactRef, scope: &ScopeId, stage: &str, index: u32) -> bool {
        self.artifact(artifact).is_some_and(|artifact| {
            let task = &artifact.task;
            artifact.is_true && (&task.scope, task.stage.as_str(), task.index) == (scope, stage, index)
        })
    }

    /// Whether this stage is the one of the block whose prover may disagree: at most one, chosen by `number`, so that the
    /// others can still agree.
    pub fn may_disagree(&mut self, scope: &ScopeId, stage: &str, members: &[String], number: u64) -> bool {
        let one = || members[number as usize % members.len()].clone();
        self.disagreeing.entry(scope.clone()).or_insert_with(one) == stage
    }

    /// Whether the members of a quorum over this scope take longer than its deadline; as the first of them drew it.
    pub fn outlasts(&mut self, scope: &ScopeId, draw: bool) -> bool {
        *self.outlasting.entry(scope.clone()).or_insert(draw)
    }

    /// A prover or a verifier fails; noted before the yard records it.
    pub fn note_failure(&mut self, task: &TaskId) {
        *self.failures.entry(task.clone()).or_default() += 1;
    }

    /// How the worker will report this claim's end; a later note replaces an earlier one.
    pub fn note_ending(&mut self, claim: &str, ending: Ending) {
        self.endings.insert(claim.to_owned(), ending);
    }

    /// How the worker reported it; without a report it released the claim.
    pub fn ending(&self, claim: &str) -> Ending {
        self.endings.get(claim).copied().unwrap_or(Ending::Released)
    }

    /// A prover asks for a checkpoint to be kept. Each has another text.
    pub fn ask_checkpoint(&mut self, task: &TaskId, text: &str, step: u64) {
        let checkpoint = Checkpoint { text: text.to_owned(), asked: step, kept: None };
        self.checkpoints.entry(task.clone()).or_default().push(checkpoint);
    }

    /// It heard that it is.
    pub fn note_kept(&mut self, task: &TaskId, text: &str, step: u64) {
        let asked = self.checkpoints.get_mut(task).into_iter().flatten();
        asked.filter(|checkpoint| checkpoint.text == text).for_each(|one| one.kept = Some(step));
    }

    /// What was kept before this step and is newer than what the task's next attempt was given.
    pub fn newer_checkpoint(&self, task: &TaskId, given: Option<&str>, claimed: u64) -> Option<&str> {
        let asked = self.checkpoints.get(task)?;
        let given = asked.iter().find(|checkpoint| Some(checkpoint.text.as_str()) == given);
        let is_newer = |one: &Checkpoint| match given {
            None => true,
            // Of two copies that ask at the same time either may count.
            Some(given) => given.kept.is_some_and(|kept| one.text != given.text && kept <= one.asked),
        };
        let kept = |one: &&Checkpoint| one.kept.is_some_and(|kept| kept < claimed);
        asked.iter().filter(kept).find(|one| is_newer(one)).map(|one| one.text.as_str())
    }

    pub fn failures_reported(&self, task: &TaskId) -> u32 {
        self.failures.get(task).copied().unwrap_or(0)
    }
}
