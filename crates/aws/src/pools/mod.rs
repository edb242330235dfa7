//! Workers as jobs of AWS Batch: how many each pool has, and whether they start.
//!
//! - [`jobs`]: AWS Batch, and how many workers a pool should have; [`submissions`]: what those who submit know of one
//!   another, so that all together stay below a pool's maximum;
//! - [`job_workers`]: which workers a job registered, so that its end ends them;
//! - [`supply`]: submits workers where tasks wait and nobody takes them;
//! - [`deployed`]: whether the pools that a pipeline names are there at all.
//!
//! Functions that submit write `L / jobs#POOL`; a worker writes `W#job:JOB / ids` of its own job. Whoever ends a job's
//! workers deletes its item.

pub mod deployed;
pub(crate) mod job_workers;
pub mod jobs;
pub mod submissions;
pub mod supply;
