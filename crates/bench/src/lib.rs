//! What dispatching costs on this machine: yards under load, with a prover that only sleeps.
//!
//! [`Bench::run`] starts a yard in an empty folder, gives it blocks as a [`Load`] says, and measures each task. All of it is one
//! process, as `proofyard run` is, but for the provers and verifiers. [`syncs`] measures the disk's own sync at the same pace.
//!
//! - `load`: what is measured; `sleeping_prover`, `in_process`: who "proves"; `room`: whether the machine has room for it;
//! - `run`: one run; `taking_in`: how its blocks come; `commits`: when they were committed; `dispatching`, `measured`: what it
//!   took;
//! - `step`: all runs of one load; `row`: its lines of a table; `page`: all of it as plots;
//! - `baseline`: what a yard is compared with.

mod baseline;
mod commits;
mod disk;
mod dispatching;
mod in_process;
mod load;
mod measured;
mod page;
mod quantiles;
mod room;
mod row;
mod run;
mod sleeping_prover;
mod step;
mod taking_in;
mod usage;

use std::io;

use proofyard_core::error::{Code, Coded};

pub use baseline::{Baseline, BaselineMeasured, BaselineOutcome};
pub use disk::syncs;
pub use dispatching::{Dispatching, Taken, TaskTimes};
pub use load::{Commands, Load, ProverKind};
pub use measured::{Growth, Measured};
pub use page::page;
pub use quantiles::Quantiles;
pub use room::expect_room;
pub use row::{Row, middle, spread};
pub use run::{Bench, MOST_QUIET};
pub use sleeping_prover::SleepingProver;
pub use step::{Outcome, Step, rows};
pub use usage::{Cpu, cpu_of_process};

/// Why a run could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("the yard of the measurement")]
    Yard(#[from] proofyard_core::error::Error),
    #[error("the machine of the measurement")]
    Machine(#[from] proofyard_embedded::machine::MachineError),
    #[error("the artifacts of the measurement")]
    Artifacts(#[from] proofyard_worker::artifacts::ArtifactError),
    #[error("{doing}")]
    Io {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Load(String),
    #[error("this machine is too small for it: {0}")]
    NoRoom(String),
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
            Self::Artifacts(error) => error.code(),
            Self::Io { .. } => Code::FileUnwritable,
            Self::Load(_) => Code::BadArguments,
            Self::NoRoom(_) | Self::Stuck { .. } => Code::BenchStuck,
            Self::Interrupted => Code::Stopped,
        }
    }
}

impl BenchError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
