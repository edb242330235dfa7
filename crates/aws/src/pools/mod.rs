//! Workers as jobs of AWS Batch: how many each pool has, and whether they start.
//!
//! - [`jobs`]: AWS Batch, and how many workers a pool should have; [`submissions`]: what all submitters share, so that
//!   together they stay below a pool's maximum;
//! - [`job_workers`]: which workers a job has registered, so that they are expired when it ends;
//! - [`supply`]: submits workers where listed tasks wait for workers;
//! - [`machine`]: how many jobs share a machine;
//! - [`deployed`]: whether the pools that a pipeline names are there at all.
//!
//! Functions that submit write `L / jobs#POOL`; a worker writes `W#job:JOB / ids` of its own job. The function that expires
//! a job's workers deletes its item.

pub mod deployed;
pub(crate) mod job_workers;
pub mod jobs;
pub mod machine;
pub mod submissions;
pub mod supply;
