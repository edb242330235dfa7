//! What a worker does, whichever home it works for: slots claim tasks, run their provers and verifiers, store the proofs, and
//! record the results.
//!
//! - [`WorkerHome`]: what a home gives its workers; [`PoolWorker`]: slots, a lease, and when they end;
//! - [`artifacts`]: where tasks' inputs and outputs are, and the folder that every machine has for them;
//! - [`isolation`]: what keeps provers from their verifiers, and everything from the yard;
//! - [`bell`]: what idle slots wait for; [`host`]: this host's clock and randomness;
//! - [`Verifier`]: verifying committed proofs again.

pub mod artifacts;
pub mod bell;
pub mod durable;
mod duty;
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

pub use home::{Finished, WorkerHome};
pub use overhead::{Overheads, Sample};
pub use pool_worker::{PoolWorker, WorkerPlan};
pub use reverify::{Refuted, Verdict, Verifier};
pub use work_dir::WorkDir;
