//! Yards on AWS: what must hold, whatever breaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod conformance;
mod contention;
mod end_to_end;
mod hot_path;
mod inputs;
mod leaving;
mod messages;
mod services;
mod trouble;
mod two_workers;
mod unrecorded;
