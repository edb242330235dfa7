//! What a worker does, whichever home it works for: slots claim tasks, run their provers and verifiers, store the proofs, and
//! record the results.
//!
//! - [`WorkerHome`]: what a home provides for its workers; [`PoolWorker`]: one worker, its slots and its lease;
//! - [`artifacts`]: where tasks' inputs and outputs are, and the folder that every machine has for them;
//! - [`Attempts`]: what runs a slot's attempts, where it is not the provers of the pipeline;
//! - [`energy`]: what attempts take of it, where the machine counts it;
//! - [`isolation`]: what keeps provers and verifiers apart, and both out of the yard's files;
//! - [`bell`]: what idle slots wait for; [`host`]: this host's clock and randomness;
//! - [`Verifier`]: verifying committed proofs again.

pub mod artifacts;
mod attempts;
pub mod bell;
mod checkpoints;
mod claiming;
pub mod durable;
pub mod energy;
mod home;
pub mod host;
pub mod isolation;
mod overhead;
mod pool_worker;
mod provers;
mod removing;
mod reverify;
mod slot;
mod unrecorded_result;
mod work_dir;
mod worker_state;

pub use attempts::{Attempts, TimedExecutor};
pub use checkpoints::Checkpoints;
pub use home::{Finished, WorkerHome};
pub use overhead::{Overheads, Sample};
pub use pool_worker::{PoolWorker, WorkerPlan};
pub use reverify::{Refuted, Verdict, Verifier};
pub use work_dir::WorkDir;
