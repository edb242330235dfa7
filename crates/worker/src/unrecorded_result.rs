//! The description of a result that is not recorded yet, as a home keeps it beside the artifact for the task's next
//! attempt.

use std::collections::BTreeMap;

use proofyard_core::state::{ArtifactRef, List, PipelineHash};
use proofyard_core::work::{Assignment, Proved, Proving};
use serde::{Deserialize, Serialize};

/// It holds no public values: those count only from a verifier, which is asked again.
#[derive(Serialize, Deserialize)]
pub(crate) struct UnrecordedResult {
    task: String,
    /// Which names the prover.
    pipeline: PipelineHash,
    prover: String,
    pub artifact: ArtifactRef,
    pub verification_key: Option<String>,
    pub proof_system: Option<String>,
    pub security_bits: Option<u32>,
    /// Missing in descriptions that earlier versions wrote.
    #[serde(default)]
    pub trusted_setup: Option<bool>,
    pub cycles: Option<u64>,
    pub list: Option<List>,
    pub fields: BTreeMap<String, String>,
    /// Missing in descriptions that earlier versions wrote.
    #[serde(default)]
    pub proving: Option<Proving>,
}

impl UnrecordedResult {
    pub fn of<O>(assignment: &Assignment, proved: &Proved<O>, artifact: &ArtifactRef) -> Self {
        Self {
            task: assignment.task.id().to_string(),
            pipeline: assignment.task.pipeline().clone(),
            prover: assignment.prover_name.clone(),
            artifact: artifact.clone(),
            verification_key: proved.verification_key.clone(),
            proof_system: proved.proof_system.clone(),
            security_bits: proved.security_bits,
            trusted_setup: proved.trusted_setup,
            cycles: proved.cycles,
            list: proved.list.clone(),
            fields: proved.fields.clone(),
            proving: proved.proving,
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The error says why it cannot be used for this assignment.
    pub fn read(json: &[u8], assignment: &Assignment) -> Result<Self, String> {
        let made: Self =
            serde_json::from_slice(json).map_err(|error| format!("it cannot be read: {error}"))?;
        let max_bytes = assignment.stage().limits.output_bytes;
        if made.task != assignment.task.id().to_string() {
            Err(format!("it is of task {}", made.task))
        } else if made.pipeline != *assignment.task.pipeline() || made.prover != assignment.prover_name {
            Err(format!("it is by prover {} of pipeline {}", made.prover, made.pipeline))
        } else if made.artifact.bytes > max_bytes {
            Err(format!("it has {} bytes; {max_bytes} are allowed", made.artifact.bytes))
        } else {
            Ok(made)
        }
    }

    pub fn into_proved<O>(self, output: O) -> Proved<O> {
        Proved {
            output,
            claimed_public_values: None,
            verification_key: self.verification_key,
            proof_system: self.proof_system,
            security_bits: self.security_bits,
            trusted_setup: self.trusted_setup,
            cycles: self.cycles,
            list: self.list,
            fields: self.fields,
            proving: self.proving,
        }
    }
}
