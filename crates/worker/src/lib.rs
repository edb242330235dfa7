//! What a worker does, whichever home it works for: slots claim tasks, run their provers and verifiers, keep what they
//! made, and record it.
//!
//! - [`Home`]: what a home gives its workers; [`PoolWorker`]: slots, a lease, and when they end;
//! - [`artifacts`]: where tasks' inputs and outputs are, and the folder that every machine has for them;
//! - [`isolation`]: what keeps provers from their verifiers, and everything from the yard;
//! - [`Verifier`]: checking committed proofs again.

mod again;
pub mod artifacts;
pub mod durable;
mod duty;
mod home;
pub mod isolation;
mod made;
mod overhead;
mod pool_worker;
mod provers;
mod removing;
mod work_dir;

pub use again::{Refuted, Verdict, Verifier};
pub use home::{Finished, Home};
pub use overhead::{Overheads, Sample};
pub use pool_worker::{PoolWorker, WorkerPlan};
pub use work_dir::WorkDir;
