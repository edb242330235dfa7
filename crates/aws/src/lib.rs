//! AWS as a home: DynamoDB for the state, SQS for the wakes, S3 for the artifacts, Batch for the workers.
//!
//! Each module uses only those above it:
//!
//! - [`clients`]: how AWS is called, what a failed call means, what a yard's resources are called;
//! - [`store`]: the table, the domain's port over it, an invocation's read cache, the outbox;
//! - [`queues`]: SQS, and what the queues carry; [`objects`]: artifacts, payloads and sinks' entries over an object store;
//! - [`pools`]: workers as jobs of AWS Batch; [`metrics`]: what CloudWatch gets;
//! - [`home`]: [`AwsHome`], all of it together;
//! - [`intake`]: blocks from outside; [`invocation`]: handling one message, its delivery, the sweep;
//! - [`serve`]: the functions' work without Lambda.
//!
//! Functions that programs call return boxed futures: an `async fn` is compiled where it is awaited, so each program would
//! compile the domain and AWS's clients again (99 s of a core for each function; with boxed futures 7 s).

pub mod clients;
pub mod home;
pub mod intake;
pub mod invocation;
pub mod metrics;
pub mod objects;
pub mod pools;
pub mod queues;
pub mod serve;
pub mod store;

pub use home::{AwsHome, ConnectError};
