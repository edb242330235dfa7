//! Where blocks come from. A source (a [blocks file](lines), a [followed node](follower)) brings [`Fact`]s; a home takes each
//! by its [`Intake`]: on one machine it is recorded at once, on AWS what is posted waits on the chain's queue.
//!
//! A block's payload is kept by its content before the fact that names it is taken. A fact may be taken any number of times.

mod fact;
pub mod follower;
mod lines;

pub use fact::{Fact, Intake, record};
pub use lines::CheckedFile;
