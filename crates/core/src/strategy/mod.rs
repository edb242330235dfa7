//! Collect strategies: what a stage gathers, and when that is complete.
//!
//! Each strategy is a file here, with its rule as a pure function, and a line in [`readiness`], which is what everybody asks.

pub mod matching;
mod members;
pub(crate) mod quorum;
pub mod rank;
pub(crate) mod readiness;
pub mod reduce;
pub mod sequential;
pub mod split;
pub mod votes;
pub(crate) mod waits_for;
