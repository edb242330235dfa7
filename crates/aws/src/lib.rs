//! AWS as a home: DynamoDB for the state, SQS for the wakes, S3 for the artifacts, Batch for the workers.
//!
//! - [`names`]: what a yard's resources are called; [`sdk`]: how AWS is spoken to;
//! - [`table`], [`queues`], [`bucket`], [`jobs`]: one service each, and all that is known of it here;
//! - [`artifacts`]: the bucket as a worker's store, behind a folder;
//! - [`port`], [`outbox`], `errand`: the domain's port over them, and what it remembers meanwhile;
//! - [`message`], [`consume`], [`ingest`], [`ticks`], [`handing`], [`job_workers`]: what is done with what arrives;
//! - [`submissions`], [`deployed`]: how many jobs a pool may have, and whether it is there at all;
//! - [`format`](mod@format): whether this program may read and write a yard at all;
//! - [`redrive`]: what could not be taken, once more;
//! - [`metrics`]: what CloudWatch is told;
//! - [`feeding`]: a blocks file posted; [`serve`]: the functions' work without Lambda;
//! - [`home`]: all of it together.
//!
//! What programs call returns a boxed future: code of an `async fn` is generated where it is awaited, and each program
//! would compile the domain and AWS's clients again (99 s of a core for a function, and 7 s so).

pub mod artifacts;
pub mod bucket;
pub mod consume;
pub mod deployed;
mod errand;
pub mod feeding;
pub mod format;
pub mod handing;
pub mod home;
pub mod ingest;
mod job_workers;
pub mod jobs;
pub mod log_lines;
pub mod message;
pub mod metrics;
pub mod names;
pub mod outbox;
pub mod port;
pub mod queues;
pub mod redrive;
pub mod sdk;
pub mod secrets;
pub mod serve;
pub mod submissions;
pub mod table;
pub mod ticks;
mod trouble;
