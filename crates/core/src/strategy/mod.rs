//! Collect strategies: what a stage gathers, and when that is complete. Each is a pure function in a file of its own.

pub mod matching;
pub mod quorum;
pub mod rank;
pub mod reduce;
pub mod sequential;
pub mod split;
