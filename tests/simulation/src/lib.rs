//! The simulation: the domain's real handlers, single-threaded and seeded, on a store with weaker guarantees than SQLite
//! and DynamoDB, in processes that crash, stall and go on as zombies. A seed determines everything.
//!
//! - [`world`]: what surrounds the handlers: nodes, workers, provers, sinks, operators; and the phases of a run;
//! - [`executor`]: which handler runs next, simulated time, and processes that die;
//! - [`store`], [`port`]: the true state, and what the handlers are shown of it;
//! - [`check`]: the invariants, checked after each commit.

pub mod check;
pub mod counters;
pub mod executor;
pub mod faults;
pub mod port;
pub mod run;
pub mod store;
pub mod trace;
pub mod world;
