//! An attempt of a task: who makes it, how it ends badly, and what it makes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ArtifactRef, WorkerId};

/// One try at a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    pub worker: WorkerId,
    pub slot: u32,
    /// The worker's own id for having taken it.
    pub claim: String,
    pub started_ms: u64,
    /// What its worker cost an hour then, in millionths of a US dollar, where that is known of the worker's own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_microusd_per_hour: Option<u64>,
}

/// A preference, not a ban: the worker that failed it gets it again after `until_ms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Avoid {
    pub worker: WorkerId,
    pub until_ms: u64,
}

/// How an attempt ended badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub at_ms: u64,
    pub attempt: u32,
    pub worker: WorkerId,
    pub message: String,
    /// The prover's last log lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// What an attempt made, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    pub artifact: ArtifactRef,
    /// Hex; what the verifier read from the proof. `None` for data.
    pub public_values: Option<String>,
    pub verification_key: Option<String>,
    pub proof_system: Option<String>,
    pub security_bits: Option<u32>,
    /// Whether the proof system needs a trusted setup; absent where the prover does not say, and in older state.
    #[serde(default)]
    pub trusted_setup: Option<bool>,
    pub cycles: Option<u64>,
    pub list: Option<List>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    pub prover: String,
    pub worker: WorkerId,
    pub attempt: u32,
    pub claimed_ms: u64,
    /// When its prover was asked, its inputs being there; absent in older state.
    #[serde(default)]
    pub started_ms: Option<u64>,
    pub prove_ms: u64,
    pub verify_ms: u64,
    /// When it was accepted.
    pub at_ms: u64,
}

/// The output is a list; `core` reads no artifacts, so the worker reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    pub count: u32,
    pub sha256: String,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The prover says that it can never work; parks once a second worker confirms it, or this one, where it is its
    /// pool's only one.
    Permanent,
    Transient,
    /// The prover says that it cannot work now, such as one that hands work on to a service which is down. Nothing was
    /// tried, so nobody is blamed.
    Unavailable,
    /// Nothing is wrong: what it waits for comes by itself, and is looked for again after so long.
    Waits {
        wait_ms: u64,
    },
    /// The prover's process died by a signal that the yard did not send.
    Crash,
    /// What the task is made from is missing or damaged: another worker would find the same, so it parks at once, and
    /// nobody is blamed.
    BadInput,
}

impl FailureKind {
    /// Whether nothing was tried, and the task only comes later.
    pub(crate) fn is_delay(self) -> bool {
        matches!(self, Self::Unavailable | Self::Waits { .. })
    }

    /// Whether it says something about the worker that met it.
    pub(crate) fn is_blamed(self) -> bool {
        match self {
            Self::Permanent | Self::Transient | Self::Crash => true,
            Self::Unavailable | Self::Waits { .. } | Self::BadInput => false,
        }
    }
}
