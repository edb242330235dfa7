//! What a yard is compared with: the rows of `proofyard-baselines`, which `proofyard bench --baselines` reads.

use serde::{Deserialize, Serialize};

use crate::{Dispatching, Load};

/// One system under one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// The same in every version.
    pub system: String,
    pub name: String,
    /// What an acknowledgement of it means.
    pub durability: String,
    /// What is done for a task.
    pub task: String,
    #[serde(flatten)]
    pub load: Load,
    pub run: u32,
    #[serde(flatten)]
    pub outcome: BaselineOutcome,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineOutcome {
    Measured(Box<BaselineMeasured>),
    /// It is not here, or cannot do that.
    LeftOut(String),
    Failed(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaselineMeasured {
    pub version: String,
    #[serde(flatten)]
    pub dispatching: Dispatching,
    /// Of the workers' connections.
    pub clients_cpu_ms_a_task: f64,
    pub servers_cpu_ms_a_task: f64,
}
