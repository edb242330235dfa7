//! Yards on AWS: what must hold, whatever breaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod conformance;
mod contention;
mod dead_letters;
mod end_to_end;
mod expiry;
mod hot_path;
mod messages;
mod reorgs;
mod services;
mod trouble;
mod uploads;
mod webhook;
