//! The simulation: the domain's real handlers, single-threaded and seeded, on a store that is weaker than SQLite
//! and DynamoDB, among processes that crash, stall and go on as zombies. A seed decides everything.

pub mod check;
pub mod counters;
pub mod executor;
pub mod faults;
pub mod port;
pub mod random;
pub mod run;
pub mod store;
pub mod trace;
pub mod world;
