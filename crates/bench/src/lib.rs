//! What dispatching costs on this machine: yards under load, with a prover that only sleeps.
//!
//! [`run()`] starts a yard in an empty folder, gives it blocks as a [`Load`] says, and measures each task. All of it is one
//! process, as `proofyard run` is, but for the provers and verifiers. [`syncs`] measures the disk's own sync at the same pace.

mod disk;
mod load;
mod quantiles;
mod run;
mod sleeping_prover;
mod usage;

use std::io;

use proofyard_core::error::{Code, Coded};

pub use disk::syncs;
pub use load::{Arrival, Load};
pub use quantiles::Quantiles;
pub use run::{Measured, run};
pub use sleeping_prover::SleepingProver;

/// Why a run could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("the yard of the measurement")]
    Yard(#[from] proofyard_core::error::Error),
    #[error("the machine of the measurement")]
    Machine(#[from] proofyard_embedded::machine::MachineError),
    #[error("{doing}")]
    Io {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Load(String),
    /// A task failed, so that what was measured is not dispatching.
    #[error("{done} of {tasks} tasks were done, and then nothing moved for {quiet_s} s: {reason}")]
    Stuck { done: u64, tasks: u64, quiet_s: u64, reason: String },
    #[error("interrupted")]
    Interrupted,
}

impl Coded for BenchError {
    fn code(&self) -> Code {
        match self {
            Self::Yard(error) => error.code(),
            Self::Machine(error) => error.code(),
            Self::Io { .. } => Code::FileUnwritable,
            Self::Load(_) => Code::BadArguments,
            Self::Stuck { .. } => Code::BenchStuck,
            Self::Interrupted => Code::Stopped,
        }
    }
}

impl BenchError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
