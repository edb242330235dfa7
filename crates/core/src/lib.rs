//! The domain: what proving a chain of blocks in order means, written once over one storage port.
//!
//! A handler first *records* one fact in a small transaction. Then, in new transactions, the scope or chain
//! *advances*: it is read again and every step that is now due is taken. Steps are idempotent (insert-if-absent under
//! deterministic ids): any process may retry them, and a crash anywhere only leaves steps for whoever looks next.
//!
//! - [`record`]: a block, a reorg, a result, a failure, a release, an operator's command;
//! - [`advance`]: a scope's groups and tasks; a chain's opening, committing, cutting, emitting;
//! - [`status`], [`explain`], [`report`]: what people and benchmarks read of it;
//! - [`claim`], [`heartbeat`], [`work`]: what workers do; [`sweep`]: what heals lost messages; [`sinks`]: handing on;
//! - [`judge`]: what is verified once more before it is handed on; [`committed`]: what may be checked again;
//!   [`operation`]: what an operator may command;
//! - [`cadence`]: how often functions look by themselves;
//! - [`pipeline`], [`strategy`], [`state`]: what all of it is about; [`port`], [`transaction`], [`view`], [`outbox`]: what it
//!   stands on.

pub mod advance;
pub mod cadence;
mod chain_look;
pub mod claim;
pub mod committed;
pub mod error;
pub mod explain;
pub mod heartbeat;
mod height_rows;
pub mod judge;
mod listing;
pub mod operation;
pub mod outbox;
mod pages;
pub mod pipeline;
pub mod planted_bug;
pub mod port;
pub mod record;
pub mod report;
mod scope_stages;
pub mod sinks;
mod spending;
pub mod state;
pub mod status;
pub mod strategy;
pub mod sweep;
pub mod transaction;
pub mod view;
pub mod work;
pub mod yard;

pub use error::{Error, Refusal};
pub use pipeline::Pipeline;
pub use port::{Port, Wake};
pub use yard::Yard;
