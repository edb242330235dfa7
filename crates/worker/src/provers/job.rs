//! What a prover or a verifier is asked about.

use proofyard_core::committed::CommittedProof;
use proofyard_core::pipeline::{Prover, Stage};
use proofyard_core::state::PipelineHash;
use proofyard_core::work::{Assignment, Input};

/// A claimed task, or a committed proof that is verified again.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    /// Which names the prover.
    pub pipeline: &'a PipelineHash,
    pub stage: &'a Stage,
    pub prover_name: &'a str,
    pub prover: &'a Prover,
    pub inputs: &'a [Input],
}

impl Job<'_> {
    /// A key for the prover of this pipeline: two pipelines may give different programs the same name.
    pub fn program(&self) -> String {
        format!("{}\u{0}{}", self.pipeline, self.prover_name)
    }
}

impl<'a> From<&'a Assignment> for Job<'a> {
    fn from(assignment: &'a Assignment) -> Self {
        Self {
            pipeline: assignment.task.pipeline(),
            stage: assignment.stage(),
            prover_name: &assignment.prover_name,
            prover: assignment.prover(),
            inputs: &assignment.inputs,
        }
    }
}

impl<'a> From<&'a CommittedProof> for Job<'a> {
    fn from(committed: &'a CommittedProof) -> Self {
        Self {
            pipeline: committed.task.pipeline(),
            stage: committed.stage(),
            prover_name: &committed.prover_name,
            prover: committed.prover(),
            inputs: &committed.inputs,
        }
    }
}
