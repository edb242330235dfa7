//! One machine as a home: SQLite for the state, a folder for the artifacts, one process for a data directory.

mod block_on;
pub mod crash_point;
pub mod lock;
pub mod machine;
mod port;
pub mod store;

pub use block_on::block_on;
pub use port::LocalPort;
