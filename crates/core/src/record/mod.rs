//! Recording: each handler writes one fact in one small transaction, and leaves the steps that follow to `advance`.
//!
//! Here, and nowhere else, is written what comes from outside: blocks, ends of input, reorgs, what followed nodes say,
//! pipelines, checkpoints, results, failures, releases, an operator's commands. Which items that are is said at the head of
//! each file of `state`.

mod attempt_end;
mod block;
mod charging;
mod checkpoint;
mod failure;
mod following;
mod hold;
mod operator;
mod pipeline;
mod reorg;
mod result;

pub use crate::state::FailureKind;
pub use block::BlockOutcome;
pub(crate) use block::fits;
pub use checkpoint::{CheckpointOutcome, MAX_CHECKPOINT_BYTES};
pub use failure::{FailureOutcome, FailureReport, LOG_LINE_BYTES, LOG_LINES, MESSAGE_BYTES};
pub(crate) use hold::put_halt;
pub use hold::{Hold, MAX_NAMED, Resumed};
pub use operator::{RetryOutcome, RetrySelection};
pub use reorg::ReorgOutcome;
pub use result::{MAX_PROOF_SYSTEM_BYTES, MAX_PUBLIC_VALUES_BYTES};
pub use result::{ResultOutcome, ResultReport};
pub(crate) use result::{accepted, fault};

pub(crate) use attempt_end::{Ending, end_attempt};
