//! The domain: what proving a chain of blocks in order means, written once over one storage port.

pub mod pipeline;
pub mod port;
