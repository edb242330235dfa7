//! AWS in virtual time: what a yard on AWS will do under a load, before one is rented.
//!
//! The real handlers run, in the order in which functions and workers call them on AWS, over a table in memory whose calls
//! take as long as AWS's do ([`Latencies`]), and proofs take as long as they are said to ([`Provers`]). No machine and no
//! clock is used; a run of hours takes seconds, and is the same for the same seed.
//!
//! - `executor`, `table`, `port`: virtual time, what is stored, and what a call takes;
//! - `invocation`, `queues`, `functions`, `worker`, `prover`: who calls the handlers, as on AWS;
//! - `observed`, `usage`: what is read off it; [`predict`] makes figures of that ([`Prediction`]).

mod cloud;
mod executor;
mod functions;
mod invocation;
mod latencies;
mod load;
mod observed;
mod port;
mod prediction;
mod prover;
mod provers;
mod queues;
mod run;
mod table;
mod usage;
mod worker;

use proofyard_core::error::{Cause, Code, Coded};

pub use latencies::{Given, Latencies, Latency, Price, Prices};
pub use load::{Advance, Demand, Load, demand};
pub use prediction::{Blocks, Percentiles, Prediction, StepUsage};
pub use provers::{ProofTime, Provers};
pub use run::predict;
pub use usage::{Dollars, Step, Usage};

/// Why nothing can be predicted.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("the latencies cannot be used")]
    Latencies(#[source] Cause),
    #[error("the proof times cannot be used")]
    Provers(#[source] Cause),
    #[error("{0}")]
    Load(String),
    #[error("no proof time is given for prover {prover} in stage {stage}")]
    NoProofTime { stage: String, prover: String },
    #[error("the yard of the plan")]
    Yard(#[from] proofyard_core::error::Error),
    /// A handler failed as no latency explains.
    #[error("the planned yard did not work: {0}")]
    Failed(String),
}

impl Coded for PlanError {
    fn code(&self) -> Code {
        match self {
            Self::Latencies(_) | Self::Provers(_) => Code::BadPlanFile,
            Self::Load(_) => Code::BadArguments,
            Self::NoProofTime { .. } => Code::NoProofTime,
            Self::Yard(error) => error.code(),
            Self::Failed(_) => Code::PlanFailed,
        }
    }
}
